//! Transfers to a server in the same program, with one file, that dies as often as it is told to.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use proptest::prelude::*;

use super::{FIRST, Transfer, TransferError};
use crate::call::{CallError, Caller, Error, Later, Loopback, MOST_ATTEMPTS, Request};
use crate::region::RegionError;
use crate::service::share::{
    Errno, FileStatus, Listing, Share, ShareClient, ShareError, WINDOW_OFFSET, Window,
};
use crate::shared::{SharedMemory, twins};

/// A server of the file `a`.
struct Host {
    region: SharedMemory,
    file: Vec<u8>,
    /// Calls that it does and then dies of instead of answering.
    deaths: u32,
    /// It claims more bytes than there is room for.
    lies: bool,
}

impl Host {
    fn window(&self, path: &str, window: &Window) -> Result<(usize, usize), ShareError> {
        assert_eq!((window.region.as_str(), window.at), ("share-test", WINDOW_OFFSET));
        let ticket = self.region.atomic64(0).expect("there").load(Ordering::Acquire);
        assert!(window.ticket != 0 && window.ticket == ticket, "a fresh ticket");
        match path {
            "a" => Ok((window.at as usize, window.bytes as usize)),
            _ => Err(ShareError::Host(Errno::ENOENT)),
        }
    }

    fn answer<T: serde::Serialize>(
        &mut self,
        later: Later<Result<T, ShareError>>,
        result: Result<T, ShareError>,
    ) {
        if self.deaths > 0 {
            self.deaths -= 1;
            return later.fail(CallError::Restarted);
        }
        later.answer(&result);
    }

    fn read_at(&self, path: &str, offset: u64, window: &Window) -> Result<u32, ShareError> {
        let (at, room) = self.window(path, window)?;
        let offset = usize::try_from(offset).expect("short");
        let rest = self.file.get(offset..).unwrap_or_default();
        let bytes = &rest[..rest.len().min(room)];
        self.region.write(at, bytes).expect("inside");
        let lie = usize::from(self.lies) * (room + 1);
        Ok(u32::try_from(bytes.len() + lie).expect("short"))
    }

    fn write_at(&mut self, path: &str, offset: u64, window: &Window) -> Result<(), ShareError> {
        let (at, bytes) = self.window(path, window)?;
        let offset = usize::try_from(offset).expect("short");
        self.file.resize(self.file.len().max(offset + bytes), 0);
        self.region.read(at, &mut self.file[offset..offset + bytes]).expect("inside");
        Ok(())
    }
}

/// What no test here asks for.
fn never<T>(_: Later<Result<T, ShareError>>) {
    unreachable!("not asked for")
}

impl Share for Host {
    fn list(&mut self, _: Caller, _: String, _: u64, later: Later<Result<Listing, ShareError>>) {
        never(later);
    }
    fn stat(&mut self, _: Caller, _: String, later: Later<Result<FileStatus, ShareError>>) {
        never(later);
    }
    fn read(
        &mut self,
        _: Caller,
        _: String,
        _: u64,
        _: u32,
        later: Later<Result<Vec<u8>, ShareError>>,
    ) {
        never(later);
    }
    fn write(
        &mut self,
        _: Caller,
        _: String,
        _: u64,
        _: Vec<u8>,
        later: Later<Result<(), ShareError>>,
    ) {
        never(later);
    }
    fn read_into(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        window: Window,
        later: Later<Result<u32, ShareError>>,
    ) {
        let result = self.read_at(&path, offset, &window);
        self.answer(later, result);
    }
    fn write_from(
        &mut self,
        _: Caller,
        path: String,
        offset: u64,
        window: Window,
        later: Later<Result<(), ShareError>>,
    ) {
        let result = self.write_at(&path, offset, &window);
        self.answer(later, result);
    }
    fn create(&mut self, _: Caller, _: String, later: Later<Result<(), ShareError>>) {
        never(later);
    }
    fn sync(&mut self, _: Caller, _: String, later: Later<Result<(), ShareError>>) {
        never(later);
    }
    fn make_directory(&mut self, _: Caller, _: String, later: Later<Result<(), ShareError>>) {
        never(later);
    }
    fn remove(&mut self, _: Caller, _: String, later: Later<Result<(), ShareError>>) {
        never(later);
    }
}

type Dispatch = fn(&mut Host, Request<'_>);
type Way = Loopback<Host, Dispatch>;

/// A transfer through a region with room for so many bytes of files.
fn transfer(room: usize) -> Transfer<Way> {
    let [ours, theirs] = twins(FIRST + room);
    let host = Host { region: theirs, file: Vec::new(), deaths: 0, lies: false };
    let client = ShareClient::new(Loopback::new(host, Caller(1), Share::dispatch as Dispatch));
    // The next ticket would be 0.
    Transfer::new(client, "share-test", ours, u64::MAX).expect("large enough")
}

#[test]
fn a_death_is_met_by_the_same_call_again() {
    let mut transfer = transfer(64);
    let bytes: Vec<u8> = (0..200).collect();
    transfer.client().transport().server().deaths = MOST_ATTEMPTS - 1;
    assert_eq!(transfer.write("a", 7, &bytes), Ok(()));
    assert_eq!(transfer.client().transport().server().file[7..], bytes);
    transfer.client().transport().server().deaths = MOST_ATTEMPTS;
    let dead = Err(Error::Call(CallError::Restarted));
    assert_eq!(transfer.read("a", 0, &mut [0; 9]), dead);
    let mut back = vec![0; 300];
    assert_eq!(transfer.read("a", 7, &mut back), Ok(200));
    assert_eq!(back[..200], bytes);
}

#[test]
fn refusals_and_lies_are_told() {
    let mut transfer = transfer(64);
    let missing = Error::Service(ShareError::Host(Errno::ENOENT));
    assert_eq!(transfer.write("b", 0, b"x"), Err(missing));
    transfer.client().transport().server().lies = true;
    let lie = Err(Error::Service(ShareError::Outside));
    assert_eq!(transfer.read("a", 0, &mut [0; 9]), lie);
}

#[test]
fn a_region_has_room_for_a_ticket_and_a_byte() {
    let [ours, theirs] = twins(FIRST);
    let host = Host { region: theirs, file: Vec::new(), deaths: 0, lies: false };
    let client = ShareClient::new(Loopback::new(host, Caller(1), Share::dispatch as Dispatch));
    let small = Transfer::new(client, "share-test", ours, 1);
    assert_eq!(small.err(), Some(TransferError::Region(RegionError::Outside)));
}

proptest! {
    #[test]
    fn transfers_are_those_of_a_slice(
        room in 1usize..4,
        steps in prop::collection::vec((0usize..500, prop::collection::vec(any::<u8>(), 0..400), any::<bool>()), 1..12),
    ) {
        let mut transfer = transfer(64 * room);
        let mut model: Vec<u8> = Vec::new();
        for (offset, bytes, writes) in steps {
            if writes {
                if !bytes.is_empty() {
                    model.resize(model.len().max(offset + bytes.len()), 0);
                    model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
                prop_assert_eq!(transfer.write("a", offset as u64, &bytes), Ok(()));
            } else {
                let mut back = bytes;
                let rest = model.get(offset..).unwrap_or_default();
                let count = rest.len().min(back.len());
                prop_assert_eq!(transfer.read("a", offset as u64, &mut back), Ok(count));
                prop_assert_eq!(&back[..count], &rest[..count]);
            }
        }
        prop_assert_eq!(&transfer.client().transport().server().file, &model);
    }
}
