//! Reads an interface declaration and refuses what cannot be one, with a reason.

use proc_macro2::TokenStream;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemTrait, Lit, LitInt, LitStr,
    Meta, MetaNameValue, Pat, PathArguments, Result, ReturnType, Token, TraitItem, TraitItemFn,
    Type, Visibility,
};

/// A checked declaration.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) doc: String,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    pub(crate) operations: Vec<Operation>,
}

/// One operation of an interface.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) ident: Ident,
    pub(crate) doc: String,
    pub(crate) docs: Vec<Attribute>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) ok: Type,
    pub(crate) error: Type,
    pub(crate) deferred: bool,
    pub(crate) retryable: bool,
}

/// One argument of an operation.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
}

impl Interface {
    pub(crate) fn parse(attribute: TokenStream, item: TokenStream) -> Result<Self> {
        let (name, version) = parse_attribute(attribute)?;
        let item: ItemTrait = syn::parse2(item)?;
        refuse_generics(&item)?;
        let Documented { doc, docs } = documentation(&item.attrs, &item.ident, "interface")?;
        refuse_other_attributes(&item.attrs)?;
        let operations =
            item.items.iter().map(Operation::parse).collect::<Result<Vec<Operation>>>()?;
        if operations.is_empty() {
            return Err(Error::new(item.ident.span(), "an interface needs an operation"));
        }
        Ok(Self { name, version, doc, docs, vis: item.vis, ident: item.ident, operations })
    }
}

impl Operation {
    fn parse(item: &TraitItem) -> Result<Self> {
        let TraitItem::Fn(function) = item else {
            return Err(Error::new(item.span(), "an interface holds operations (`fn`) only"));
        };
        refuse_function_extras(function)?;
        let ident = function.sig.ident.clone();
        if ident == "dispatch" {
            return Err(Error::new(ident.span(), "`dispatch` is the name of a generated method"));
        }
        let Documented { doc, docs } = documentation(&function.attrs, &ident, "operation")?;
        let (deferred, retryable) = markers(&function.attrs)?;
        let arguments = function.sig.inputs.iter().map(argument).collect::<Result<Vec<_>>>()?;
        let (ok, error) = result_types(&function.sig.output, &ident)?;
        Ok(Self { ident, doc, docs, arguments, ok, error, deferred, retryable })
    }

    /// Arguments and result, as a person would write them.
    pub(crate) fn signature(&self) -> String {
        let arguments: Vec<String> =
            self.arguments.iter().map(|a| format!("{}: {}", a.ident, text(&a.ty))).collect();
        let (ok, error) = (text(&self.ok), text(&self.error));
        format!("{}({}) -> Result<{ok}, {error}>", self.ident, arguments.join(", "))
    }
}

/// A type's tokens without the spaces that printing puts between them.
fn text(ty: &Type) -> String {
    let spaced = quote::quote!(#ty).to_string();
    [(" < ", "<"), (" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), (" :: ", "::"), ("( ", "(")]
        .into_iter()
        .chain([(" )", ")"), ("[ ", "["), (" ]", "]"), (" ;", ";")])
        .fold(spaced, |text, (from, to)| text.replace(from, to))
}

fn parse_attribute(attribute: TokenStream) -> Result<(String, u32)> {
    use syn::parse::Parser;
    let span = attribute.span();
    let pairs = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(attribute)?;
    let (mut name, mut version): (Option<String>, Option<u32>) = (None, None);
    for pair in pairs {
        if pair.path.is_ident("name") {
            set_once(&mut name, service_name(&pair.value)?, &pair)?;
        } else if pair.path.is_ident("version") {
            set_once(&mut version, integer(&pair.value)?.base10_parse()?, &pair)?;
        } else {
            return Err(Error::new(pair.path.span(), "expected `name` or `version`"));
        }
    }
    let missing = "expected `#[service(name = \"…\", version = …)]`";
    name.zip(version).ok_or_else(|| Error::new(span, missing))
}

fn set_once<T>(slot: &mut Option<T>, value: T, pair: &MetaNameValue) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(pair.path.span(), "given twice"));
    }
    Ok(())
}

fn service_name(value: &Expr) -> Result<String> {
    let Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) = value else {
        return Err(Error::new(value.span(), "expected a string"));
    };
    check_name(literal)?;
    Ok(literal.value())
}

fn check_name(literal: &LitStr) -> Result<()> {
    let name = literal.value();
    let sound = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if sound {
        return Ok(());
    }
    Err(Error::new(literal.span(), "a service's name is made of a-z, 0-9 and -, a letter first"))
}

fn integer(value: &Expr) -> Result<&LitInt> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => Ok(literal),
        _ => Err(Error::new(value.span(), "expected a number")),
    }
}

