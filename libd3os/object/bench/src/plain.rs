//! Nothing that lasts: the standard library's maps, and a list of plain references.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use crate::Outcome;
use crate::ours::list;
use crate::records::{asked, first_word, key, value};
use crate::timing::figure;

pub(crate) fn measure(records: u64) -> Outcome {
    hash_map(records)?;
    ordered_map(records)?;
    references()
}

fn hash_map(records: u64) -> Outcome {
    let mut map = HashMap::new();
    figure("HashMap", "insert", records, || {
        for record in 0..records {
            map.insert(key(record), value(record));
        }
        Ok(())
    })?;
    figure("HashMap", "lookup", records, || {
        let found = (0..records).filter_map(|step| map.get(&key(asked(step, records))));
        Ok(black_box(found.fold(0, |sum, value| sum ^ first_word(value))))
    })?;
    Ok(())
}

fn ordered_map(records: u64) -> Outcome {
    let mut map = BTreeMap::new();
    figure("BTreeMap", "insert", records, || {
        for record in 0..records {
            map.insert(key(record), value(record));
        }
        Ok(())
    })?;
    figure("BTreeMap", "lookup", records, || {
        let found = (0..records).filter_map(|step| map.get(&key(asked(step, records))));
        Ok(black_box(found.fold(0, |sum, value| sum ^ first_word(value))))
    })?;
    Ok(())
}

/// A node of a line's length, as the object's.
#[derive(Default)]
#[repr(align(64))]
struct Node<'a> {
    next: Cell<Option<&'a Node<'a>>>,
}

fn references() -> Outcome {
    let nodes: Vec<Node<'_>> = (0..list::NODES).map(|_| Node::default()).collect();
    for (from, to) in list::links() {
        nodes[from].next.set(Some(&nodes[to]));
    }
    let walk = |hops| {
        let mut at = &nodes[0];
        for _ in 0..hops {
            at = at.next.get().ok_or("the list ends")?;
        }
        black_box(at);
        Ok(())
    };
    walk(list::NODES as u64)?;
    figure("reference", "hop", list::HOPS, || walk(list::HOPS))
}
