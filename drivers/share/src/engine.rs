//! The operations that wait, and the one that works.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use libd3os::call::Later;
use libd3os::dma::{Dma, DmaError};
use libd3os::service::share::{ShareError, WINDOW_OFFSET, Window};
use serde::Serialize;
use virtio::queue::Broken;
use virtio::transport::Windows;

use crate::device::{Device, Span};
use crate::events::{Event, Journal};
use crate::session::Session;

type Operation = Pin<Box<dyn Future<Output = ()>>>;

/// A region that a program shares with the driver.
#[derive(Clone, Copy, Debug)]
pub struct Region<'m> {
    /// Its name.
    pub name: &'static str,
    /// Its memory.
    pub memory: Dma<'m>,
}

/// The device cannot go on: it has to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It breaks the queue's protocol.
    Broken(Broken),
    /// A message does not fit in the driver's memory.
    Memory(DmaError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

/// A device at work.
pub struct Engine<'m, W> {
    device: Device<'m, W>,
    session: Rc<Session>,
    regions: Vec<Region<'m>>,
    /// In the order in which they came; the first one works. There are no more than calls that the
    /// server can hold.
    operations: VecDeque<Operation>,
    journal: Journal,
}

impl<'m, W: Windows> Engine<'m, W> {
    /// This device, for programs that share these regions.
    pub fn new(device: Device<'m, W>, regions: Vec<Region<'m>>) -> Self {
        let journal = Journal::default();
        let session = Rc::new(Session::new(journal.clone()));
        Self { device, session, regions, operations: VecDeque::new(), journal }
    }

    /// What is observed.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The device.
    pub const fn device(&mut self) -> &mut Device<'m, W> {
        &mut self.device
    }

    /// Where the device finds a window.
    ///
    /// # Errors
    /// [`ShareError::NoSuchRegion`], [`ShareError::Ticket`], [`ShareError::Outside`].
    pub fn span(&self, window: &Window) -> Result<Span, ShareError> {
        let Window { region, ticket, at, bytes } = window;
        let region = self.regions.iter().find(|known| known.name == region);
        let memory = region.ok_or(ShareError::NoSuchRegion)?.memory;
        let place = memory.word::<AtomicU64>(0).map_err(|_| ShareError::NoSuchRegion)?;
        if *ticket == 0 || place.load(Ordering::Acquire) != *ticket {
            return Err(ShareError::Ticket);
        }
        let end = u64::from(*at) + u64::from(*bytes);
        if *at < WINDOW_OFFSET || end > memory.bytes() as u64 {
            return Err(ShareError::Outside);
        }
        Ok(Span { bus: memory.bus(0) + u64::from(*at), bytes: *bytes })
    }

    /// Adds an operation, whose result is answered when it is there.
    pub fn add<T, F>(&mut self, later: Later<Result<T, ShareError>>, operation: F)
    where
        T: Serialize + 'static,
        F: AsyncFnOnce(&Session) -> Result<T, ShareError> + 'static,
    {
        let (session, journal) = (Rc::clone(&self.session), self.journal.clone());
        self.operations.push_back(Box::pin(async move {
            later.answer(&operation(&session).await);
            journal.note(Event::Done);
        }));
    }

    /// Lets operations work until one waits for the device, or all have ended.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn run(&mut self) -> Result<(), Fault> {
        loop {
            if let Some(answer) = self.device.take().map_err(Fault::Broken)? {
                self.session.answered(answer);
            }
            if self.device.is_busy() {
                match self.device.arm() {
                    true => continue,
                    false => return Ok(()),
                }
            }
            if !self.step()? {
                return Ok(());
            }
        }
    }

    /// Lets the first operation go on; `false` where there is none.
    fn step(&mut self) -> Result<bool, Fault> {
        let Some(operation) = self.operations.front_mut() else { return Ok(false) };
        let step = operation.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match (step, self.session.take_exchange()) {
            (Poll::Pending, Some(exchange)) => {
                self.device.submit(&exchange).map_err(Fault::Memory)?;
            }
            // One that waited for nothing would wait for ever; without it, its caller is told.
            (Poll::Ready(()), _) | (Poll::Pending, None) => {
                self.operations.pop_front();
            }
        }
        Ok(true)
    }
}

impl<W> fmt::Debug for Engine<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("regions", &self.regions)
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}
