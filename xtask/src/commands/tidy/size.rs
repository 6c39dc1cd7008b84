//! The kernel stays small enough to be read: lines of code without tests, blanks and comments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemMod, Meta};

use super::source;
use super::{Findings, TidyError};
use crate::workshop::Workshop;

/// The kernel's packages.
const KERNEL: [&str; 4] = ["d3os-abi", "kernel-core", "kernel-x86_64", "microkernel"];
/// Lines of code that the kernel stays below.
const LIMIT: usize = 10_000;

/// Counts and prints.
pub(crate) fn check(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut lines = 0;
    for package in KERNEL.into_iter().filter_map(|name| workshop.metadata.package(name)) {
        lines += package_lines(&package.dir().join("src"))?;
    }
    println!("        the kernel has {lines} lines of code (limit {LIMIT})");
    match lines < LIMIT {
        true => Ok(Findings::new()),
        false => Ok(vec![format!("{lines} lines: it is to stay below {LIMIT}")]),
    }
}

fn package_lines(folder: &Path) -> Result<usize, TidyError> {
    let mut sources = Vec::new();
    for path in source::rust_files(folder)? {
        let (text, file) = source::parse(&path)?;
        sources.push((path, text, file));
    }
    let tests: BTreeSet<PathBuf> =
        sources.iter().flat_map(|(path, _, file)| test_modules(path, file)).collect();
    let is_test = |path: &Path| {
        tests.iter().any(|test| path.starts_with(test) || path == test.with_extension("rs"))
    };
    let counted = sources.iter().filter(|(path, _, _)| !is_test(path));
    Ok(counted.map(|(_, text, file)| code_lines(text, file)).sum())
}

/// Modules in files of their own that exist for tests only, as paths without the ending.
fn test_modules(path: &Path, file: &syn::File) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(path);
    let base = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => folder.to_path_buf(),
        Some(stem) => folder.join(stem),
    };
    let test_module = |item: &Item| match item {
        Item::Mod(ItemMod { attrs, ident, content: None, .. }) if is_test(attrs) => {
            Some(base.join(ident.to_string()))
        }
        _ => None,
    };
    file.items.iter().filter_map(test_module).collect()
}

fn code_lines(text: &str, file: &syn::File) -> usize {
    let tests: Vec<(usize, usize)> = file
        .items
        .iter()
        .filter(|item| is_test(attributes(item)))
        .map(|i| range(i.span()))
        .collect();
    let in_test = |number: usize| tests.iter().any(|(a, b)| (*a..=*b).contains(&number));
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines
        .filter(|(number, line)| !line.is_empty() && !line.starts_with("//") && !in_test(*number))
        .count()
}

fn range(span: Span) -> (usize, usize) {
    (span.start().line, span.end().line)
}

/// Whether an item exists for tests only: the crate's own, or other crates' that ask for the
/// simulated machine.
fn is_test(attributes: &[Attribute]) -> bool {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let mut texts = conditions.filter_map(|attribute| match &attribute.meta {
        Meta::List(list) => Some(list.tokens.to_string().replace(' ', "")),
        _ => None,
    });
    texts.any(|text| text == "test" || text == "any(test,feature=\"simulation\")")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_comments_and_blanks_do_not_count() {
        let text = "//! Purpose.\n\nuse a::b;\n\n/// Doc.\nfn f() {\n    // why\n    g();\n}\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        let file = syn::parse_file(text).expect("Rust");
        assert_eq!(code_lines(text, &file), 4);
    }

    #[test]
    fn test_modules_in_files_are_found() {
        let text = "#[cfg(test)]\nmod model;\n#[cfg(feature = \"x\")]\nmod real;\n";
        let file = syn::parse_file(text).expect("Rust");
        assert_eq!(test_modules(Path::new("/k/lib.rs"), &file), [PathBuf::from("/k/model")]);
        assert_eq!(test_modules(Path::new("/k/a.rs"), &file), [PathBuf::from("/k/a/model")]);
    }
}
