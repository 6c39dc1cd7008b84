//! What transactions, collections and pointers cost on this machine, beside the standard library's
//! collections, which keep nothing.
//!
//! `cargo bench -p libd3os-object`: one thread, the thread's processor time, one million records of 64
//! bytes unless a number is given. Memory is ordinary memory that is treated as persistent memory
//! where caches are lost: what is durable is written back and waited for.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use libd3os_object::collections::{PHashMap, POrderedMap};
use libd3os_object::control::{ControlRef, Slot};
use libd3os_object::medium::{Durability, LINE_BYTES, Mapped, Medium, WriteBack};
use libd3os_object::{Object, ObjectId, PPtr, Persist, Session, TxError, View, field, object};
use nix::time::{ClockId, clock_gettime};

use memory::{map, memory, open};

type Value = [u64; 7];

#[derive(Default, Persist)]
#[repr(C)]
struct Base {
    by_hash: PHashMap<u64, Value>,
    by_order: POrderedMap<u64, Value>,
    word: [u64; 8],
    list: PPtr<Node>,
}

#[derive(Clone, Copy, Persist)]
#[repr(C)]
struct Node {
    next: PPtr<Node>,
    value: [u64; 7],
}

#[expect(unsafe_code, reason = "takes memory and says that it is an object's")]
mod memory {
    use std::alloc::{Layout, alloc_zeroed};
    use std::ptr::NonNull;

    use libd3os_object::Mapping;

    use super::{ControlRef, Durability, Mapped, Session, Slot, WriteBack};

    /// Memory for as long as the program runs.
    pub(super) fn memory(bytes: usize) -> Mapped {
        let layout = Layout::from_size_align(bytes, 4096).expect("a size that exists");
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("so much memory");
        let durability = Durability::WrittenBack(WriteBack::find());
        // SAFETY: taken above and never given back.
        let mapped = unsafe { Mapped::new(base, bytes, durability) };
        // Every page is there before anything is measured.
        (0..bytes)
            .step_by(4096)
            .for_each(|at| libd3os_object::medium::Medium::store(&mapped, at, &[0]));
        mapped
    }

    pub(super) fn open(log: Mapped) -> Session<Mapped> {
        // SAFETY: it is the only session.
        unsafe { Session::open(Slot::new(0).expect("the first"), log) }.expect("empty")
    }

    pub(super) fn map(medium: Mapped) -> Mapping<Mapped> {
        // SAFETY: it is the only mapping.
        unsafe { Mapping::new(medium, ControlRef::own(0)) }.expect("an object")
    }
}

fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
    std::time::Duration::from(time).as_secs_f64() * 1e9
}

