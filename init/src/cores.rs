//! The cores and how they are doing: which come up, which fall silent, and what it takes to stop
//! one and start it anew. Core 0's decisions about the others.
//!
//! ```text
//!               ready                    stop, restart
//!    Starting ---------> Running <-> Silent ----------> Stopping ---> Stopped
//!      ^  |                 heartbeat                      |  restart: after a pause
//!      |  +--> Failed (too late, or it says so)            |
//!      +---------------------------------------------------+
//! ```
//!
//! A state machine without side effects: events are methods, time is an argument in microseconds
//! since the machine started, and what has to be done comes back as [`Action`]s, in order. `W` is
//! whatever answers one who waits for a core's restart.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use libd3os::service::log::Level;
use libd3os::service::supervisor::{CoreState, SupervisorError};

/// Time between two heartbeats of a core's init.
pub const BEAT_US: u64 = 250_000;
/// A core whose last heartbeat is so long ago is silent. A virtual machine's cores can stand still
/// for a long time on a busy host; what is silent and beats again has lost nothing.
pub const SILENT_US: u64 = 2_000_000;
/// How long the first programs wait for the cores at boot.
pub const GATHER_US: u64 = 3_000_000;
/// How long a core may take to come up.
pub const COME_UP_US: u64 = 10_000_000;
/// Time between a core's stop and its start: the processor needs 10 ms.
pub const PAUSE_US: u64 = 20_000;

/// How long a core may take to come up before its start is asked for again: a start that comes too
/// early after the stop is lost, and one that comes twice does nothing.
pub const START_AGAIN_US: u64 = 1_000_000;

/// What the process has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<W> {
    /// Tell the core's init that the board is laid out.
    Invite(u32),
    /// Stop the core at once.
    Stop(u32),
    /// The core's programs are gone: deal with what they leave behind.
    Withdraw(u32),
    /// Clear the core's post and start the core.
    Launch(u32),
    /// Start the core once more, which may not have come to its start.
    LaunchAgain(u32),
    /// The core takes commands: start what waits for it.
    Resume(u32),
    /// Tell one who waits how the restart went.
    Answer(W, Result<(), SupervisorError>),
    /// Log this.
    Notice(Level, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting { until_us: u64, again_us: u64 },
    Running { is_silent: bool },
    Stopping { launch_us: u64 },
    Stopped,
    Failed,
}

#[derive(Debug)]
struct Core<W> {
    phase: Phase,
    since_us: u64,
    restarts: u32,
    waiters: Vec<W>,
}

impl<W> Core<W> {
    fn new(phase: Phase) -> Self {
        Self { phase, since_us: 0, restarts: 0, waiters: Vec::new() }
    }

    fn answers(&mut self, result: &Result<(), SupervisorError>) -> impl Iterator<Item = Action<W>> {
        let waiters = core::mem::take(&mut self.waiters);
        waiters.into_iter().map(|waiter| Action::Answer(waiter, result.clone()))
    }
}

/// All cores that have an instance of the kernel.
#[derive(Debug)]
pub struct Cores<W> {
    cores: Vec<Core<W>>,
}

