//! Operations from a program's call to the host's files and back, and a host that lies.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use libd3os::call::{Answer, CallError, Later};
use libd3os::dma::Dma;
use libd3os::service::share::{
    Errno, FileKind, Listing, MOST_BYTES, ShareError, WINDOW_OFFSET, Window,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use virtio::model;
use virtio::regs::Features;
use virtio::transport::Transport;

use crate::device::{Device, MEMORY_BYTES, SetupError};
use crate::engine::{Engine, Region};
use crate::model::{Host, Node, Tree};
use crate::session::Session;

const BUS: u64 = 0x10_0000;
/// Bytes of the region that the program shares.
const REGION: usize = 0x3000;
const TICKET: u64 = 77;

/// A driver with its host, and the program's region.
struct Bench<'m> {
    engine: Engine<'m, Host<'m>>,
    region: Dma<'m>,
}

/// Runs a test at a driver.
fn bench<T>(offers: Features, test: impl FnOnce(Bench<'_>) -> T) -> T {
    let mut words = vec![0u64; (MEMORY_BYTES + REGION) / 8];
    let all = Dma::of_words(&mut words, BUS);
    let (own, region) = (all.part(0, MEMORY_BYTES), all.part(MEMORY_BYTES, REGION));
    let (own, region) = (own.expect("inside"), region.expect("inside"));
    region.word::<AtomicU64>(0).expect("inside").store(TICKET, Ordering::Relaxed);
    let host = Host::new(all, Features::VERSION_1 | offers);
    let transport = Transport::find(&model::Device::config(), &model::Device::openings(), host);
    let device = Device::new(transport.expect("found"), own, Some(0)).expect("set up");
    let shared = vec![Region { name: "share-test", memory: region }];
    test(Bench { engine: Engine::new(device, shared), region })
}

impl<'m> Bench<'m> {
    fn host(&mut self) -> &mut Host<'m> {
        self.engine.device().windows()
    }

    /// Adds an operation.
    fn begin<T, F>(&mut self, operation: F) -> Answer<Result<T, ShareError>>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: AsyncFnOnce(&Session) -> Result<T, ShareError> + 'static,
    {
        let (later, answer) = Later::channel();
        self.engine.add(later, operation);
        answer
    }

    /// Carries an operation out.
    fn run<T, F>(&mut self, operation: F) -> Result<T, ShareError>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: AsyncFnOnce(&Session) -> Result<T, ShareError> + 'static,
    {
        let answer = self.begin(operation);
        self.engine.run().expect("a sound device");
        answer.take().expect("answered").expect("encoded")
    }

    /// All of a directory, and how many parts it came in.
    fn list(&mut self, directory: &'static str) -> (Vec<String>, usize) {
        let (mut names, mut from, mut parts) = (Vec::new(), Some(0), 0);
        while let Some(start) = from {
            let listing: Listing =
                self.run(async move |host| host.list(directory, start).await).expect("listed");
            names.extend(listing.entries.into_iter().map(|entry| entry.name));
            (from, parts) = (listing.next, parts + 1);
        }
        (names, parts)
    }

    fn window(bytes: usize) -> Window {
        let bytes = u32::try_from(bytes).expect("short");
        Window { region: "share-test".into(), ticket: TICKET, at: WINDOW_OFFSET, bytes }
    }

    fn fill(&self, bytes: &[u8]) {
        let row = self.region.row::<AtomicU8>(WINDOW_OFFSET as usize, bytes.len()).expect("inside");
        row.iter().zip(bytes).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
    }

    fn region_bytes(&self, count: usize) -> Vec<u8> {
        let row = self.region.row::<AtomicU8>(WINDOW_OFFSET as usize, count).expect("inside");
        row.iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }
}

fn host_error<T>(errno: Errno) -> Result<T, ShareError> {
    Err(ShareError::Host(errno))
}

#[test]
fn files_are_made_written_read_and_removed() {
    bench(Features::empty(), |mut bench| {
        assert_eq!(bench.run(async |host| host.read("a", 0, 9).await), host_error(Errno::ENOENT));
        assert_eq!(
            bench.run(async |host| host.write("a", 0, b"x").await),
            host_error(Errno::ENOENT)
        );
        assert_eq!(bench.run(async |host| host.create("a").await), Ok(()));
        assert_eq!(bench.run(async |host| host.write("/a", 2, b"text").await), Ok(()));
        assert_eq!(bench.run(async |host| host.sync("a").await), Ok(()));
        assert_eq!(bench.host().file("a"), Some(&b"\0\0text"[..]));
        assert_eq!(bench.run(async |host| host.read("a", 3, 2).await), Ok(b"ex".to_vec()));
        assert_eq!(bench.run(async |host| host.read("a", 6, 2).await), Ok(vec![]));
        let status = bench.run(async |host| host.stat("a").await).expect("there");
        assert_eq!(
            (status.kind, status.bytes, status.modified),
            (FileKind::File, 6, 1_700_000_000)
        );
        assert_eq!(bench.run(async |host| host.create("a").await), Ok(()));
        assert_eq!(bench.host().file("a"), Some(&b""[..]));
        assert_eq!(bench.run(async |host| host.remove("a").await), Ok(()));
        assert_eq!(bench.run(async |host| host.remove("a").await), host_error(Errno::ENOENT));
        let numbers: Vec<u32> = bench.host().fids.keys().copied().collect();
        assert_eq!(numbers, [0], "numbers that were not given back");
    });
}

