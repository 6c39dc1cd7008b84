//! Two places that are changed might be the same.
use libd3os_object::{Editor, PPtr};

fn swap(editor: &mut Editor<'_, u64>, left: PPtr<u64>, right: PPtr<u64>) {
    let left = editor.modify(left).unwrap();
    let right = editor.modify(right).unwrap();
    core::mem::swap(left, right);
}

fn main() {}
