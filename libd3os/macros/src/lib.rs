//! The service attribute: client, dispatch and documentation from one trait. And the derive of
//! `Persist`, for what may live in a persistent object.
//!
//! `libd3os` re-exports the attribute and documents how an interface is declared; `interface` reads the
//! declaration and refuses what cannot be one, `emit` writes the code. `libd3os-object` re-exports the
//! derive; `persist` is all of it.

mod emit;
mod interface;
mod persist;

use proc_macro::TokenStream;

/// Declares the interface of a service, `Counter` for example (`libd3os` shows it above).
///
/// Operations have no `self`: both sides get one of their own. From this declaration come
///
/// - the trait `Counter` for the server, whose methods get `&mut self` and the `Caller` before
///   the arguments; a `#[deferred]` one also gets a `Later` behind them, instead of a result, and
///   answers through it now or later. The provided method `dispatch` decodes a request, calls
///   the method and sends the answer;
/// - `CounterClient<T: Transport>`, whose methods encode, call and decode; `connect` makes one
///   from the capability that the program was granted under the service's name;
/// - the static `COUNTER`, an `InterfaceDoc`.
///
/// `#[retryable]` says that an operation may be repeated when the server died during it: the client
/// does so, a few times. Of other operations the caller is told that the server was restarted, and
/// decides. Bytes are postcard; the position of an operation in the trait is its number, so a changed
/// declaration needs a new `version`.
#[proc_macro_attribute]
pub fn service(attribute: TokenStream, item: TokenStream) -> TokenStream {
    interface::Interface::parse(attribute.into(), item.into())
        .map_or_else(|error| error.into_compile_error(), |interface| emit::all(&interface))
        .into()
}

/// Derives `libd3os_object::persist::Persist` for a `#[repr(C)]` or `#[repr(transparent)]` structure
/// whose fields are `Persist`. Type parameters get the bound.
#[proc_macro_derive(Persist)]
pub fn persist(item: TokenStream) -> TokenStream {
    derive_persist(quote::quote!(::libd3os_object), item)
}

/// The same for programs that reach the library as `libd3os::object`, where it is called `Persist`.
#[proc_macro_derive(ObjectPersist)]
pub fn object_persist(item: TokenStream) -> TokenStream {
    derive_persist(quote::quote!(::libd3os::object), item)
}

fn derive_persist(library: proc_macro2::TokenStream, item: TokenStream) -> TokenStream {
    persist::derive(&library, item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
