//! The maps, as all other stores are used: records inserted, found, changed.

use std::error::Error;
use std::hint::black_box;

use libd3os_object::collections::{PHashMap, POrderedMap};
use libd3os_object::view::View;
use libd3os_object::{Editor, Object, PPtr, Persist, PointerError, TxError};

use super::machine::{Machine, Medium};
use crate::Outcome;
use crate::records::{asked, key, value};
use crate::timing::figure;

/// 56 bytes: with the key, a record has 64.
type Value = [u64; 7];

const BATCH: u64 = 1000;

/// What both maps can do.
trait Map: Default + Persist {
    const NAME: &'static str;

    fn find(
        map: PPtr<Self>,
        view: &impl View,
        key: u64,
    ) -> Result<Option<PPtr<Value>>, PointerError>;

    fn insert(
        map: PPtr<Self>,
        editor: &mut Editor<'_, Self>,
        key: u64,
        value: Value,
    ) -> Result<bool, TxError>;

    fn extend(
        map: PPtr<Self>,
        editor: &mut Editor<'_, Self>,
        records: impl Iterator<Item = (u64, Value)>,
    ) -> Result<(), TxError>;
}

macro_rules! map {
    ($map:ident, $name:literal) => {
        impl Map for $map<u64, Value> {
            const NAME: &'static str = $name;

            fn find(
                map: PPtr<Self>,
                view: &impl View,
                key: u64,
            ) -> Result<Option<PPtr<Value>>, PointerError> {
                map.find(view, &key)
            }

            fn insert(
                map: PPtr<Self>,
                editor: &mut Editor<'_, Self>,
                key: u64,
                value: Value,
            ) -> Result<bool, TxError> {
                map.insert(editor, key, value)
            }

            fn extend(
                map: PPtr<Self>,
                editor: &mut Editor<'_, Self>,
                records: impl Iterator<Item = (u64, Value)>,
            ) -> Result<(), TxError> {
                map.extend(editor, records)
            }
        }
    };
}

map!(PHashMap, "our hash map");
map!(POrderedMap, "our ordered map");

pub(super) fn measure(machine: &Machine, records: u64) -> Outcome {
    with::<PHashMap<u64, Value>>(machine, records)?;
    with::<POrderedMap<u64, Value>>(machine, records)
}

fn with<T: Map>(machine: &Machine, records: u64) -> Outcome {
    let object = machine.object(0, &T::default())?;
    insert(machine, &object, "insert", records, 1)?;
    lookup(machine, &object, records)?;
    update(machine, &object, records)?;
    let object = machine.object(0, &T::default())?;
    insert(machine, &object, "insert in thousands", records, BATCH)
}

fn insert<T: Map>(
    machine: &Machine,
    object: &Object<T, Medium>,
    name: &str,
    records: u64,
    batch: u64,
) -> Outcome {
    let mut session = machine.session()?;
    let map = object.base();
    figure(T::NAME, name, records, || {
        for first in (0..records).step_by(usize::try_from(batch)?) {
            session.tx(|tx| {
                let mut editor = tx.edit(object)?;
                if batch == 1 {
                    return T::insert(map, &mut editor, key(first), words(first)).map(drop);
                }
                let all = first..records.min(first + batch);
                T::extend(map, &mut editor, all.map(|record| (key(record), words(record))))
            })?;
        }
        Ok(session.settle()?)
    })
}

fn words(record: u64) -> Value {
    let value = value(record);
    let (words, _) = value.as_chunks();
    std::array::from_fn(|word| u64::from_le_bytes(words[word]))
}

/// A record is missing: the store is wrong.
fn missing() -> Box<dyn Error> {
    "a record is missing".into()
}

fn lookup<T: Map>(machine: &Machine, object: &Object<T, Medium>, records: u64) -> Outcome {
    let (session, map) = (machine.session()?, object.base());
    let guard = session.read(object)?;
    figure(T::NAME, "lookup", records, || {
        let mut sum = 0;
        for step in 0..records {
            let found = T::find(map, &guard, key(asked(step, records)))?.ok_or_else(missing)?;
            sum ^= guard.get(found)?[0];
        }
        Ok(black_box(sum))
    })?;
    Ok(())
}

/// Finds a record and changes a word of it, in a transaction each.
fn update<T: Map>(machine: &Machine, object: &Object<T, Medium>, records: u64) -> Outcome {
    let (mut session, map) = (machine.session()?, object.base());
    figure(T::NAME, "find and update", records, || {
        for step in 0..records {
            let changed = session.tx(|tx| {
                let mut editor = tx.edit(object)?;
                let found = T::find(map, &editor, key(asked(step, records)))?;
                let Some(found) = found else { return Ok(false) };
                editor.set(found.byte_add(8), step)?;
                Ok::<_, TxError>(true)
            })?;
            if !changed {
                return Err(missing());
            }
        }
        Ok(session.settle()?)
    })
}
