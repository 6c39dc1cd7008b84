//! What a transaction has copied ends with it.
use libd3os_object::medium::Mapped;
use libd3os_object::{Object, Session, TxError};

fn keep<'o>(session: &mut Session<Mapped>, object: &'o Object<u64, Mapped>) -> &'o u64 {
    session.tx(|tx| Ok::<_, TxError>(tx.edit(object)?.base()?)).unwrap()
}

fn main() {}
