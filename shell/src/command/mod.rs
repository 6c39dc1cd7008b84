//! The commands, one file each, and what they have in common.
//!
//! A [`Command`] is declared once. `help`, usage lines, argument checking and tab completion are
//! made from that declaration; `run` is only called with arguments that fit it.

mod acpi;
pub mod arguments;
mod caps;
mod clear;
mod cores;
mod date;
mod echo;
pub mod error;
mod fault;
mod fetch;
mod help;
mod iommu;
mod keyboard;
mod kill;
mod log;
mod lspci;
mod mem;
mod net;
mod numa;
mod nvdimm;
mod obj;
mod ping;
mod plot;
mod pmem;
mod poweroff;
mod ps;
mod reboot;
mod resolve;
mod run;
mod screenshot;
mod serve;
mod share;
mod sleep;
mod svc;
mod top;
mod trace;
mod uptime;
mod version;

use alloc::format;
use alloc::string::{String, ToString};

use crate::editor::columns;
use crate::parser::Place;
use crate::session::Session;

pub use arguments::{Argument, Arguments, Flag, Kind, Presence};
pub use error::CommandError;
pub use help::explain;
pub use share::SHARE_SERVICE;

/// Every command, in the order in which `help` shows them.
pub static COMMANDS: [&Command; 36] = [
    &help::HELP,
    &ps::PS,
    &mem::MEM,
    &caps::CAPS,
    &svc::SVC,
    &trace::TRACE,
    &top::TOP,
    &plot::PLOT,
    &log::LOG,
    &run::RUN,
    &kill::KILL,
    &fault::FAULT,
    &uptime::UPTIME,
    &date::DATE,
    &sleep::SLEEP,
    &cores::CORES,
    &lspci::LSPCI,
    &acpi::ACPI,
    &numa::NUMA,
    &nvdimm::NVDIMM,
    &pmem::PMEM,
    &obj::OBJ,
    &iommu::IOMMU,
    &net::NET,
    &ping::PING,
    &resolve::RESOLVE,
    &fetch::FETCH,
    &serve::SERVE,
    &share::SHARE,
    &keyboard::KEYBOARD,
    &screenshot::SCREENSHOT,
    &echo::ECHO,
    &clear::CLEAR,
    &version::VERSION,
    &reboot::REBOOT,
    &poweroff::POWEROFF,
];

/// A command's declaration.
#[derive(Debug)]
pub struct Command {
    /// What is typed.
    pub name: &'static str,
    /// What it does, in half a line.
    pub summary: &'static str,
    /// Its arguments in order; only the last may be repeated.
    pub arguments: &'static [Argument],
    /// Its options: before the arguments, and also between and behind them where none is repeated.
    pub flags: &'static [Flag],
    /// Whether `&` may follow it.
    pub background: Background,
    /// What `help NAME` says beyond that; paragraphs are separated by empty lines.
    pub help: &'static str,
    /// Does it.
    pub run: fn(&mut Session<'_>, &Arguments<'_>, Place) -> Result<(), CommandError>,
}

/// Whether a command can go on while the next line is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// `&` makes sense.
    Possible,
    /// `&` is an error.
    Refused,
}

impl Command {
    /// How it is called: `log [-n N] [--level LEVEL]`.
    pub fn usage(&self) -> String {
        self.usage_with(self.flags.iter().map(|flag| format!(" [{}]", flag.usage())).collect())
    }

    /// The same for a list: without its options where it would be longer than `most` columns.
    pub fn usage_within(&self, most: usize) -> String {
        let usage = self.usage();
        if columns(&usage) <= most { usage } else { self.usage_with(" [OPTION…]".to_string()) }
    }

    fn usage_with(&self, options: String) -> String {
        let mut usage = self.name.to_string() + &options;
        for argument in self.arguments {
            usage += &format!(" {}", argument.usage());
        }
        if self.background == Background::Possible {
            usage += " [&]";
        }
        usage
    }
}

/// The command of this name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.into_iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_declarations_complete() {
        for command in COMMANDS {
            assert!(core::ptr::eq(find(command.name).unwrap(), command));
            assert!(!command.summary.is_empty() && !command.summary.ends_with('.'));
            assert!(command.help.ends_with('.'), "{}", command.name);
        }
    }

    #[test]
    fn optional_arguments_come_last_and_only_the_last_is_repeated() {
        for command in COMMANDS {
            let all_but_last = command.arguments.split_last().map_or(&[][..], |(_, rest)| rest);
            assert!(all_but_last.iter().all(|a| a.presence != Presence::Repeated));
            let is_required = |a: &Argument| a.presence == Presence::Required;
            assert!(command.arguments.is_sorted_by_key(|a| !is_required(a)), "{}", command.name);
        }
    }

    #[test]
    fn long_usage_lines_are_listed_without_their_options() {
        assert_eq!(fetch::FETCH.usage_within(35), "fetch [OPTION…] URL [count] [&]");
        assert_eq!(log::LOG.usage_within(35), log::LOG.usage());
    }

    #[test]
    fn usage_lines_come_from_the_declaration() {
        let usages: Vec<_> = COMMANDS.iter().map(|command| command.usage()).collect();
        assert_eq!(
            usages,
            [
                "help [COMMAND]",
                "ps",
                "mem [HOW]",
                "caps NAME",
                "svc [NAME]",
                "trace [-n N] NAME",
                "top [-n N] [-d MS]",
                "plot [-n N] [-d MS] NAME [COUNTER]",
                "log [-n N] [--level LEVEL]",
                "run [--core N] NAME [ARGUMENT…] [&]",
                "kill [--after N] NAME",
                "fault [--core N] KIND",
                "uptime",
                "date",
                "sleep MS",
                "cores [ACTION] [CORE]",
                "lspci [-v]",
                "acpi [NAME]",
                "numa",
                "nvdimm [ACTION] [RANGE] [AT] [TEXT]",
                "pmem [ACTION] [HOW]",
                "obj ACTION [PATH] [TEXT…]",
                "iommu",
                "net",
                "ping [-n N] HOST [&]",
                "resolve NAME",
                "fetch [--limit N] [-o PATH] URL [count] [&]",
                "serve [PORT] [&]",
                "share ACTION [PATH] [TEXT…]",
                "keyboard [LAYOUT]",
                "screenshot",
                "echo [TEXT…]",
                "clear",
                "version",
                "reboot",
                "poweroff",
            ]
        );
    }
}
