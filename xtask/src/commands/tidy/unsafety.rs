//! Unsafe code lives in modules that are declared for it: the workspace denies it, and the only
//! exception is `#[expect(unsafe_code, reason = "...")]` on a module's declaration.

use proc_macro2::Span;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, Meta};

use super::source;
use super::{Findings, TidyError};
use crate::workshop::Workshop;

/// Looks at every attribute of every file that speaks of `unsafe_code`.
pub(crate) fn check(workshop: &Workshop) -> Result<Findings, TidyError> {
    let mut findings = Findings::new();
    for package in &workshop.metadata.packages {
        for path in source::rust_files(package.dir())? {
            let name = source::shown(workshop, &path);
            let (_, file) = source::parse(&path)?;
            findings.extend(
                wrong(&file).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")),
            );
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn wrong(file: &syn::File) -> Vec<(usize, &'static str)> {
    let mut exceptions = Exceptions::default();
    exceptions.visit_file(file);
    exceptions.wrong
}

#[derive(Default)]
struct Exceptions {
    wrong: Vec<(usize, &'static str)>,
}

impl Exceptions {
    fn note(&mut self, span: Span, what: &'static str) {
        self.wrong.push((span.start().line, what));
    }
}

impl<'a> Visit<'a> for Exceptions {
    fn visit_item_mod(&mut self, module: &'a ItemMod) {
        for attribute in module.attrs.iter().filter(|attribute| lifts_the_ban(attribute)) {
            if !attribute.path().is_ident("expect") || !has_reason(attribute) {
                let span = attribute.pound_token.spans[0];
                self.note(span, "say `#[expect(unsafe_code, reason = \"...\")]`");
            }
        }
        if let Some((_, items)) = &module.content {
            items.iter().for_each(|item| self.visit_item(item));
        }
    }

    fn visit_attribute(&mut self, attribute: &'a Attribute) {
        if lifts_the_ban(attribute) {
            let span = attribute.pound_token.spans[0];
            self.note(span, "unsafe code is excepted outside of a module's declaration");
        }
        visit::visit_attribute(self, attribute);
    }
}

fn lifts_the_ban(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let words = list.tokens.to_string();
    let lint_levels = ["allow", "expect", "warn"];
    let lifts = lint_levels.iter().any(|level| attribute.path().is_ident(level))
        || (attribute.path().is_ident("cfg_attr")
            && lint_levels.iter().any(|level| words.contains(level)));
    lifts && words.contains("unsafe_code")
}

fn has_reason(attribute: &Attribute) -> bool {
    attribute.meta.to_token_stream().to_string().contains("reason =")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let file = syn::parse_file(text).expect("Rust");
        wrong(&file).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn only_a_module_may_be_excepted_and_only_with_a_reason() {
        let good = "#[expect(unsafe_code, reason = \"port I/O\")]\nmod io;\n\
                    #[expect(dead_code, reason = \"x\")]\nfn f() {}\n#![forbid(unsafe_code)]\n";
        assert_eq!(lines(&good.replace("#![forbid(unsafe_code)]\n", "")), [0_usize; 0]);
        assert_eq!(lines("#[expect(unsafe_code)]\nmod io;\n"), [1]);
        assert_eq!(lines("\n#[allow(unsafe_code, reason = \"x\")]\nmod io { fn f() {} }\n"), [2]);
        assert_eq!(lines("#[expect(unsafe_code, reason = \"x\")]\nfn f() {}\n"), [1]);
        assert_eq!(lines("#![allow(unsafe_code)]\nfn f() {}\n"), [1]);
        assert_eq!(lines("mod a {\n#[expect(unsafe_code, reason = \"x\")]\nfn f() {}\n}"), [2]);
        assert_eq!(lines("#![forbid(unsafe_code)]\nfn f() {}\n"), [0_usize; 0]);
    }
}