#[test]
fn directories_are_made_listed_and_removed() {
    bench(Features::EVENT_INDEX, |mut bench| {
        assert_eq!(bench.run(async |host| host.make_directory("d").await), Ok(()));
        let again = bench.run(async |host| host.make_directory("d").await);
        assert_eq!(again, host_error(Errno::EEXIST));
        assert_eq!(bench.run(async |host| host.create("d/f").await), Ok(()));
        bench.host().put("d/link", Node::Link);
        assert_eq!(bench.list("d").0, ["f", "link"]);
        assert_eq!(bench.run(async |host| host.read("d", 0, 1).await), host_error(Errno::EISDIR));
        assert_eq!(bench.run(async |host| host.create("d").await), host_error(Errno::EISDIR));
        let link = bench.run(async |host| host.read("d/link", 0, 1).await);
        assert_eq!(link, host_error(Errno::ELOOP));
        let below = bench.run(async |host| host.stat("d/f/x").await);
        assert_eq!(below, host_error(Errno::ENOTDIR));
        assert_eq!(bench.run(async |host| host.remove("d").await), host_error(Errno::ENOTEMPTY));
        for name in ["d/f", "d/link", "d"] {
            assert_eq!(bench.run(async move |host| host.remove(name).await), Ok(()));
        }
        assert_eq!(bench.list(""), (vec![], 1));
    });
}

#[test]
fn large_directories_come_in_parts() {
    bench(Features::empty(), |mut bench| {
        let names: Vec<String> = (0..200).map(|number| format!("file-{number:03}")).collect();
        names.iter().for_each(|name| bench.host().put(name, Node::File(vec![])));
        let (listed, parts) = bench.list("");
        assert_eq!(listed, names);
        assert!(parts > 2, "{parts}");
    });
}

#[test]
fn deep_paths_are_walked_in_parts_and_nothing_leads_out() {
    const DEEP: &str = "0/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z";
    bench(Features::empty(), |mut bench| {
        bench.host().put(DEEP, Node::File(b"deep".to_vec()));
        assert_eq!(bench.run(async |host| host.read(DEEP, 0, 9).await), Ok(b"deep".to_vec()));
        let missing = format!("{}/no", &DEEP[..50]);
        let missing = bench.run(async move |host| host.stat(&missing).await);
        assert_eq!(missing, host_error(Errno::ENOENT));
        bench.host().heard.clear();
        for path in ["..", "0/../..", "../etc/passwd", "/../x"] {
            let refused = bench.run(async move |host| host.read(path, 0, 9).await);
            assert_eq!(refused, Err(ShareError::BadPath), "{path}");
        }
        assert_eq!(bench.run(async |host| host.remove("/").await), Err(ShareError::BadPath));
        assert_eq!(bench.host().heard, [], "the host is not even asked");
    });
}

#[test]
fn windows_are_the_callers_own() {
    bench(Features::empty(), |bench| {
        let window = Bench::window(REGION - WINDOW_OFFSET as usize);
        let span = bench.engine.span(&window).expect("its own");
        assert_eq!(span.bus, BUS + (MEMORY_BYTES + WINDOW_OFFSET as usize) as u64);
        let changed = |change: fn(&mut Window)| {
            let mut window = window.clone();
            change(&mut window);
            bench.engine.span(&window).err()
        };
        assert_eq!(changed(|it| it.region = "share-else".into()), Some(ShareError::NoSuchRegion));
        assert_eq!(changed(|it| it.ticket += 1), Some(ShareError::Ticket));
        assert_eq!(changed(|it| it.at += 1), Some(ShareError::Outside));
        assert_eq!(changed(|it| it.bytes = u32::MAX), Some(ShareError::Outside));
        assert_eq!(changed(|it| (it.at, it.bytes) = (8, 8)), Some(ShareError::Outside));
        bench.region.word::<AtomicU64>(0).expect("inside").store(0, Ordering::Relaxed);
        assert_eq!(changed(|it| it.ticket = 0), Some(ShareError::Ticket), "no ticket at all");
    });
}

