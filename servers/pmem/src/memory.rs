//! The memory that the pool is in, lent to programs through init, and what is made of single pages of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use libd3os::object::control::{Control, ControlRef};
use libd3os::object::medium::{Mapped, Medium};
use libd3os::region::Rights;
use libd3os::service::entropy::EntropyClient;
use libd3os::service::persistent::{PersistentClient, PersistentError};
use libd3os::service::pmem::PmemError;
use libd3os::service::supervisor::SupervisorClient;
use libd3os::start::layout::PAGE_SIZE;
use libd3os::time::{tsc, uptime};
use pmem::Extent;
use pmem::store::World;

/// The rest of the system.
pub(crate) struct Lending {
    client: PersistentClient,
    /// The range that the pool is in.
    range: u16,
    medium: Mapped,
    drawn: u64,
}

impl Lending {
    pub(crate) const fn new(client: PersistentClient, range: u16, medium: Mapped) -> Self {
        Self { client, range, medium, drawn: 0 }
    }
}

impl World for Lending {
    fn lend(&mut self, program: u16, pages: Extent, rights: Rights) -> Result<u64, PmemError> {
        let (offset, count) = pieces(pages)?;
        self.client.lend(program, self.range, offset, count, rights).map_err(|error| match error {
            libd3os::call::Error::Service(PersistentError::NoSuchProgram(_)) => {
                PmemError::Elsewhere
            }
            error => {
                log::warn!("lending {pages} to program {program}: {error}");
                PmemError::NotLent
            }
        })
    }

    fn withdraw(&mut self, program: u16, pages: Extent) {
        let Ok((offset, count)) = pieces(pages) else { return };
        if let Err(error) = self.client.withdraw(program, self.range, offset, count) {
            log::error!("withdrawing {pages} from program {program}: {error}");
        }
    }

    fn control(&mut self, page: u64, version: u64) -> ControlRef {
        let at = usize::try_from(page * PAGE_SIZE).unwrap_or(usize::MAX);
        assert!(at < self.medium.bytes(), "page {page} is not of the pool");
        let place = self.medium.base().as_ptr().wrapping_add(at).cast::<Control>();
        // SAFETY: a page of the medium, which is mapped for good; nobody uses it, so nobody has a
        // reference into it.
        unsafe { place.write(Control::new(version)) };
        // SAFETY: it is a control now, of atomic words only; the page is given out again when the last
        // who knew of this control has forgotten it.
        ControlRef::Shared(unsafe { &*place })
    }

    fn now(&mut self) -> Duration {
        // Without a clock, nobody is ever put out.
        uptime().unwrap_or_default()
    }

    fn draw(&mut self) -> u128 {
        self.drawn += 1;
        let bytes = EntropyClient::connect().ok().and_then(|client| client.fill(16).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.map_or_else(|| unlikely_twice(self.drawn), u128::from_le_bytes)
    }

    fn programs(&mut self) -> Vec<String> {
        let Ok(supervisor) = SupervisorClient::connect() else { return Vec::new() };
        let (mut names, mut from) = (Vec::new(), Some(0));
        while let Some(first) = from {
            let Ok(page) = supervisor.programs(first) else { break };
            // Init's own threads come first, and have no numbers.
            let programs = page.items.into_iter().filter(|program| program.name != "init");
            names.extend(programs.map(|program| program.name));
            from = page.next.filter(|next| *next > first);
        }
        names
    }

    fn looked(&mut self, bytes: u64, of: u64) {
        if bytes.is_multiple_of(of.div_ceil(4)) {
            let (bytes, of) = (bytes >> 20, of >> 20);
            log::info!("looking whether the memory is empty: {bytes} of {of} MiB are");
        }
    }
}

/// Where pages are in the range, and how many.
fn pieces(pages: Extent) -> Result<(u64, u32), PmemError> {
    let count = u32::try_from(pages.pages).map_err(|_| PmemError::NotLent)?;
    Ok((pages.first * PAGE_SIZE, count))
}

/// Without a source of randomness: ids need not be secret, only different.
fn unlikely_twice(number: u64) -> u128 {
    let seed = [tsc().to_le_bytes(), number.to_le_bytes()];
    xxhash_rust::xxh3::xxh3_128(seed.as_flattened())
}
