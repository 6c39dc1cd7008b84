//! The service attribute: client, dispatch and documentation from one trait.
