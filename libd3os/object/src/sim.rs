//! A simulated medium that knows every content a loss of power can leave, for crash tests.
//!
//! [`Sim`] keeps two images: the visible one, which loads see, and the durable one, with the list of
//! what was stored since. At every fence, before it takes effect, and wherever a test asks, an
//! [`Explorer`] makes the crash images that the model allows and hands each to the test's check, which
//! recovers it and compares it with what may be there. Nothing is lost between the fences: what can
//! be left at an instant between two can also be left right before the second.
//!
//! The model, for [`Domain::Adr`], where caches are lost:
//!
//! - per 64-byte line, any prefix of its stores since it was last durable, in program order; lines
//!   are independent of each other;
//! - what a line held when it was flushed is durable after the flushing thread's next fence (or
//!   [locked operation](Sim::locked_operation)), and any dirty line may be written back earlier;
//! - stores past the cache: each aligned word for itself, until their thread's fence;
//! - a store that is wider than an aligned word, or not aligned, is torn between words; which of them
//!   are there first is not said, so both directions are tried.
//!
//! For [`Domain::Eadr`], where caches are saved: any prefix of the stores in the order in which they
//! were made, by whichever thread; stores past the cache are under way until the fence, as above.
//!
//! If at most [`Limits::lines`] lines are dirty and there are at most [`Limits::product`] images, all of
//! them are made; else none of what is not durable, all of it, one line or word only, all but one, and
//! random ones. Everything random comes from a seed.

mod explore;
#[expect(unsafe_code, reason = "is memory that is read and written through raw pointers")]
mod memory;
mod pending;
mod random;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use explore::{Counts, Explorer, Failure, Limits};
pub use memory::SimMedium;
pub use random::Random;

use explore::Watch;
use memory::Memory;
use pending::Pending;

/// What survives a loss of power beside what is durable on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Nothing: caches are lost.
    Adr,
    /// The caches' contents.
    Eadr,
}

/// A simulated medium.
#[derive(Clone)]
pub struct Sim {
    memory: Arc<Memory>,
    state: Arc<Mutex<State>>,
}

struct State {
    pending: Pending,
    watch: Option<Watch>,
}

impl Sim {
    /// A medium of zeros.
    #[must_use]
    pub fn new(domain: Domain, bytes: usize) -> Self {
        Self::with_contents(domain, &vec![0; bytes])
    }

    /// A medium that holds this durably: what the next start finds.
    ///
    /// # Panics
    /// The image does not consist of lines.
    #[must_use]
    pub fn with_contents(domain: Domain, image: &[u8]) -> Self {
        let state = State { pending: Pending::new(domain, image.to_vec()), watch: None };
        Self { memory: Arc::new(Memory::holding(image)), state: Arc::new(Mutex::new(state)) }
    }

    /// The medium, as it is written by this thread of the simulated machine: fences wait for what
    /// their own thread has flushed.
    #[must_use]
    pub fn medium(&self, thread: usize) -> SimMedium {
        SimMedium::new(self.clone(), thread)
    }

    /// Has `check` look at every crash image that `explorer` makes, at every fence from now on.
    pub fn watch(
        &self,
        explorer: Explorer,
        check: impl FnMut(&[u8]) -> Result<(), String> + Send + 'static,
    ) {
        self.state().watch = Some(Watch::new(explorer, Box::new(check)));
    }

    /// Looks at the crash images of this instant.
    pub fn examine(&self) {
        self.state().examine();
    }

    /// Ends the watch, after a look at this instant.
    ///
    /// # Errors
    /// The first crash image that the check did not accept.
    ///
    /// # Panics
    /// Nothing is watched.
    pub fn finish(&self) -> Result<Counts, Failure> {
        self.examine();
        self.state().watch.take().expect("nothing is watched").finish()
    }

    /// What a loss of power leaves in any case.
    #[must_use]
    pub fn durable(&self) -> Vec<u8> {
        self.state().pending.durable().to_vec()
    }

    /// What is visible now.
    #[must_use]
    pub fn visible(&self) -> Vec<u8> {
        self.memory.contents()
    }

    /// The thread executes a locked instruction, on whatever memory: a fence like any other.
    pub fn locked_operation(&self, thread: usize) {
        self.state().fence(thread);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stored(&mut self) {
        if self.watch.as_mut().is_some_and(Watch::is_due) {
            self.examine();
        }
    }

    fn fence(&mut self, thread: usize) {
        self.examine();
        self.pending.fence(thread);
    }

    fn examine(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.examine(&self.pending);
        }
    }
}

#[cfg(test)]
mod tests;
