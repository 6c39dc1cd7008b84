//! The shell over real messages: the made-up machine behind the services' own dispatchers.

use std::rc::Rc;

use libd3os::call::{CallError, Caller, Later, Loopback, Request};
use libd3os::observe::{Count, Recorder, Watch};
use libd3os::service::Page;
use libd3os::service::console::{
    Console, ConsoleClient, ConsoleError, Graph, InputEvent, InputMode, ScreenStatus,
};
use libd3os::service::log::{Level, Log, LogClient, LogError, LogPage};
use libd3os::service::supervisor::{
    CapabilityInfo, CoreStatus, Exit, Holding, MemoryReport, Moment, ProgramId, ProgramStatus,
    RunMode, ServiceStatus, Supervisor, SupervisorClient, SupervisorError, SystemInfo,
};

use crate::fake::{Fake, null_dereference};
use crate::system::{Hooks, Services, System, SystemError, Ways};
use crate::task::Task;

/// Serves a made-up machine; the console drops the first answers as a restarted one does.
struct Server {
    machine: Fake,
    restarts: u32,
}

impl Server {
    fn new(machine: Fake) -> Self {
        Self { machine, restarts: 0 }
    }
}

fn supervised<T>(result: Result<T, SystemError>) -> Result<T, SupervisorError> {
    result.map_err(|error| match error {
        SystemError::Supervisor(error) => error,
        other => panic!("{other}"),
    })
}

fn paged<T: serde::Serialize>(
    from: u32,
    list: Result<Vec<T>, SystemError>,
) -> Result<Page<T>, SupervisorError> {
    supervised(list).map(|items| Page::fill(from, items))
}

impl Console for Server {
    fn write(&mut self, _: Caller, bytes: Vec<u8>, later: Later<Result<(), ConsoleError>>) {
        if self.restarts > 0 {
            self.restarts -= 1;
            return later.fail(CallError::Restarted);
        }
        self.machine.output.extend(bytes);
        later.answer(&Ok(()));
    }

    fn read(&mut self, _: Caller, mode: InputMode, later: Later<Result<InputEvent, ConsoleError>>) {
        assert_eq!(mode, InputMode::Raw);
        later.answer(&self.machine.typed.pop_front().ok_or(ConsoleError::Disconnected));
    }

    fn poll(&mut self, _: Caller) -> Result<Vec<u8>, ConsoleError> {
        Ok(self.machine.keys().unwrap())
    }

    fn draw_graph(&mut self, _: Caller, _: Graph) -> Result<(), ConsoleError> {
        Err(ConsoleError::NoScreen)
    }

    fn screen(&mut self, _: Caller) -> Result<ScreenStatus, ConsoleError> {
        Err(ConsoleError::NoScreen)
    }

    fn text(&mut self, _: Caller, _: u32) -> Result<Page<String>, ConsoleError> {
        Err(ConsoleError::NoScreen)
    }
}

impl Log for Server {
    fn append(&mut self, _: Caller, _: Level, _: String, _: String) -> Result<(), LogError> {
        panic!("the shell writes no records");
    }

    fn read(&mut self, _: Caller, from: u64) -> Result<LogPage, LogError> {
        Ok(self.machine.log(from).unwrap())
    }
}

impl Supervisor for Server {
    fn programs(&mut self, _: Caller, from: u32) -> Result<Page<ProgramStatus>, SupervisorError> {
        paged(from, self.machine.programs())
    }

    fn spawn(
        &mut self,
        _: Caller,
        name: String,
        args: Vec<String>,
        mode: RunMode,
        core: Option<u32>,
    ) -> Result<ProgramId, SupervisorError> {
        supervised(self.machine.spawn(&name, &args, mode, core))
    }

    fn wait(&mut self, _: Caller, id: ProgramId, later: Later<Result<Exit, SupervisorError>>) {
        later.answer(&supervised(self.machine.wait(id)));
    }

    fn settled(&mut self, _: Caller, later: Later<Result<(), SupervisorError>>) {
        later.answer(&supervised(self.machine.settle()));
    }

    fn kill(&mut self, _: Caller, name: String, moment: Moment) -> Result<(), SupervisorError> {
        supervised(self.machine.kill(&name, moment))
    }

    fn exit(&mut self, _: Caller, code: i32, _: Later<Result<(), SupervisorError>>) {
        panic!("the shell's library does not exit, with {code} or otherwise");
    }

    fn ends(&mut self, _: Caller, _: u32) -> Result<Page<u32>, SupervisorError> {
        panic!("the shell serves nobody");
    }

    fn last_exit(&mut self, _: Caller, _: String) -> Result<Option<Exit>, SupervisorError> {
        panic!("only whoever kills programs asks that");
    }

    fn capabilities(
        &mut self,
        _: Caller,
        name: String,
        from: u32,
    ) -> Result<Page<CapabilityInfo>, SupervisorError> {
        paged(from, self.machine.capabilities(&name))
    }

    fn memory(&mut self, _: Caller, from: u32) -> Result<Page<MemoryReport>, SupervisorError> {
        paged(from, self.machine.memory())
    }

    fn holdings(&mut self, _: Caller, from: u32) -> Result<Page<Holding>, SupervisorError> {
        paged(from, self.machine.holdings())
    }

