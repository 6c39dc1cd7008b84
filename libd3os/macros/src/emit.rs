//! Writes the server's trait, the client and the documentation of an interface.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use crate::interface::{Argument, Interface, Operation};

pub(crate) fn all(interface: &Interface) -> TokenStream {
    let server = server(interface);
    let client = client(interface);
    let document = document(interface);
    quote!(#server #client #document)
}

fn server(interface: &Interface) -> TokenStream {
    let Interface { docs, vis, ident, operations, .. } = interface;
    let methods = operations.iter().map(server_method);
    let arms = operations.iter().enumerate().map(|(number, operation)| arm(number, operation));
    quote! {
        #(#docs)*
        #vis trait #ident {
            #(#methods)*

            /// Decodes a request, calls its method and sends the answer. Whatever the bytes are,
            /// the caller gets an answer and the server keeps running.
            fn dispatch(&mut self, request: ::libd3os::call::Request<'_>) {
                let ::libd3os::call::Request { caller, method, bytes, reply } = request;
                match method {
                    #(#arms)*
                    _ => reply.fail(::libd3os::call::CallError::UnknownMethod),
                }
            }
        }
    }
}

fn server_method(operation: &Operation) -> TokenStream {
    let Operation { ident, docs, ok, error, .. } = operation;
    let arguments = declared(&operation.arguments);
    let result = quote!(::core::result::Result<#ok, #error>);
    if operation.deferred {
        quote! {
            #(#docs)*
            fn #ident(
                &mut self,
                caller: ::libd3os::call::Caller,
                #(#arguments,)*
                later: ::libd3os::call::Later<#result>,
            );
        }
    } else {
        quote! {
            #(#docs)*
            #[expect(clippy::missing_errors_doc, reason = "the interface documents its errors")]
            fn #ident(
                &mut self,
                caller: ::libd3os::call::Caller,
                #(#arguments,)*
            ) -> #result;
        }
    }
}

fn arm(number: usize, operation: &Operation) -> TokenStream {
    let ident = &operation.ident;
    let number = method_number(number);
    let names: Vec<_> = operation.arguments.iter().map(|argument| &argument.ident).collect();
    let types = operation.arguments.iter().map(|argument| &argument.ty);
    let call = if operation.deferred {
        quote! {
            if let ::core::option::Option::Some(later) = reply.later() {
                self.#ident(caller, #(#names,)* later);
            }
        }
    } else {
        quote! {
            let result = self.#ident(caller, #(#names),*);
            reply.answer(&result);
        }
    };
    quote! {
        #number => match ::libd3os::call::decode::<(#(#types,)*)>(&bytes) {
            ::core::result::Result::Ok((#(#names,)*)) => { #call }
            ::core::result::Result::Err(error) => reply.fail(error),
        },
    }
}

fn client(interface: &Interface) -> TokenStream {
    let Interface { vis, ident, operations, .. } = interface;
    let client = format_ident!("{ident}Client");
    let document = document_ident(interface);
    let methods =
        operations.iter().enumerate().map(|(number, operation)| client_method(number, operation));
    let doc = format!("Calls a server of [`{ident}`].");
    quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug)]
        #vis struct #client<T = ::libd3os::connection::Connection> {
            transport: T,
        }

        impl #client {
            /// A client over what this program was granted under the service's own name: an
            /// endpoint, or rings to another core.
            ///
            /// # Errors
            /// The manifest does not grant one.
            #vis fn connect() -> ::core::result::Result<Self, ::libd3os::ipc::MissingGrant<'static>> {
                ::libd3os::connection::Connection::to(#document.name).map(Self::new)
            }
        }

        impl<T: ::libd3os::call::Transport> #client<T> {
            /// A client over this transport.
            #vis const fn new(transport: T) -> Self {
                Self { transport }
            }

            /// The transport.
            #vis const fn transport(&self) -> &T {
                &self.transport
            }

            #(#methods)*
        }
    }
}

fn client_method(number: usize, operation: &Operation) -> TokenStream {
    let Operation { ident, docs, ok, error, .. } = operation;
    let number = method_number(number);
    let invoke = if operation.retryable { quote!(invoke_again) } else { quote!(invoke) };
    let arguments = declared(&operation.arguments);
    let names = operation.arguments.iter().map(|argument| &argument.ident);
    quote! {
        #(#docs)*
        ///
        /// # Errors
        /// The operation's own, or that of the call.
        pub fn #ident(
            &self,
            #(#arguments),*
        ) -> ::core::result::Result<#ok, ::libd3os::call::Error<#error>> {
            ::libd3os::call::#invoke(&self.transport, #number, &(#(#names,)*))
        }
    }
}

fn document(interface: &Interface) -> TokenStream {
    let Interface { name, version, doc, vis, ident, operations, .. } = interface;
    let document = document_ident(interface);
    let operations = operations.iter().map(|operation| {
        let Operation { doc, deferred, retryable, .. } = operation;
        let (name, signature) = (operation.ident.to_string(), operation.signature());
        quote! {
            ::libd3os::call::OperationDoc {
                name: #name,
                doc: #doc,
                signature: #signature,
                retryable: #retryable,
                deferred: #deferred,
            }
        }
    });
    let count = interface.operations.len();
    let about = format!("What [`{ident}`] is for and what it offers.");
    quote! {
        #[doc = #about]
        #vis static #document: ::libd3os::call::InterfaceDoc = ::libd3os::call::InterfaceDoc {
            name: #name,
            version: #version,
            doc: #doc,
            operations: &[#(#operations),*],
        };

        // The numbers from there on are the library's, on every service.
        const _: () = assert!(#count <= ::libd3os::observe::RESERVED_METHODS as usize);
    }
}

fn document_ident(interface: &Interface) -> syn::Ident {
    let mut name = String::new();
    for letter in interface.ident.to_string().chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    format_ident!("{name}", span = interface.ident.span())
}

fn declared(arguments: &[Argument]) -> Vec<TokenStream> {
    arguments.iter().map(|Argument { ident, ty }| quote!(#ident: #ty)).collect()
}

fn method_number(position: usize) -> u16 {
    u16::try_from(position).expect("a trait does not have 65,536 methods")
}
