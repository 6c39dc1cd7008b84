//! Derives `Persist`, and refuses what cannot live in an object, with a reason.
//!
//! Here is refused what a declaration shows. That each field can live in an object is the compiler's
//! to say, when it looks for the field's own `Persist`; that there is no padding, nothing to drop
//! and not too much alignment, a constant's, when it is evaluated.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Generics, Ident, Member,
    Result, Token, parse_quote, punctuated::Punctuated,
};

/// `library` is the path by which the deriving crate reaches `libd3os_object`.
pub(crate) fn derive(library: &TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let fields = fields_of(&item)?;
    refuse_layouts(&item)?;
    refuse_lifetimes(&item.generics)?;
    Ok(implementation(library, &item.ident, &item.generics, fields))
}

fn fields_of(item: &DeriveInput) -> Result<&Fields> {
    match &item.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(data) => Err(Error::new(
            data.enum_token.span,
            "an enumeration cannot live in an object: some bit patterns are no value of it; \
             keep a number, and check it when it is read",
        )),
        Data::Union(data) => Err(Error::new(
            data.union_token.span,
            "a union cannot live in an object: which of its members is meant is not written down",
        )),
    }
}

/// The layout must be one that is promised, and fields must be where they can be borrowed.
fn refuse_layouts(item: &DeriveInput) -> Result<()> {
    let mut promised = false;
    for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        let packed = "a packed structure cannot live in an object: its fields cannot be borrowed";
        for word in words(attribute)? {
            promised |= word == "C" || word == "transparent";
            if word == "packed" {
                return Err(Error::new(word.span(), packed));
            }
        }
    }
    let unpromised = "what lives in an object needs `#[repr(C)]` or `#[repr(transparent)]`: \
                      Rust's own layout may differ from one compilation to the next";
    if promised { Ok(()) } else { Err(Error::new(item.ident.span(), unpromised)) }
}

/// The words of `#[repr(C, align(8))]`, without what they have in parentheses.
fn words(repr: &Attribute) -> Result<Vec<Ident>> {
    let mut words = Vec::new();
    repr.parse_nested_meta(|meta| {
        words.extend(meta.path.get_ident().cloned());
        if meta.input.peek(syn::token::Paren) {
            let content;
            syn::parenthesized!(content in meta.input);
            content.parse::<TokenStream>()?;
        }
        Ok(())
    })?;
    Ok(words)
}

fn refuse_lifetimes(generics: &Generics) -> Result<()> {
    let borrowed = "what lives in an object cannot borrow: it outlives every program";
    generics.lifetimes().next().map_or(Ok(()), |found| Err(Error::new(found.span(), borrowed)))
}

fn implementation(
    library: &TokenStream,
    ident: &Ident,
    generics: &Generics,
    fields: &Fields,
) -> TokenStream {
    let persist = quote!(#library::persist);
    let bounded = with_bounds(&persist, generics.clone());
    let (parameters, _, where_clause) = bounded.split_for_impl();
    let (_, arguments, _) = generics.split_for_impl();
    let described = |(member, field): (Member, &Field)| described(&persist, &member, field);
    let members: Punctuated<TokenStream, Token![,]> =
        fields.members().zip(fields).map(described).collect();
    let name = ident.to_string();
    // Of a type with parameters, the proof waits for the arguments.
    let proof = generics
        .params
        .is_empty()
        .then(|| quote!(const _: #persist::Type = <#ident as #persist::Persist>::TYPE;));
    quote! {
        #[allow(unsafe_code, reason = "the derive is the proof")]
        #[automatically_derived]
        // SAFETY: the layout is promised, and every field is `Persist`; `structure` proves that there
        // is nothing but the fields, and nothing to drop.
        unsafe impl #parameters #persist::Persist for #ident #arguments #where_clause {
            const TYPE: #persist::Type =
                #persist::Type::structure::<Self>(#name, const { &[#members] });
        }
        #proof
    }
}

/// Parameters live in the object with the structure.
fn with_bounds(persist: &TokenStream, mut generics: Generics) -> Generics {
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#persist::Persist));
        }
    }
    generics
}

fn described(persist: &TokenStream, member: &Member, field: &Field) -> TokenStream {
    let name = member.to_token_stream().to_string();
    let name = name.strip_prefix("r#").unwrap_or(&name);
    let ty = &field.ty;
    quote! {
        #persist::Field::new::<#ty>(#name, ::core::mem::offset_of!(Self, #member))
    }
}
