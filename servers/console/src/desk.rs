//! Screen, keyboard and clock, as the process reaches them: what is drawn goes into the shared
//! region `screen`, and its driver is told what has changed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::call::Error;
use libd3os::program;
use libd3os::service::framebuffer::{FramebufferClient, MAX_RECTANGLES, Rectangle};
use libd3os::service::keyboard::{Input, KeyboardClient};
use libd3os::service::rtc::{RtcClient, WallTime};
use libd3os::service::supervisor::{
    CoreState, ProgramState, RunMode, SupervisorClient, SupervisorError,
};
use libd3os::service::timer::TimerClient;
use libd3os::shared::SharedMemory;
use libd3os::time;

use console::events::Event;
use console::pace::{Pace, Step};
use console::render::{Damage, Layout, Pixels};
use console::status::Status;
use console::terminals::{Session, Terminals};

use crate::Signals;

/// The notification that the timer signals when something is to be drawn.
const FRAME_SIGNAL: &str = "console-frame";
/// Seconds between looks at cores and memory.
const LOOK_SECONDS: u64 = 5;
/// Nanoseconds for which the processor's counter goes on from what the clock said: it drifts.
const CLOCK_NS: u64 = 600_000_000_000;
/// Pixels that are written in one piece: a glyph's line.
const SPAN: usize = console::font::WIDTH;
/// Bytes of a pixel.
const PIXEL: usize = 4;

/// What a person sits at. What the image does not have is `None`.
pub(crate) struct Desk {
    keyboard: Option<KeyboardClient>,
    clock: Option<RtcClient>,
    /// What the clock said last.
    time: Option<WallTime>,
    screen: Option<(FramebufferClient, Region)>,
    supervisor: SupervisorClient,
    timer: Option<TimerClient>,
    /// How the screen is divided; `None` while there is none.
    layout: Option<Layout>,
    pace: Pace,
    status: Status,
    /// Seconds of uptime when cores and memory were looked at.
    looked: Option<u64>,
}

impl Desk {
    pub(crate) fn connect(supervisor: SupervisorClient) -> Self {
        let region = program::region("screen").ok();
        let region = region.map(|memory| Region { memory, width: 0, height: 0 });
        Self {
            keyboard: KeyboardClient::connect().ok(),
            clock: RtcClient::connect().ok(),
            time: None,
            screen: FramebufferClient::connect().ok().zip(region),
            supervisor,
            timer: TimerClient::connect().ok(),
            layout: None,
            pace: Pace::default(),
            status: Status::default(),
            looked: None,
        }
    }

    /// Every signal but those of drivers that do not run: they signal when there is something to ask
    /// for, and asked before, they would be waited for, and the prompt with them.
    pub(crate) fn askable(&self, signals: &Signals) -> u64 {
        let running = self.running();
        let drivers = [("framebuffer", signals.screen), ("keyboard", signals.keyboard)];
        let silent = drivers.into_iter().filter(|(name, _)| !running.iter().any(|it| it == name));
        silent.fold(Signals::ALL, |bits, (_, signal)| bits & !signal)
    }

    /// The services that somebody serves now.
    fn running(&self) -> Vec<String> {
        let (mut running, mut from) = (Vec::new(), Some(0));
        while let Some(page) = from.and_then(|first| self.supervisor.services(first).ok()) {
            let served = page.items.into_iter().filter(|it| it.state == ProgramState::Running);
            running.extend(served.map(|it| it.name));
            from = page.next;
        }
        running
    }

    /// Asks the screen's driver for its size; `None` where there is no screen, or none yet: its
    /// driver signals when there is one.
    pub(crate) fn find_screen(&mut self) -> Option<Layout> {
        let (driver, region) = self.screen.as_mut()?;
        let mode = driver.mode().ok();
        let size = mode.map(|mode| (mode.width as usize, mode.height as usize));
        let bytes = region.memory.bytes();
        let needed = |width: usize, height| width.checked_mul(height)?.checked_mul(PIXEL);
        let fits = size.filter(|(width, height)| {
            needed(*width, *height).is_some_and(|needed| needed <= bytes)
        });
        self.layout = fits.and_then(|(width, height)| Layout::of(width, height));
        if let Some(layout) = self.layout {
            (region.width, region.height) = (layout.width, layout.height);
            self.pace.note_change();
        }
        self.layout
    }

    /// What was typed since the last time.
    pub(crate) fn typed(&self) -> Vec<Input> {
        let read = || self.keyboard.as_ref()?.read().ok().filter(|inputs| !inputs.is_empty());
        core::iter::from_fn(read).flatten().collect()
    }

    /// Starts the shell of a console. One that runs already is as good.
    pub(crate) fn start_shell(&self, session: Session) {
        let name = format!("shell-{session}");
        match self.supervisor.spawn(name.clone(), Vec::new(), RunMode::Background, None) {
            Ok(_) | Err(Error::Service(SupervisorError::AlreadyRunning(_))) => {}
            Err(error) => log::error!("console {session} has no shell, `{name}`: {error}"),
        }
    }

    /// Something may look different now.
    pub(crate) fn note_change(&mut self) {
        self.pace.note_change();
    }

