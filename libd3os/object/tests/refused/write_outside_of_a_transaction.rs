//! An editor does not leave its transaction.
use libd3os_object::medium::Mapped;
use libd3os_object::{Object, Session, TxError};

fn keep(session: &mut Session<Mapped>, object: &Object<u64, Mapped>) {
    let mut kept = None;
    let _ = session.tx(|tx| {
        kept = Some(tx.edit(object)?);
        Ok::<_, TxError>(())
    });
    *kept.unwrap().modify_base().unwrap() = 1;
}

fn main() {}