impl<W> Cores<W> {
    /// So many instances: core 0 runs, the others are coming up.
    #[must_use]
    pub fn new(instances: u32, now_us: u64) -> Self {
        let until_us = now_us + COME_UP_US;
        let cores = (0..instances.max(1)).map(|core| match core {
            0 => Core::new(Phase::Running { is_silent: false }),
            // The kernel started these and knows that they came to their start.
            _ => Core::new(Phase::Starting { until_us, again_us: u64::MAX }),
        });
        Self { cores: cores.collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        // One for each instance of the kernel, whose number has 32 bits.
        u32::try_from(self.cores.len()).unwrap_or(u32::MAX)
    }

    /// How a core is doing.
    #[must_use]
    pub fn state(&self, core: u32) -> CoreState {
        match self.core(core).map(|core| core.phase) {
            None => CoreState::Parked,
            Some(Phase::Starting { .. } | Phase::Stopping { .. }) => CoreState::Starting,
            Some(Phase::Running { is_silent: false }) => CoreState::Running,
            Some(Phase::Running { is_silent: true }) => CoreState::Silent,
            Some(Phase::Stopped) => CoreState::Stopped,
            Some(Phase::Failed) => CoreState::Failed,
        }
    }

    /// Whether a program can be started there, now or as soon as the core is up.
    #[must_use]
    pub fn takes_programs(&self, core: u32) -> bool {
        matches!(
            self.core(core).map(|core| core.phase),
            Some(Phase::Starting { .. } | Phase::Running { .. } | Phase::Stopping { .. })
        )
    }

    /// Whether commands for it can be sent: its post is laid out.
    #[must_use]
    pub fn takes_commands(&self, core: u32) -> bool {
        matches!(
            self.core(core).map(|core| core.phase),
            Some(Phase::Starting { .. } | Phase::Running { .. })
        )
    }

    /// Times that it was started anew.
    #[must_use]
    pub fn restarts(&self, core: u32) -> u32 {
        self.core(core).map_or(0, |core| core.restarts)
    }

    /// Microseconds since it came up; 0 where it is not up.
    #[must_use]
    pub fn uptime_us(&self, core: u32, now_us: u64) -> u64 {
        match self.core(core) {
            Some(Core { phase: Phase::Running { .. }, since_us, .. }) => {
                now_us.saturating_sub(*since_us)
            }
            _ => 0,
        }
    }

    /// Microseconds since a core was last heard of, whose last heartbeat was then: by that, or by
    /// its word that it is up, which may be the later.
    #[must_use]
    pub fn heard_us(&self, core: u32, last_beat_us: u64, now_us: u64) -> u64 {
        let since_us = self.core(core).map_or(0, |core| core.since_us);
        now_us.saturating_sub(last_beat_us.max(since_us))
    }

    /// Whether every core has come up, or failed to.
    #[must_use]
    pub fn are_gathered(&self) -> bool {
        !self.cores.iter().any(|core| matches!(core.phase, Phase::Starting { .. }))
    }

    /// Whether something is under way that takes a clock.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        let is_changing = |phase| matches!(phase, Phase::Starting { .. } | Phase::Stopping { .. });
        self.cores.iter().any(|core| is_changing(core.phase))
    }

    /// A core's init says that it takes commands.
    pub fn ready(&mut self, number: u32, now_us: u64) -> Vec<Action<W>> {
        let Some(core) = self.core_mut(number) else { return Vec::new() };
        if !matches!(core.phase, Phase::Starting { .. } | Phase::Failed) {
            return Vec::new();
        }
        core.phase = Phase::Running { is_silent: false };
        core.since_us = now_us;
        // The boot tells of all of them together.
        let level = if core.restarts == 0 { Level::Debug } else { Level::Info };
        let mut actions = alloc::vec![
            Action::Notice(level, format!("core {number} is up")),
            Action::Resume(number),
        ];
        actions.extend(core.answers(&Ok(())));
        actions
    }

    /// A core's init cannot go on, or what it says makes no sense.
    pub fn failed(&mut self, number: u32, why: &str) -> Vec<Action<W>> {
        let Some(core) = self.core_mut(number) else { return Vec::new() };
        core.phase = Phase::Failed;
        let mut actions = alloc::vec![
            Action::Stop(number),
            Action::Withdraw(number),
            Action::Notice(Level::Error, format!("core {number} failed: {why}")),
        ];
        actions.extend(core.answers(&Err(SupervisorError::CoreDown(number))));
        actions
    }

    /// Someone wants a core to stop.
    ///
    /// # Errors
    /// [`SupervisorError::NoSuchCore`], [`SupervisorError::Indispensable`] for core 0,
    /// [`SupervisorError::CoreDown`] where it has stopped before.
    pub fn stop(&mut self, number: u32) -> Result<Vec<Action<W>>, SupervisorError> {
        let core = self.stoppable(number)?;
        if core.phase == Phase::Stopped {
            return Err(SupervisorError::CoreDown(number));
        }
        core.phase = Phase::Stopped;
        let mut actions = alloc::vec![
            Action::Stop(number),
            Action::Withdraw(number),
            Action::Notice(Level::Info, format!("core {number} was stopped")),
        ];
        actions.extend(core.answers(&Err(SupervisorError::CoreDown(number))));
        Ok(actions)
    }

    /// Someone wants a core to start anew, and hears through `waiter` how it went.
    pub fn restart(&mut self, number: u32, now_us: u64, waiter: W) -> Vec<Action<W>> {
        let core = match self.stoppable(number) {
            Ok(core) => core,
            Err(error) => return alloc::vec![Action::Answer(waiter, Err(error))],
        };
        core.waiters.push(waiter);
        if matches!(core.phase, Phase::Stopping { .. }) {
            return Vec::new();
        }
        core.phase = Phase::Stopping { launch_us: now_us + PAUSE_US };
        alloc::vec![
            Action::Stop(number),
            Action::Withdraw(number),
            Action::Notice(Level::Info, format!("core {number} starts anew")),
        ]
    }