    /// The timer has signalled.
    pub(crate) fn woken(&mut self) {
        self.pace.forget_wake();
    }

    /// Draws, if it is time to, or sees to it that it is done in time.
    pub(crate) fn update<R>(&mut self, terminals: &mut Terminals<R>) {
        if self.layout.is_none() {
            return;
        }
        match self.pace.step(now_ns()) {
            Step::Draw => {
                self.draw(terminals);
                // Arranges the next look at the clock.
                self.wait();
            }
            Step::WakeAt(deadline) if !self.arm(deadline) => self.draw(terminals),
            Step::WakeAt(_) | Step::Nothing => {}
        }
    }

    fn wait(&mut self) {
        if let Step::WakeAt(deadline) = self.pace.step(now_ns()) {
            self.arm(deadline);
        }
    }

    /// Whether the process is woken at this time.
    fn arm(&mut self, deadline: u64) -> bool {
        let arm = |timer: &TimerClient| timer.arm(FRAME_SIGNAL.to_string(), deadline).is_ok();
        let armed = self.timer.as_ref().is_some_and(arm);
        if !armed {
            self.pace.forget_wake();
        }
        armed
    }

    /// Draws what has changed, and has it shown.
    pub(crate) fn draw<R>(&mut self, terminals: &mut Terminals<R>) {
        self.look();
        let Some((driver, region)) = &mut self.screen else { return };
        let damage = terminals.draw(region, &self.status);
        if damage.is_empty() {
            return;
        }
        terminals.journal().note(Event::Drew(damage.len()));
        for part in damage.chunks(MAX_RECTANGLES) {
            let rectangles = part.iter().copied().map(rectangle).collect();
            // A driver that was restarted signals, and all of it is drawn again.
            let _ = driver.present(rectangles);
        }
    }

    /// Looks at what the status line tells.
    fn look(&mut self) {
        let now_ns = now_ns();
        let now = now_ns / 1_000_000_000;
        if self.looked.is_none_or(|looked| now >= looked + LOOK_SECONDS) {
            self.looked = Some(now);
            self.look_at_machine();
            self.look_at_clock(now_ns);
        }
        self.status.uptime = now;
        self.status.clock = self.time.map(|time| time.at(now_ns));
    }

    /// Asks the clock, if what it said is old. One that cannot tell is asked again.
    fn look_at_clock(&mut self, now_ns: u64) {
        if self.time.is_none_or(|time| now_ns.saturating_sub(time.uptime_ns) >= CLOCK_NS) {
            self.time = self.clock.as_ref().and_then(|clock| clock.now().ok());
        }
    }

    fn look_at_machine(&mut self) {
        if let Ok(system) = self.supervisor.system() {
            self.status.node = node(&system.command_line);
            self.status.cores.1 = system.cores_present;
            self.status.memory.1 = system.ram_bytes;
        }
        if let Ok(page) = self.supervisor.cores(0) {
            let running = page.items.iter().filter(|core| core.state == CoreState::Running);
            self.status.cores.0 = u32::try_from(running.count()).unwrap_or(u32::MAX);
            let used = page.items.iter().map(|core| core.ram_bytes.saturating_sub(core.free_bytes));
            self.status.memory.0 = used.sum();
        }
    }
}

/// The node's name: what the command line says, else the system's.
fn node(command_line: &str) -> String {
    let named = command_line.split_whitespace().find_map(|word| word.strip_prefix("node="));
    String::from(named.unwrap_or("d3os"))
}

fn now_ns() -> u64 {
    let uptime = time::uptime().map(|uptime| u64::try_from(uptime.as_nanos()));
    uptime.and_then(Result::ok).unwrap_or(0)
}

fn rectangle(Damage { x, y, width, height }: Damage) -> Rectangle {
    Rectangle { x, y, width, height }
}

/// The region that the screen's driver shows.
struct Region {
    memory: SharedMemory,
    width: usize,
    height: usize,
}

impl Region {
    /// Where a place's pixel is, and how many of `width` pixels there are from there to the line's
    /// end; `None` outside.
    fn span(&self, x: usize, y: usize, width: usize) -> Option<(usize, usize)> {
        let width = self.width.checked_sub(x)?.min(width);
        (y < self.height).then_some(((y * self.width + x) * PIXEL, width))
    }
}

// The size was checked against the region when the screen was found.
impl Pixels for Region {
    fn write(&mut self, x: usize, y: usize, pixels: &[u32]) {
        let Some((mut offset, width)) = self.span(x, y, pixels.len()) else { return };
        for part in pixels[..width].chunks(SPAN) {
            let mut bytes = [[0; PIXEL]; SPAN];
            let pairs = bytes.iter_mut().zip(part);
            pairs.for_each(|(to, pixel)| *to = pixel.to_le_bytes());
            let bytes = bytes.as_flattened().get(..part.len() * PIXEL).unwrap_or_default();
            let _ = self.memory.write(offset, bytes);
            offset += bytes.len();
        }
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, pixel: u32) {
        let Some((offset, width)) = self.span(x, y, width) else { return };
        let _ = self.memory.fill(offset, pixel, width);
    }
}