fn refuse_generics(item: &ItemTrait) -> Result<()> {
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        return Err(Error::new(item.generics.span(), "an interface has no generic parameters"));
    }
    if let Some(bound) = item.supertraits.first() {
        return Err(Error::new(bound.span(), "an interface has no supertraits"));
    }
    Ok(())
}

struct Documented {
    doc: String,
    docs: Vec<Attribute>,
}

fn documentation(attributes: &[Attribute], ident: &Ident, what: &str) -> Result<Documented> {
    let docs: Vec<Attribute> =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect();
    let lines: Vec<String> = docs.iter().filter_map(doc_line).collect();
    let doc = lines.join("\n").trim().to_owned();
    if doc.is_empty() {
        let message = format!("{what} `{ident}` has no documentation; it is shown to people");
        return Err(Error::new(ident.span(), message));
    }
    Ok(Documented { doc, docs })
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &pair.value else { return None };
    let line = line.value();
    Some(line.strip_prefix(' ').unwrap_or(&line).to_owned())
}

fn refuse_other_attributes(attributes: &[Attribute]) -> Result<()> {
    match attributes.iter().find(|attribute| !attribute.path().is_ident("doc")) {
        Some(other) => Err(Error::new(other.span(), "an interface takes no other attributes")),
        None => Ok(()),
    }
}

fn markers(attributes: &[Attribute]) -> Result<(bool, bool)> {
    let (mut deferred, mut retryable) = (false, false);
    for attribute in attributes.iter().filter(|attribute| !attribute.path().is_ident("doc")) {
        let marker = if attribute.path().is_ident("deferred") {
            &mut deferred
        } else if attribute.path().is_ident("retryable") {
            &mut retryable
        } else {
            return Err(Error::new(attribute.span(), "expected `#[deferred]` or `#[retryable]`"));
        };
        attribute.meta.require_path_only()?;
        if core::mem::replace(marker, true) {
            return Err(Error::new(attribute.span(), "given twice"));
        }
    }
    Ok((deferred, retryable))
}

fn refuse_function_extras(function: &TraitItemFn) -> Result<()> {
    let signature = &function.sig;
    let problem = if let Some(body) = &function.default {
        Some((body.span(), "an operation has no body: the server implements it"))
    } else if !signature.generics.params.is_empty() {
        Some((signature.generics.span(), "an operation has no generic parameters"))
    } else if let Some(token) = &signature.asyncness {
        Some((token.span(), "an operation is not async; `#[deferred]` lets it answer later"))
    } else {
        signature.unsafety.map(|token| (token.span(), "an operation cannot be unsafe"))
    };
    problem.map_or(Ok(()), |(span, message)| Err(Error::new(span, message)))
}

fn argument(argument: &FnArg) -> Result<Argument> {
    let FnArg::Typed(typed) = argument else {
        let message = "an operation is declared without `self`: client and server get their own";
        return Err(Error::new(argument.span(), message));
    };
    let Pat::Ident(pattern) = &*typed.pat else {
        return Err(Error::new(typed.pat.span(), "expected a plain name"));
    };
    if let Type::Reference(reference) = &*typed.ty {
        let message = "arguments travel as bytes: use an owned type (`String`, `Vec<u8>`)";
        return Err(Error::new(reference.span(), message));
    }
    Ok(Argument { ident: pattern.ident.clone(), ty: (*typed.ty).clone() })
}

fn result_types(output: &ReturnType, operation: &Ident) -> Result<(Type, Type)> {
    let message = "an operation returns `Result<T, E>`: it says how it can fail";
    let ReturnType::Type(_, ty) = output else {
        return Err(Error::new(operation.span(), message));
    };
    two_types(ty).ok_or_else(|| Error::new(ty.span(), message))
}

