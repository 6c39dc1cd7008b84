//! Who reads an object would wait for itself.
use libd3os_object::medium::Mapped;
use libd3os_object::{Object, Session, TxError};

fn change(session: &mut Session<Mapped>, object: &Object<u64, Mapped>) {
    let guard = session.read(object).unwrap();
    let _ = session.tx(|tx| Ok::<_, TxError>(*tx.edit(object)?.modify_base()? += 1));
    drop(guard);
}

fn main() {}