/// Measures so many repetitions of something, prints and returns the nanoseconds of one.
fn measure(name: &str, count: u64, mut work: impl FnMut(u64)) -> f64 {
    let start = thread_time();
    (0..count).for_each(&mut work);
    let each = (thread_time() - start) / f64::from(u32::try_from(count).expect("a few millions"));
    println!("{each:10.1} ns  {name}");
    each
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn key(number: u64) -> u64 {
    mix(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1
}

struct Bench {
    session: Session<Mapped>,
    object: Object<Base, Mapped>,
}

impl Bench {
    fn new(records: u64) -> Self {
        let pages = usize::try_from(records / 10 + 4_000).expect("a few millions");
        let medium = memory(pages * 4096);
        object::create(&medium, ObjectId::new(1), &Base::default()).expect("large enough");
        let log = memory(1 << 20);
        Session::format_log(&log).expect("large enough");
        Self {
            session: open(log),
            object: Object::open(Arc::new(map(medium))).expect("of this type"),
        }
    }

    fn raw(&self) {
        let medium = memory(16 << 20);
        let lines = (16 << 20) / LINE_BYTES;
        let at = |number: u64| usize::try_from(number).expect("small") % lines * LINE_BYTES;
        measure("a line past the cache and a fence", 500_000, |number| {
            medium.store_line(at(number), &[1; LINE_BYTES]);
            medium.fence();
        });
        measure("a word, written back, and a fence", 500_000, |number| {
            medium.store_word(at(number), number);
            medium.flush(at(number));
            medium.fence();
        });
    }

    fn words(&mut self) {
        let Self { session, object } = self;
        measure("a transaction that changes one word", 500_000, |number| {
            let done = session.tx(|tx| {
                tx.edit(object)?.modify_base()?.word[0] = number;
                Ok::<_, TxError>(())
            });
            done.expect("room");
        });
    }

    fn hash_map(&mut self, records: u64) {
        let Self { session, object } = self;
        let map = field!(object.base(), Base, by_hash);
        measure("hash map: durable insert", records, |number| {
            let done = session.tx(|tx| map.insert(&mut tx.edit(object)?, key(number), [number; 7]));
            done.expect("room");
        });
        let guard = session.read(object).expect("free");
        measure("hash map: lookup", records, |number| {
            let key = key(mix(number) % records);
            black_box(map.get(&guard, &key).expect("whole").expect("there")[0]);
        });
        drop(guard);
        measure("hash map: lookup and durable update of a word", records, |number| {
            let done = session.tx(|tx| {
                let mut editor = tx.edit(object)?;
                let value = map.find(&editor, &key(mix(number) % records))?.expect("there");
                Ok::<_, TxError>(editor.set(value.cast::<u64>(), number)?)
            });
            done.expect("room");
        });
        measure("hash map: 1,000 updates in a transaction, each", records / 1_000, |round| {
            let done = session.tx(|tx| {
                let mut editor = tx.edit(object)?;
                for number in round * 1_000..(round + 1) * 1_000 {
                    let value = map.find(&editor, &key(mix(number) % records))?.expect("there");
                    editor.set(value.cast::<Value>(), [number + 1; 7])?;
                }
                Ok::<_, TxError>(())
            });
            done.expect("room");
        });
        let mut std = HashMap::new();
        measure("std HashMap: insert", records, |number| {
            assert!(std.insert(key(number), [number; 7]).is_none())
        });
        measure("std HashMap: lookup", records, |number| {
            black_box(std[&key(mix(number) % records)][0]);
        });
    }

    fn ordered_map(&mut self, records: u64) {
        let Self { session, object } = self;
        let map = field!(object.base(), Base, by_order);
        measure("ordered map: durable insert", records, |number| {
            let done = session.tx(|tx| map.insert(&mut tx.edit(object)?, key(number), [number; 7]));
            done.expect("room");
        });
        let guard = session.read(object).expect("free");
        measure("ordered map: lookup", records, |number| {
            let key = key(mix(number) % records);
            black_box(map.get(&guard, &key).expect("whole").expect("there")[0]);
        });
        let mut std = BTreeMap::new();
        measure("std BTreeMap: insert", records, |number| {
            assert!(std.insert(key(number), [number; 7]).is_none())
        });
        measure("std BTreeMap: lookup", records, |number| {
            black_box(std[&key(mix(number) % records)][0]);
        });
    }

    /// Lists in random order that fit into a cache.
    fn pointers(&mut self) {
        const NODES: usize = 10_000;
        let Self { session, object } = self;
        let mut order: Vec<usize> = (0..NODES).collect();
        order.sort_by_key(|number| mix(*number as u64 + 77));
        let done = session.tx(|tx| {
            let mut editor = tx.edit(object)?;
            let block = editor.alloc_bytes((NODES * size_of::<Node>()) as u64, 64)?.cast::<Node>();
            for (place, number) in order.iter().enumerate() {
                let next = block.element(order[(place + 1) % NODES] as u64);
                editor.set(block.element(*number as u64), Node { next, value: [1; 7] })?;
            }
            editor.modify_base()?.list = block.element(order[0] as u64);
            Ok::<_, TxError>(())
        });
        done.expect("room");
        let guard = session.read(object).expect("free");
        let mut at = guard.base().expect("there").list;
        measure("list in cache: persistent pointer, a hop", 20_000_000, |_| {
            at = guard.get(at).expect("there").next;
        });
        black_box(at);
        let mut next = vec![[0_usize; 8]; NODES];
        order
            .iter()
            .enumerate()
            .for_each(|(place, number)| next[*number][0] = order[(place + 1) % NODES]);
        let mut at = order[0];
        measure("list in cache: index into an array, a hop", 20_000_000, |_| at = next[at][0]);
        black_box(at);
    }
}

fn main() {
    let given = std::env::args().find_map(|argument| argument.parse().ok());
    let records = given.unwrap_or(1_000_000);
    let mut bench = Bench::new(records);
    bench.raw();
    bench.words();
    bench.hash_map(records);
    bench.ordered_map(records);
    bench.pointers();
}