    /// Time has passed. `last_beat_us` tells of a core's last heartbeat.
    pub fn tick(&mut self, now_us: u64, last_beat_us: impl Fn(u32) -> u64) -> Vec<Action<W>> {
        let mut actions = Vec::new();
        for (number, core) in (0..).zip(&mut self.cores).skip(1) {
            match core.phase {
                Phase::Starting { until_us, .. } if now_us >= until_us => {
                    core.phase = Phase::Failed;
                    let text = format!("core {number} has not come up");
                    actions.push(Action::Notice(Level::Error, text));
                    actions.extend(core.answers(&Err(SupervisorError::CoreDown(number))));
                }
                Phase::Starting { until_us, again_us } => {
                    if now_us >= again_us {
                        let again_us = now_us + START_AGAIN_US;
                        core.phase = Phase::Starting { until_us, again_us };
                        actions.push(Action::LaunchAgain(number));
                    }
                    actions.push(Action::Invite(number));
                }
                Phase::Stopping { launch_us } if now_us >= launch_us => {
                    let (until_us, again_us) = (now_us + COME_UP_US, now_us + START_AGAIN_US);
                    core.phase = Phase::Starting { until_us, again_us };
                    core.restarts += 1;
                    actions.push(Action::Launch(number));
                }
                Phase::Running { is_silent } => {
                    let last_us = last_beat_us(number).max(core.since_us);
                    let silent_us = now_us.saturating_sub(last_us);
                    if is_silent != (silent_us >= SILENT_US) {
                        core.phase = Phase::Running { is_silent: !is_silent };
                        actions.push(heard(number, !is_silent));
                    }
                }
                Phase::Stopping { .. } | Phase::Stopped | Phase::Failed => {}
            }
        }
        actions
    }

    fn stoppable(&mut self, number: u32) -> Result<&mut Core<W>, SupervisorError> {
        match (number, self.core_mut(number)) {
            (0, _) => Err(SupervisorError::Indispensable),
            (_, Some(core)) => Ok(core),
            (_, None) => Err(SupervisorError::NoSuchCore(number)),
        }
    }

    fn core(&self, number: u32) -> Option<&Core<W>> {
        self.cores.get(number as usize)
    }

    fn core_mut(&mut self, number: u32) -> Option<&mut Core<W>> {
        self.cores.get_mut(number as usize)
    }
}