    fn services(&mut self, _: Caller, from: u32) -> Result<Page<ServiceStatus>, SupervisorError> {
        paged(from, self.machine.services())
    }

    fn stop_core(&mut self, _: Caller, core: u32) -> Result<(), SupervisorError> {
        supervised(self.machine.stop_core(core))
    }

    fn restart_core(&mut self, _: Caller, core: u32, later: Later<Result<(), SupervisorError>>) {
        later.answer(&supervised(self.machine.restart_core(core)));
    }

    fn cores(&mut self, _: Caller, from: u32) -> Result<Page<CoreStatus>, SupervisorError> {
        paged(from, self.machine.cores())
    }

    fn system(&mut self, _: Caller) -> Result<SystemInfo, SupervisorError> {
        supervised(self.machine.info())
    }

    fn power_off(&mut self, _: Caller, status: u8) -> Result<(), SupervisorError> {
        supervised(self.machine.power_off(status))
    }

    fn reboot(&mut self, _: Caller) -> Result<(), SupervisorError> {
        supervised(self.machine.reboot())
    }
}

type Dispatch = fn(&mut Server, Request<'_>);

fn loopback(server: Server, dispatch: Dispatch) -> Loopback<Server, Dispatch> {
    Loopback::new(server, Caller(1), dispatch)
}

/// What the terminal got and what the supervisor was asked to do while the task was performed.
fn perform(task: Task<'_>, terminal: Server, machine: Fake) -> (String, Vec<String>) {
    let console = loopback(terminal, Console::dispatch);
    let supervisor = loopback(Server::new(machine), Supervisor::dispatch);
    let log = loopback(Server::new(Fake::default()), Log::dispatch);
    let mut services = Services::new(
        ConsoleClient::new(&console),
        SupervisorClient::new(&supervisor),
        LogClient::new(&log),
        Observed(machine_log()),
        Hooks { ready: || (), pause: || () },
    );
    task.perform(&mut services).unwrap();
    let text = console.server().machine.text();
    let done = supervisor.server().machine.done.clone();
    (text, done)
}

#[test]
fn a_script_over_messages_says_the_same() {
    let script = "help; ps; mem; caps shell; svc; svc supervisor; trace uart; log; cores; version; uptime\n\
                  run hello a && kill uart; kill nobody; fault null";
    let mut direct = Fake { exit: null_dereference(), ..Fake::default() };
    Task::Script(script).perform(&mut direct).unwrap();

    let machine = Fake { exit: null_dereference(), ..Fake::default() };
    let (text, done) = perform(Task::Script(script), Server::new(Fake::default()), machine);
    assert_eq!(text, direct.text());
    assert!(text.len() > 4096);
    assert_eq!(done, direct.done[1..]);
    assert_eq!(done.last().map(String::as_str), Some("power off 1"));
}

/// The way to one observed server; the shell may call no other.
struct Observed(Recorder<u32, 8>);

impl Ways for Observed {
    type Transport = Watch;

    fn to(&self, service: &str) -> Option<Watch> {
        let mut watch = Watch::default();
        watch.tell(Rc::new(self.0.clone()));
        (service == "log").then_some(watch)
    }
}

fn machine_log() -> Recorder<u32, 8> {
    let recorder = Recorder::default();
    recorder.counter("records kept").add(3);
    (40..52).for_each(|event| recorder.note(event));
    recorder
}

#[test]
fn servers_tell_what_they_did() {
    let server = || Server::new(Fake::default());
    let (console, log) = (loopback(server(), Console::dispatch), loopback(server(), Log::dispatch));
    let supervisor = loopback(server(), Supervisor::dispatch);
    let mut services = Services::new(
        ConsoleClient::new(&console),
        SupervisorClient::new(&supervisor),
        LogClient::new(&log),
        Observed(machine_log()),
        Hooks { ready: || (), pause: || () },
    );
    let counters = services.counters("log").unwrap();
    assert_eq!(counters.last(), Some(&Count::new("records kept", 3)));
    let events = services.events("log", 2).unwrap();
    let words: Vec<_> = events.iter().map(|e| (e.number, e.event.what.as_str())).collect();
    assert_eq!(words, [(10, "50"), (11, "51")]);
    let refused = SystemError::NotGranted { service: "uart".into() };
    assert_eq!(services.counters("uart"), Err(refused));
}

#[test]
fn lists_longer_than_a_message_arrive_whole() {
    let mut machine = Fake::default();
    let template = machine.programs[0].clone();
    for number in 0..100 {
        let name = format!("program-{number}");
        machine
            .programs
            .push(libd3os::service::supervisor::ProgramStatus { name, ..template.clone() });
    }
    let (text, _) = perform(Task::Script("ps"), Server::new(Fake::default()), machine);
    assert_eq!(text.lines().count(), 1 + 4 + 100);
}

#[test]
fn a_restart_of_the_console_is_survived() {
    let terminal = Server { machine: Fake::typing("echo on\rpoweroff\r"), restarts: 3 };
    let (text, done) = perform(Task::Interactive, terminal, Fake::default());
    assert!(text.contains("d3os> echo on\r\non\nd3os> poweroff"), "{text:?}");
    assert_eq!(done, ["power off 0"]);
}
