//! Which services nobody serves, and what it means when a program is given up.
//!
//! A service's endpoint outlives the program behind it, so that clients need not be told of a
//! restart. When no restart is to come, calls would wait there for ever: init answers them itself
//! for as long as the program does not run.

use alloc::collections::BTreeSet;
use alloc::string::String;

use libd3os::image::Manifest;
use libd3os::service::supervisor::ProgramState;

use crate::grants::services;
use crate::supervise::{ProgramNumber, Supervisor};

/// The program at which a person gives commands.
pub const SHELL: &str = "shell";

/// The service over which the shell gets its commands.
const CONSOLE: &str = "console";

/// Services (as counted by [`services`]) whose program does not run and is not about to.
pub fn unserved<W>(manifest: &Manifest, supervisor: &Supervisor<W>) -> impl Iterator<Item = usize> {
    services(manifest).enumerate().filter_map(|(service, (_, number))| {
        is_gone(supervisor.program(number)?.state()).then_some(service)
    })
}

/// Whether a program in this state does not run and is not about to.
#[must_use]
pub const fn is_gone(state: ProgramState) -> bool {
    matches!(state, ProgramState::Stopped | ProgramState::Faulted | ProgramState::GivenUp)
}

/// What can be done about a program that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A command starts it again.
    Command,
    /// No command can be given: the shell, its console, or something that the console calls, is
    /// what was given up.
    Machine,
}

/// What can be done when this program was given up.
#[must_use]
pub fn remedy(manifest: &Manifest, number: ProgramNumber) -> Remedy {
    let shell = manifest.programs.iter().position(|program| program.name == SHELL);
    let Some(shell) = shell.and_then(ProgramNumber::from_index) else { return Remedy::Command };
    let console = services(manifest).find(|(name, _)| *name == CONSOLE).map(|(_, server)| server);
    let needed = console.is_some_and(|console| chain(manifest, console).contains(&number));
    if needed || number == shell { Remedy::Machine } else { Remedy::Command }
}

/// The program that may use this I/O port: its driver.
#[must_use]
pub fn driver_of_port(manifest: &Manifest, port: u16) -> Option<ProgramNumber> {
    let has_port = |name: &String| {
        let ports = manifest.resource(name).and_then(|resource| resource.ports);
        ports.is_some_and(|ports| (ports.first..=ports.last).contains(&port))
    };
    let driver = manifest.programs.iter().position(|program| program.ports.iter().any(has_port))?;
    ProgramNumber::from_index(driver)
}

/// A program and all that it calls, directly or through others.
fn chain(manifest: &Manifest, first: ProgramNumber) -> BTreeSet<ProgramNumber> {
    let mut found = BTreeSet::from([first]);
    let mut open = alloc::vec![first];
    while let Some(number) = open.pop() {
        let Some(program) = manifest.programs.get(number.index()) else { continue };
        let servers = services(manifest)
            .filter(|(name, _)| program.calls.iter().any(|called| called == name))
            .map(|(_, server)| server);
        open.extend(servers.filter(|server| found.insert(*server)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::Action;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use libd3os::image::{PortRange, ProgramSpec, Resource, RestartPolicy};
    use libd3os::service::supervisor::RunMode;

    fn program(name: &str, serves: &[&str], calls: &[&str]) -> ProgramSpec {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (serves, calls) = (strings(serves), strings(calls));
        ProgramSpec { name: name.to_string(), serves, calls, ..ProgramSpec::default() }
    }

    fn manifest() -> Manifest {
        let programs = alloc::vec![
            program("uart", &["uart"], &["log"]),
            program("console", &["console"], &["log", "uart"]),
            program("shell", &[], &["console", "supervisor", "time"]),
            program("clock", &["time", "date"], &["date"]),
        ];
        Manifest { programs, ..Manifest::default() }
    }

    fn number(index: usize) -> ProgramNumber {
        ProgramNumber::from_index(index).expect("small")
    }

    #[test]
    fn what_the_shell_needs_cannot_be_mended_by_a_command() {
        let manifest = manifest();
        let remedies: Vec<_> = (0..4).map(|index| remedy(&manifest, number(index))).collect();
        let machine = Remedy::Machine;
        assert_eq!(remedies, [machine, machine, machine, Remedy::Command]);
        let without_shell = Manifest { programs: manifest.programs[..2].to_vec(), ..manifest };
        assert_eq!(remedy(&without_shell, number(0)), Remedy::Command);
    }

    #[test]
    fn a_port_has_the_driver_that_may_use_it() {
        let mut manifest = manifest();
        assert_eq!(driver_of_port(&manifest, 0x3f8), None);
        let ports = Some(PortRange { first: 0x3f8, last: 0x3ff });
        manifest.resources.push(Resource { name: "com1".to_string(), ports, irq: None });
        assert_eq!(driver_of_port(&manifest, 0x3f8), None);
        manifest.programs[1].ports.push("com1".to_string());
        let drivers = [0x3f7, 0x3f8, 0x3ff, 0x400].map(|port| driver_of_port(&manifest, port));
        assert_eq!(drivers, [None, Some(number(1)), Some(number(1)), None]);
    }

    #[test]
    fn calls_wait_for_a_restart_and_for_nothing_else() {
        let manifest = manifest();
        let policies = [("uart", RestartPolicy::Always), ("console", RestartPolicy::Never)]
            .map(|(name, policy)| (name.to_string(), policy));
        let mut supervisor = Supervisor::<u32>::new(policies);
        let unserved = |supervisor: &Supervisor<u32>| -> Vec<_> {
            super::unserved(&manifest, supervisor).collect()
        };
        assert_eq!(unserved(&supervisor), [0, 1]);
        for name in ["uart", "console"] {
            supervisor.spawn(name, RunMode::Background, 0).expect("stopped");
        }
        assert_eq!(unserved(&supervisor), []);
        for index in 0..2 {
            supervisor.started(number(index), 0);
            supervisor.exited(number(index), 1, 1);
        }
        assert_eq!(unserved(&supervisor), [1]);
        while supervisor.program(number(0)).map(|uart| uart.state()) != Some(ProgramState::GivenUp)
        {
            let now = supervisor.next_due_us().expect("backs off");
            assert_eq!(supervisor.tick(now), [Action::Start(number(0))]);
            assert_eq!(unserved(&supervisor), [1]);
            supervisor.started(number(0), now);
            supervisor.exited(number(0), 1, now);
        }
        assert_eq!(unserved(&supervisor), [0, 1]);
    }
}