fn heard<W>(core: u32, is_silent: bool) -> Action<W> {
    match is_silent {
        true => Action::Notice(Level::Error, format!("core {core} does not answer")),
        false => Action::Notice(Level::Info, format!("core {core} answers again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sut = Cores<u32>;

    fn states(sut: &Sut) -> Vec<CoreState> {
        (0..4).map(|core| sut.state(core)).collect()
    }

    #[test]
    fn cores_come_up_or_fail_to() {
        let mut sut = Sut::new(3, 100);
        assert!(!sut.are_gathered() && sut.has_changes());
        let starting = [CoreState::Running, CoreState::Starting, CoreState::Starting];
        assert_eq!(states(&sut)[..3], starting);
        assert_eq!(sut.tick(200, |_| 0), [Action::Invite(1), Action::Invite(2)]);
        let actions = sut.ready(1, 300);
        assert!(actions.contains(&Action::Resume(1)));
        assert_eq!(sut.ready(1, 301), [], "it says so once");
        let late = 100 + COME_UP_US;
        let actions = sut.tick(late, |_| late);
        let text = "core 2 has not come up".into();
        assert_eq!(actions, [Action::Notice(Level::Error, text)]);
        assert!(sut.are_gathered() && !sut.has_changes());
        let expected =
            [CoreState::Running, CoreState::Running, CoreState::Failed, CoreState::Parked];
        assert_eq!(states(&sut), expected);
        assert!(!sut.takes_programs(2) && !sut.takes_programs(3) && sut.takes_programs(1));
        assert!(sut.ready(2, late + 1).contains(&Action::Resume(2)), "better late than never");
        assert_eq!(sut.uptime_us(2, late + 8), 7);
    }

    #[test]
    fn silence_is_noticed_and_passes() {
        let mut sut = Sut::new(2, 0);
        sut.ready(1, 5_000_000);
        assert_eq!(sut.tick(5_000_000 + SILENT_US - 1, |_| 0), [], "it has only just come up");
        let now = 9_000_000;
        assert_eq!(sut.tick(now, |_| now - SILENT_US).len(), 1);
        assert_eq!(sut.state(1), CoreState::Silent);
        assert_eq!(sut.tick(now + 1, |_| now - SILENT_US), [], "said once");
        assert!(sut.takes_programs(1));
        assert_eq!(sut.tick(now + 2, |_| now), [heard(1, false)]);
        assert_eq!(sut.state(1), CoreState::Running);
    }

    #[test]
    fn a_restart_is_a_stop_a_pause_and_a_start() {
        let mut sut = Sut::new(2, 0);
        sut.ready(1, 10);
        let actions = sut.restart(1, 20, 7);
        assert_eq!(actions[..2], [Action::Stop(1), Action::Withdraw(1)]);
        assert_eq!((sut.state(1), sut.takes_commands(1)), (CoreState::Starting, false));
        assert_eq!(sut.restart(1, 21, 8), [], "once is enough");
        assert_eq!(sut.tick(20 + PAUSE_US - 1, |_| 0), []);
        assert_eq!(sut.tick(20 + PAUSE_US, |_| 0), [Action::Launch(1)]);
        let actions = sut.ready(1, 90_000);
        assert_eq!(actions[2..], [Action::Answer(7, Ok(())), Action::Answer(8, Ok(()))]);
        assert_eq!((sut.restarts(1), sut.state(1)), (1, CoreState::Running));
    }

    #[test]
    fn a_start_that_was_lost_is_asked_for_again_and_one_of_the_kernels_is_not() {
        let mut sut = Sut::new(3, 0);
        sut.ready(1, 10);
        assert_eq!(sut.tick(COME_UP_US - 1, |_| COME_UP_US), [Action::Invite(2)]);
        sut.restart(1, COME_UP_US, 7);
        let launched_us = COME_UP_US + PAUSE_US;
        assert!(sut.tick(launched_us, |_| 0).contains(&Action::Launch(1)));
        let late_us = launched_us + START_AGAIN_US;
        assert_eq!(sut.tick(late_us - 1, |_| 0), [Action::Invite(1)]);
        assert_eq!(sut.tick(late_us, |_| 0), [Action::LaunchAgain(1), Action::Invite(1)]);
        assert_eq!(sut.tick(late_us + 1, |_| 0), [Action::Invite(1)], "not at every tick");
        assert!(sut.ready(1, late_us + 2).contains(&Action::Answer(7, Ok(()))));
    }

    #[test]
    fn a_core_is_heard_of_no_later_than_it_came_up() {
        let mut sut = Sut::new(2, 0);
        sut.ready(1, 500);
        assert_eq!((sut.heard_us(1, 400, 700), sut.heard_us(1, 600, 700)), (200, 100));
        assert!(sut.heard_us(1, 0, 700) <= sut.uptime_us(1, 700));
    }

    #[test]
    fn core_0_and_cores_that_are_not_there_cannot_be_stopped() {
        let mut sut = Sut::new(2, 0);
        assert_eq!(sut.stop(0), Err(SupervisorError::Indispensable));
        assert_eq!(sut.stop(2), Err(SupervisorError::NoSuchCore(2)));
        let refused = sut.restart(9, 0, 1);
        assert_eq!(refused, [Action::Answer(1, Err(SupervisorError::NoSuchCore(9)))]);
        assert_eq!(sut.stop(1).expect("there").len(), 3);
        assert_eq!(sut.stop(1), Err(SupervisorError::CoreDown(1)));
        assert_eq!(sut.state(1), CoreState::Stopped);
        assert_eq!(sut.restart(1, 5, 1)[0], Action::Stop(1), "to be sure");
    }

    proptest! {
        /// Who waits for a restart hears of it once, and no core is started before it was stopped.
        #[test]
        fn no_waiter_is_lost(steps in prop::collection::vec((0u8..6, 1u32..4), 0..100)) {
            let mut sut = Sut::new(4, 0);
            let (mut now, mut asked, mut answered) = (0, 0u32, 0u32);
            let mut stopped = [false; 4];
            for (event, core) in steps {
                now += PAUSE_US / 2;
                let actions = match event {
                    0 => sut.ready(core, now),
                    1 => sut.failed(core, "test"),
                    2 => sut.stop(core).unwrap_or_default(),
                    3 => {
                        asked += 1;
                        sut.restart(core, now, asked)
                    }
                    4 => sut.tick(now, |_| now),
                    _ => {
                        now += COME_UP_US;
                        sut.tick(now, |_| 0)
                    }
                };
                for action in actions {
                    match action {
                        Action::Stop(core) => stopped[core as usize] = true,
                        Action::Launch(core) => {
                            prop_assert!(std::mem::replace(&mut stopped[core as usize], false));
                        }
                        Action::Answer(..) => answered += 1,
                        _ => {}
                    }
                }
                let waiting: usize = sut.cores.iter().map(|core| core.waiters.len()).sum();
                prop_assert_eq!(waiting + answered as usize, asked as usize);
            }
        }
    }
}