fn two_types(ty: &Type) -> Option<(Type, Type)> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    let mut types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    let pair = (types.next()??, types.next()??);
    types.next().is_none().then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn refusal(attribute: TokenStream, item: TokenStream) -> String {
        Interface::parse(attribute, item).expect_err("not an interface").to_string()
    }

    fn refused_body(body: TokenStream) -> String {
        refusal(quote!(name = "a", version = 1), quote!(/** A. */ trait A { #body }))
    }

    #[test]
    fn reads_a_declaration() {
        let interface = Interface::parse(
            quote!(name = "uart-2", version = 3),
            quote! {
                /// Line.
                ///
                /// More.
                pub trait Uart {
                    /// Sends.
                    #[deferred]
                    fn write(bytes: Vec<u8>, more: Option<[u8; 4]>) -> Result<(u32, u8), E>;
                    /// Counts.
                    #[retryable]
                    fn counters() -> Result<(), E>;
                }
            },
        )
        .expect("sound");
        assert_eq!((interface.name.as_str(), interface.version), ("uart-2", 3));
        assert_eq!(interface.doc, "Line.\n\nMore.");
        let [write, counters] = &interface.operations[..] else { panic!("two operations") };
        assert!(write.deferred && !write.retryable && !counters.deferred && counters.retryable);
        assert_eq!(
            write.signature(),
            "write(bytes: Vec<u8>, more: Option<[u8; 4]>) -> Result<(u32, u8), E>"
        );
    }

    #[test]
    fn refuses_bad_attributes() {
        let item = quote!(
            /** A. */
            trait A {
                /** B. */
                fn b() -> Result<(), ()>;
            }
        );
        for (attribute, reason) in [
            (quote!(name = "a"), "expected `#[service("),
            (quote!(name = "A", version = 1), "made of a-z"),
            (quote!(name = "a", name = "b", version = 1), "twice"),
            (quote!(name = 1, version = 1), "a string"),
            (quote!(name = "a", version = "1"), "a number"),
            (quote!(name = "a", version = 1, port = 2), "expected `name` or `version`"),
        ] {
            let message = refusal(attribute, item.clone());
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn refuses_bad_operations() {
        for (body, reason) in [
            (quote!(), "needs an operation"),
            (
                quote!(
                    fn b() -> Result<(), ()>;
                ),
                "no documentation",
            ),
            (
                quote!(
                    /** B. */
                    fn b(&self) -> Result<(), ()>;
                ),
                "without `self`",
            ),
            (
                quote!(
                    /** B. */
                    fn b();
                ),
                "returns `Result<T, E>`",
            ),
            (
                quote!(
                    /** B. */
                    fn b() -> u32;
                ),
                "returns `Result<T, E>`",
            ),
            (
                quote!(
                    /** B. */
                    fn b(a: &str) -> Result<(), ()>;
                ),
                "owned type",
            ),
            (
                quote!(
                    /** B. */
                    fn b((a, b): (u8, u8)) -> Result<(), ()>;
                ),
                "plain name",
            ),
            (
                quote!(
                    /** B. */
                    fn b() -> Result<(), ()> {
                        Ok(())
                    }
                ),
                "no body",
            ),
            (
                quote!(
                    /** B. */
                    fn b<T>(a: T) -> Result<(), ()>;
                ),
                "generic",
            ),
            (
                quote!(
                    /** B. */
                    async fn b() -> Result<(), ()>;
                ),
                "not async",
            ),
            (
                quote!(
                    /** B. */
                    #[inline]
                    fn b() -> Result<(), ()>;
                ),
                "expected `#[deferred]`",
            ),
            (
                quote!(
                    /** B. */
                    fn dispatch() -> Result<(), ()>;
                ),
                "generated",
            ),
            (
                quote!(
                    const B: u32;
                ),
                "operations (`fn`) only",
            ),
        ] {
            let message = refused_body(body);
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn refuses_generic_interfaces() {
        let attribute = quote!(name = "a", version = 1);
        let message = refusal(
            attribute.clone(),
            quote!(
                /** A. */
                trait A<T> {}
            ),
        );
        assert!(message.contains("generic"), "{message}");
        let message = refusal(
            attribute,
            quote!(
                /** A. */
                trait A: Send {}
            ),
        );
        assert!(message.contains("supertraits"), "{message}");
    }
}
