//! An object of 64 GiB, of which three words are written: its first, one in the middle, its last.

use libd3os::object::collections::PVec;
use libd3os::object::view::View;
use libd3os::object::{PPtr, Persist, TxError, field};
use libd3os::println;
use libd3os::store::Store;

use crate::Failure;

const PATH: &str = "vast";
/// 64 GiB with the guard page, which is not among them.
const PAGES: u32 = (16 << 20) - 1;
/// As many words as there is room for beside what describes them.
const WORDS: u64 = PAGES as u64 * 512 - 4096;
const WRITTEN: [u64; 3] = [0, WORDS / 2, WORDS - 1];

#[derive(Default, Persist)]
#[repr(C)]
struct Vast {
    /// Only room: what is there was never written, but for three.
    words: PVec<u64>,
}

/// Makes the object, and writes it.
pub(crate) fn make() -> Result<(), Failure> {
    let mut store = Store::connect()?;
    let object = store.create(PATH, PAGES, &Vast::default())?;
    let words = field!(object.base(), Vast, words);
    store.tx(|tx| {
        let mut editor = tx.edit(&object)?;
        words.reserve(&mut editor, WORDS)?;
        let first = editor.get(words)?.elements().offset();
        for index in WRITTEN {
            editor.set(PPtr::local(first + 8 * index), !index)?;
        }
        Ok::<_, TxError>(())
    })?;
    println!("{} GiB made and written", object.mapping().bytes() >> 30);
    Ok(())
}

/// Reads what was written, and beside it what was not.
pub(crate) fn check() -> Result<(), Failure> {
    let mut store = Store::connect()?;
    let object = store.open_to_read::<Vast>(PATH)?;
    let guard = store.look(&object)?;
    let words = guard.get(field!(object.base(), Vast, words)).map_err(TxError::from)?;
    let word =
        |index: u64| guard.get(PPtr::<u64>::local(words.elements().offset() + 8 * index)).copied();
    for index in WRITTEN {
        if word(index).map_err(TxError::from)? != !index {
            return Err(Failure::Wrong("another word is at", index));
        }
        let beside = if index == 0 { 1 } else { index - 1 };
        if word(beside).map_err(TxError::from)? != 0 {
            return Err(Failure::Wrong("nobody wrote the word at", beside));
        }
    }
    println!("the words are there");
    Ok(())
}
