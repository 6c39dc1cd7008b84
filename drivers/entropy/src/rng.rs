//! The entropy device of virtio (VIRTIO 1.2, section 5.4): random bytes of whoever emulates the machine.
//!
//! It fills a buffer that it is offered, in its own time and as far as it likes, one byte at least.
//! So the next buffer is offered as soon as the last is used up, and is mostly there when it is wanted;
//! else it is looked for a while, once: a device that has not answered then is looked at once a call
//! until it does. What it did not write is zero, which the health tests find.

use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use libd3os::dma::{Dma, DmaError};
use libd3os::service::entropy::Source;
use virtio::queue::{Access, Layout, Queue, Segment};
use virtio::regs::Features;
use virtio::transport::{Notifier, Transport, TransportError, Windows};

use crate::source::Words;

/// The only queue.
const REQUESTS: u16 = 0;
/// Entries of it that are used, at most.
const ENTRIES: u16 = 2;
/// Where the buffer lies, behind the queue.
const BUFFER: usize = 0x400;
/// Words of the buffer.
const WORDS: usize = 8;
/// Bytes of DMA memory that are needed.
pub const MEMORY_BYTES: usize = BUFFER + WORDS * size_of::<u64>();
/// Looks for an answer before a device counts as silent.
const LOOKS: u32 = 100_000;

/// Why the device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RngError {
    /// It does not come up.
    Transport(TransportError),
    /// Its memory is too small.
    Memory(DmaError),
}

impl fmt::Display for RngError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl From<TransportError> for RngError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<DmaError> for RngError {
    fn from(error: DmaError) -> Self {
        Self::Memory(error)
    }
}

/// An entropy device.
#[derive(Debug)]
pub struct VirtioRng<'m, W> {
    transport: Transport<W>,
    queue: Queue<'m>,
    notifier: Notifier,
    memory: Dma<'m>,
    buffer: &'m [AtomicU64],
    /// Words of the buffer that were filled and not given yet.
    filled: Range<usize>,
    state: State,
    /// Looks before the device counts as silent.
    looks: u32,
    /// Lets others run while the device works.
    pause: fn(),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The buffer is the driver's.
    Idle,
    /// The buffer is the device's.
    Asked,
    /// The device has broken the queue's protocol.
    Broken,
}

impl<'m, W: Windows> VirtioRng<'m, W> {
    /// Resets the device and asks it for its first bytes.
    ///
    /// # Errors
    /// [`RngError`].
    pub fn new(
        mut transport: Transport<W>,
        memory: Dma<'m>,
        pause: fn(),
    ) -> Result<Self, RngError> {
        transport.reset()?;
        let features = transport.negotiate(Features::empty())?;
        let layout = Layout::new(transport.queue_size(REQUESTS)?.min(ENTRIES));
        let buffer = memory.row(BUFFER, WORDS)?;
        let mut queue = Queue::new(memory.part(0, BUFFER)?, layout, features)?;
        // Answers are looked for, not waited for.
        queue.disarm();
        let notifier = transport.enable(REQUESTS, queue.addresses(), None)?;
        transport.start();
        let (state, filled, looks) = (State::Idle, 0..0, LOOKS);
        let mut rng =
            Self { transport, queue, notifier, memory, buffer, filled, state, looks, pause };
        rng.ask();
        Ok(rng)
    }

    /// Offers the buffer, if it is the driver's.
    fn ask(&mut self) {
        if self.state != State::Idle {
            return;
        }
        self.buffer.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let bytes = size_of_val(self.buffer);
        let room = u32::try_from(bytes).unwrap_or(0);
        let bus = self.memory.bus(BUFFER);
        self.queue.prepare(0, Segment { bus, bytes: room, access: Access::Write, next: None });
        self.state = if self.queue.offer(0, room) { State::Asked } else { State::Broken };
        if self.queue.publish() {
            self.transport.notify(self.notifier);
        }
    }

    /// Looks for what the device has filled.
    fn fetch(&mut self) {
        self.ask();
        for _ in 0..core::mem::replace(&mut self.looks, 1) {
            match self.queue.take() {
                _ if self.state == State::Broken => return,
                Ok(Some(used)) => {
                    let words = used.bytes as usize / size_of::<u64>();
                    (self.state, self.looks) = (State::Idle, LOOKS);
                    self.filled = 0..words.min(WORDS);
                    return;
                }
                Ok(None) => (self.pause)(),
                Err(_) => {
                    self.state = State::Broken;
                    self.transport.give_up();
                }
            }
        }
    }
}