#[test]
fn operations_wait_for_each_other_and_for_the_host() {
    bench(Features::empty(), |mut bench| {
        bench.host().silent = true;
        let first = bench.begin(async |host| host.create("a").await);
        let second = bench.begin(async |host| host.stat("a").await);
        bench.engine.run().expect("sound");
        assert!(first.take().is_none() && second.take().is_none());
        bench.host().silent = false;
        bench.host().serve();
        bench.engine.run().expect("sound");
        assert_eq!(first.take(), Some(Ok(Ok(()))));
        assert!(matches!(second.take(), Some(Ok(Ok(_)))));
    });
}

#[test]
fn too_much_for_a_message_is_refused() {
    bench(Features::empty(), |mut bench| {
        let read = bench.run(async |host| host.read("a", 0, MOST_BYTES + 1).await);
        assert_eq!(read, Err(ShareError::TooMany));
        let bytes = vec![0; MOST_BYTES as usize + 1];
        let written = bench.run(async move |host| host.write("a", 0, &bytes).await);
        assert_eq!(written, Err(ShareError::TooMany));
    });
}

#[test]
fn a_host_that_wants_shorter_messages_gets_them_and_none_too_short() {
    bench(Features::empty(), |mut bench| {
        bench.host().longest = 100;
        assert_eq!(bench.run(async |host| host.create("a").await), Err(ShareError::Protocol));
        bench.host().longest = 4096;
        assert_eq!(bench.run(async |host| host.create("a").await), Ok(()));
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        bench.fill(&bytes);
        let span = bench.engine.span(&Bench::window(bytes.len())).expect("its own");
        assert_eq!(bench.run(async move |host| host.write_from("a", 0, span).await), Ok(()));
        assert_eq!(bench.host().heard.iter().filter(|kind| **kind == 118).count(), 3);
        assert_eq!(bench.host().file("a"), Some(&bytes[..]));
    });
}

#[test]
fn a_broken_session_is_begun_anew() {
    bench(Features::empty(), |mut bench| {
        bench.host().put("a", Node::File(b"text".to_vec()));
        // The header, and how many identities follow.
        for byte in 0..9 {
            bench.host().twist = Some(Box::new(move |answer| {
                if let Some(byte) = answer.get_mut(byte) {
                    *byte ^= 0x40;
                }
            }));
            assert_eq!(bench.run(async |host| host.stat("a").await), Err(ShareError::Protocol));
            bench.host().twist = None;
            assert_eq!(bench.run(async |host| host.read("a", 0, 9).await), Ok(b"text".to_vec()));
        }
    });
}

#[test]
fn a_device_without_room_for_a_message_is_refused() {
    let mut words = vec![0u64; MEMORY_BYTES / 8];
    let memory = Dma::of_words(&mut words, BUS);
    let mut host = Host::new(memory, Features::VERSION_1);
    host.device.queues[0].most = 2;
    let transport = Transport::find(&model::Device::config(), &model::Device::openings(), host);
    let device = Device::new(transport.expect("found"), memory, None);
    assert_eq!(device.err(), Some(SetupError::ShortQueue));
}

proptest! {
    /// What is written anywhere is there, whether through messages or the region, and however little
    /// the host takes at once.
    #[test]
    fn nothing_is_lost(
        pieces in prop::collection::vec((0usize..20_000, prop::collection::vec(any::<u8>(), 1..3000), any::<bool>()), 1..8),
        takes in 1usize..4000,
    ) {
        bench(Features::EVENT_INDEX, |mut bench| {
            bench.host().put("d/f", Node::File(vec![]));
            bench.host().takes = takes;
            let mut model = Vec::new();
            for (offset, mut bytes, through_message) in pieces {
                if through_message {
                    bytes.truncate(MOST_BYTES as usize);
                }
                model.resize(model.len().max(offset + bytes.len()), 0);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                bench.fill(&bytes);
                let span = bench.engine.span(&Bench::window(bytes.len())).expect("its own");
                let done = bench.run(async move |host| match through_message {
                    true => host.write("d/f", offset as u64, &bytes).await,
                    false => host.write_from("d/f", offset as u64, span).await,
                });
                assert_eq!(done, Ok(()));
            }
            assert_eq!(bench.host().file("d/f"), Some(&model[..]));
            let window = REGION - WINDOW_OFFSET as usize;
            let span = bench.engine.span(&Bench::window(window)).expect("its own");
            for (number, expected) in model.chunks(window).enumerate() {
                let offset = (number * window) as u64;
                let came = bench.run(async move |host| host.read_into("d/f", offset, span).await);
                assert_eq!(came, Ok(u32::try_from(expected.len()).expect("short")));
                assert_eq!(bench.region_bytes(expected.len()), expected);
            }
        });
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("fits") % below.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next(256)).expect("a byte")
    }

    /// Damages an answer: its end, all of it, a number, bits; or makes it a refusal.
    fn damage(&mut self, answer: &mut Vec<u8>) {
        match self.next(6) {
            0 => answer.truncate(self.next(answer.len())),
            1 => answer.extend(core::iter::repeat_n(0xff, self.next(40))),
            2 => *answer = (0..self.next(300)).map(|_| self.byte()).collect(),
            3 if answer.len() > 9 => {
                let at = 7 + self.next(answer.len() - 8);
                let end = answer.len().min(at + 4);
                answer[at..end].fill([0, 0x7f, 0xff][self.next(3)]);
            }
            4 => {
                answer[4] = 7;
                answer.truncate(7);
                answer.extend([self.byte(), 0, 0, 0]);
            }
            _ => {
                let bit = self.next(answer.len() * 8);
                answer[bit / 8] ^= 1 << (bit % 8);
            }
        }
        if self.next(4) > 0 && answer.len() >= 4 {
            // The size is right, so that what follows is looked at.
            let size = u32::try_from(answer.len()).expect("short").to_le_bytes();
            answer[..4].copy_from_slice(&size);
        }
    }
}

