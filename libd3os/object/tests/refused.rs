//! What cannot live in an object does not compile, and the compiler says why.
//!
//! After a change of the messages, or of the list of types that they name, `TRYBUILD=overwrite`
//! writes them anew.

#[test]
fn what_cannot_live_in_an_object_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