impl<W: Windows> Words for VirtioRng<'_, W> {
    fn source(&self) -> Source {
        Source::VirtioRng
    }

    fn word(&mut self) -> Option<u64> {
        if self.filled.is_empty() {
            self.fetch();
        }
        let index = self.filled.next()?;
        let word = self.buffer.get(index)?.load(Ordering::Relaxed);
        if self.filled.is_empty() {
            self.ask();
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Entropy;
    use crate::model::RngModel;
    use libd3os::service::entropy::{EntropyError, Health};
    use proptest::prelude::*;
    use virtio::model::Device;

    fn with<T>(
        answers: impl IntoIterator<Item = u32>,
        test: impl FnOnce(VirtioRng<'static, RngModel<'static>>) -> T,
    ) -> T {
        let words = Box::leak(Box::new([0u64; MEMORY_BYTES / 8]));
        let memory = Dma::of_words(words, 0x10_0000);
        let model = RngModel::new(memory, answers);
        let transport = Transport::find(&Device::config(), &Device::openings(), model);
        test(VirtioRng::new(transport.expect("found"), memory, || ()).expect("up"))
    }

    #[test]
    fn words_are_those_of_the_device_in_order() {
        with([64, 64, 19, 64], |mut rng| {
            let words: Vec<_> = (0..18).map(|_| rng.word().expect("filled")).collect();
            assert_eq!(words, RngModel::words().take(18).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_silent_device_is_looked_for_once_and_may_speak_later() {
        with([], |mut rng| {
            assert_eq!((rng.word(), rng.looks), (None, 1));
            assert_eq!(rng.word(), None);
            rng.transport.windows().speak(64);
            assert_eq!(rng.word(), RngModel::words().next());
            assert_eq!(rng.looks, LOOKS);
        });
    }

    #[test]
    fn a_device_that_breaks_the_protocol_gives_nothing_more() {
        with([65, 64], |mut rng| {
            assert_eq!((rng.word(), rng.state), (None, State::Broken));
            rng.transport.windows().speak(64);
            assert_eq!(rng.word(), None);
        });
    }

    #[test]
    fn a_device_that_says_to_have_written_and_has_not_fails_the_tests() {
        with([], |mut rng| {
            rng.transport.windows().writes = false;
            rng.transport.windows().speak(64);
            let mut entropy = Entropy::new([Box::new(rng) as Box<dyn Words>]);
            assert_eq!(entropy.fill(8), Err(EntropyError::NotSeeded));
            let health =
                entropy.report().into_iter().map(|report| report.health).collect::<Vec<_>>();
            assert_eq!(health, [Health::Absent, Health::Absent, Health::Failed]);
        });
    }

    #[test]
    fn it_seeds_the_generator_alone() {
        with([64; 4], |rng| {
            let mut entropy = Entropy::new([Box::new(rng) as Box<dyn Words>]);
            assert_eq!(entropy.fill(8).map(|bytes| bytes.len()), Ok(8));
        });
    }

    #[test]
    fn its_memory_has_to_be_large_enough() {
        let words = Box::leak(Box::new([0u64; 16]));
        let memory = Dma::of_words(words, 0);
        let model = RngModel::new(memory, []);
        let transport = Transport::find(&Device::config(), &Device::openings(), model);
        let rng = VirtioRng::new(transport.expect("found"), memory, || ());
        assert_eq!(rng.err(), Some(RngError::Memory(DmaError::Outside)));
    }

    proptest! {
        /// Whatever the device answers, no word is given that it has not written.
        #[test]
        fn words_are_the_devices(answers in prop::collection::vec(0u32..80, 0..12), asked in 0usize..60) {
            with(answers, |mut rng| {
                let mut given = Vec::new();
                for _ in 0..asked {
                    given.extend(rng.word());
                }
                let written = RngModel::words().take(given.len()).collect::<Vec<_>>();
                prop_assert_eq!(given, written);
                Ok(())
            })?;
        }
    }
}