/// Operations that are tried at a host that damages every eighth answer.
const TRIED: usize = 100_000;

#[test]
fn a_hostile_host_is_believed_nothing() {
    let (mut outcomes, mut damaged) = ([0u32; 3], 0u64);
    bench(Features::EVENT_INDEX, |mut bench| {
        let tree = tree();
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let counter = std::rc::Rc::new(std::cell::Cell::new(0u64));
        let (count, mut seed) = (counter.clone(), Numbers(0xd1b5_4a32_d192_ed03));
        bench.host().twist = Some(Box::new(move |answer| {
            if seed.next(8) == 0 {
                count.set(count.get() + 1);
                seed.damage(answer);
            }
        }));
        for _ in 0..TRIED {
            bench.host().tree.clone_from(&tree);
            // A host that lies about what it did cannot hold the driver to what it thinks of it.
            bench.host().fids = numbers_in_use();
            let kind = match attempt(&mut bench, numbers.next(7)) {
                Ok(()) => 0,
                Err(ShareError::Protocol) => 1,
                Err(ShareError::Host(_)) => 2,
                Err(error) => panic!("{error}"),
            };
            outcomes[kind] += 1;
        }
        bench.host().twist = None;
        bench.host().tree = tree;
        bench.host().fids = numbers_in_use();
        damaged = counter.get();
    });
    println!("{TRIED} operations, {damaged} damaged answers: {outcomes:?} done, broken, refused");
    assert!(outcomes.iter().all(|count| *count > 1000) && damaged > 50_000, "{outcomes:?}");
}

fn tree() -> Tree {
    let name = |text: &str| vec![text.to_string()];
    let mut tree = Tree::from([(Vec::new(), Node::Directory), (name("d"), Node::Directory)]);
    for number in 0..20 {
        tree.insert(name(&format!("file-{number}")), Node::File(vec![number; 100]));
    }
    tree
}

fn numbers_in_use() -> std::collections::BTreeMap<u32, (Vec<String>, bool)> {
    std::collections::BTreeMap::from([(0, (Vec::new(), false))])
}

/// One operation, whose outcome is within what was asked for, whatever the host says.
fn attempt(bench: &mut Bench<'_>, which: usize) -> Result<(), ShareError> {
    let span = bench.engine.span(&Bench::window(100)).expect("its own");
    match which {
        0 => bench.run(async |host| host.list("", 0).await).map(|listing: Listing| {
            assert!(listing.entries.iter().all(|entry| !entry.name.contains('/')));
        }),
        1 => bench.run(async |host| host.read("file-3", 0, 50).await).map(|bytes| {
            assert!(bytes.len() <= 50);
        }),
        2 => bench.run(async move |host| host.read_into("file-3", 0, span).await).map(|bytes| {
            assert!(bytes <= 100);
        }),
        3 => bench.run(async move |host| host.write_from("file-3", 0, span).await),
        4 => bench.run(async |host| host.stat("d").await).map(|_| ()),
        5 => bench.run(async |host| host.remove("d").await),
        _ => bench.run(async |host| host.create("d/new").await),
    }
}

#[test]
fn a_caller_whose_operation_is_lost_is_told() {
    bench(Features::empty(), |mut bench| {
        let answer = bench.begin(async |host| host.stat("").await);
        drop(bench);
        assert_eq!(answer.take(), Some(Err(CallError::Unanswered)));
    });
}
