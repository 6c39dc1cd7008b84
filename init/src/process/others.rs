//! The other cores' inits, as core 0's sees them: a link to each, and what waits to be sent.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use init::board::Header;
use init::message::{Command, LinkError, Outbox, Report};
use libd3os::call::{CallError, ReplySink};
use libd3os::cap::{CoreControl, Error, IrqHandler};
use libd3os::ring::{CoreBell, Doorbell};

use super::board::{Board, InitLink, LinkEnd, Post, bell_of, take_line};
use super::memory::Memory;
use super::resources::Shared;
use super::trouble::{Refused, Trouble};

/// Reports that are taken from one core before others have their turn.
pub(super) const REPORTS_AT_A_TIME: u32 = 64;

/// Another core's init.
#[derive(Debug)]
struct Hand {
    post: Post,
    bell: CoreBell,
    link: Option<InitLink>,
    mail: Rc<Mail>,
    /// RAM of its core, as it told when it last came up.
    ram_bytes: u64,
}

/// What waits to be sent to a core. Answers to its programs' calls come here from wherever they
/// are given.
#[derive(Debug, Default)]
pub(super) struct Mail {
    outbox: RefCell<Outbox>,
    /// A message that could not be added.
    lost: Cell<Option<LinkError>>,
}

impl Mail {
    fn push(&self, command: &Command) {
        if let Err(error) = self.outbox.borrow_mut().push(command) {
            self.lost.set(Some(error));
        }
    }
}

impl ReplySink for Mail {
    fn answer(&self, token: u32, answer: Result<&[u8], CallError>) {
        let answer = answer.map(<[u8]>::to_vec).map_err(CallError::number);
        self.push(&Command::Answer { token, answer });
    }

    fn park(&self, _: u32) -> bool {
        // The call waits on its own core, where there is room for it or it would not be here.
        true
    }
}

/// All of them; none on a machine with one core.
#[derive(Debug)]
pub(super) struct Others {
    hands: Vec<Hand>,
    line: Option<IrqHandler>,
    control: Option<CoreControl>,
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} other cores", self.hands.len())
    }
}

impl Others {
    /// Nobody.
    pub(super) const fn none() -> Self {
        Self { hands: Vec::new(), line: None, control: None }
    }

    /// Lays the board out for `cores` cores. They are not yet told.
    pub(super) fn meet(
        cores: u32,
        control: Option<CoreControl>,
        shared: &Shared,
        memory: &mut Memory,
    ) -> Result<Self, Trouble> {
        let line = take_line(shared, memory)?;
        let mut board = Board::new();
        let header = board.header(memory)?;
        let hands = (1..cores).map(|core| {
            let post = board.post(memory, core)?;
            let bell = bell_of(core, line, shared, memory)?;
            let mut hand = Hand { post, bell, link: None, mail: Rc::default(), ram_bytes: 0 };
            hand.lay_out();
            Ok(hand)
        });
        let hands = hands.collect::<Result<_, Refused>>()?;
        init::board::clear(header);
        Header::new(header).announce(cores);
        Ok(Self { hands, line: Some(line), control })
    }

    /// How many cores there are, core 0 included.
    pub(super) fn cores(&self) -> impl Iterator<Item = u32> + use<> {
        1..=u32::try_from(self.hands.len()).unwrap_or(0)
    }

    /// Lets the next signal of another core come.
    pub(super) fn acknowledge(&self) {
        if let Some(line) = self.line {
            // Fails only for a handler that was deleted, and init's own never is.
            let _ = line.ack();
        }
    }

    /// Tells a core's init to look at the board.
    pub(super) fn invite(&self, core: u32) {
        if let Some(hand) = self.hand(core) {
            hand.bell.signal();
        }
    }

    /// Adds a command for a core, to be sent with [`Self::exchange`].
    pub(super) fn command(&self, core: u32, command: &Command) {
        if let Some(hand) = self.hand(core) {
            hand.mail.push(command);
        }
    }

    /// Where answers for the programs of a core go.
    pub(super) fn mail(&self, core: u32) -> Option<Rc<Mail>> {
        self.hand(core).map(|hand| Rc::clone(&hand.mail))
    }

    /// The next report of a core.
    ///
    /// # Errors
    /// The link does not work any more.
    pub(super) fn receive(&mut self, core: u32) -> Result<Option<Report>, LinkError> {
        let Some(hand) = self.hand_mut(core) else { return Ok(None) };
        hand.link.as_mut().map_or(Ok(None), InitLink::receive)
    }

    /// Sends a core what waits for it.
    ///
    /// # Errors
    /// The link does not work any more.
    pub(super) fn send(&mut self, core: u32) -> Result<(), LinkError> {
        let Some(hand) = self.hand_mut(core) else { return Ok(()) };
        let Some(link) = &mut hand.link else { return Ok(()) };
        link.send(&mut hand.mail.outbox.borrow_mut())?;
        hand.mail.lost.take().map_or(Ok(()), Err)
    }

    /// Asks every core to wake this init with its next report. `true` where there is one already.
    pub(super) fn arm(&mut self) -> bool {
        let links = self.hands.iter_mut().filter_map(|hand| hand.link.as_mut());
        links.map(|link| link.arm()).filter(|news| *news).count() > 0
    }

    /// A core's heartbeat and status.
    pub(super) fn post(&self, core: u32) -> Option<Post> {
        self.hand(core).map(|hand| hand.post)
    }

    /// Keeps how much RAM a core has, which has come up: it has it also while it is stopped.
    pub(super) fn note_ram(&mut self, core: u32) {
        if let Some(hand) = self.hand_mut(core)
            && let Some(status) = hand.post.status.read()
        {
            hand.ram_bytes = status.memory.ram_bytes;
        }
    }

    /// Bytes of RAM of a core; 0 of one that never came up.
    pub(super) fn ram_bytes(&self, core: u32) -> u64 {
        self.hand(core).map_or(0, |hand| hand.ram_bytes)
    }

    /// Stops a core. What waited for it is dropped.
    pub(super) fn stop(&mut self, core: u32) -> Result<(), Error> {
        if let Some(hand) = self.hand_mut(core) {
            hand.link = None;
            hand.mail = Rc::default();
        }
        self.control.map_or(Ok(()), |control| control.stop(core))
    }

    /// Starts a core that was stopped.
    pub(super) fn launch(&mut self, core: u32) -> Result<(), Error> {
        if let Some(hand) = self.hand_mut(core) {
            hand.lay_out();
        }
        self.launch_again(core)
    }

    /// Starts a core once more that was to be started and has not said that it is up.
    pub(super) fn launch_again(&self, core: u32) -> Result<(), Error> {
        self.control.map_or(Ok(()), |control| control.start(core))
    }

    fn hand(&self, core: u32) -> Option<&Hand> {
        self.hands.get((core as usize).checked_sub(1)?)
    }

    fn hand_mut(&mut self, core: u32) -> Option<&mut Hand> {
        self.hands.get_mut((core as usize).checked_sub(1)?)
    }
}

impl Hand {
    /// Clears the post and begins anew.
    fn lay_out(&mut self) {
        self.post.clear();
        self.mail = Rc::default();
        self.link = self.post.link(LinkEnd::System, self.bell);
    }
}
