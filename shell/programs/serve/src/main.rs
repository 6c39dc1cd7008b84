//! The echo server's process.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::convert::Infallible;
use core::fmt;

use libd3os::net::{Names, Network, NetworkError, SocketError};
use libd3os::println;
use libd3os::start::StartInfo;
use serve::{Task, Usage, serve, serve_measured, task};

libd3os::program! {
    main: run,
    calls: ["console", "log", "net", "supervisor"],
    regions: ["net-serve"],
    signals: ["net-serve-send"],
    waits: ["net-serve-ready"],
}

const NAMES: Names =
    Names { region: "net-serve", send: "net-serve-send", ready: "net-serve-ready" };

enum Failure {
    Usage(Usage),
    Network(NetworkError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
        }
    }
}

fn run(start: &'static StartInfo) -> i32 {
    match work(start) {
        Ok(never) => match never {},
        Err(failure) => {
            println!("{failure}");
            1
        }
    }
}

/// Serves for ever. A network server that was started again is attached to anew.
fn work(start: &StartInfo) -> Result<Infallible, Failure> {
    let task = task(&start.args).map_err(Failure::Usage)?;
    let network = Network::open(NAMES).map_err(Failure::Network)?;
    loop {
        let Err(error) = match task {
            Task::Echo(port) => {
                network.run(serve(&network.stack, port, &|news| println!("{news}")))
            }
            Task::Measured => network.run(serve_measured(&network.stack)),
        };
        println!("{error}");
        if error != SocketError::Restarted {
            return Err(Failure::Network(NetworkError::Socket(error)));
        }
        match network.stack.attach_again() {
            // One that ended meanwhile has a successor, too.
            Ok(()) | Err(SocketError::Restarted) => {}
            Err(error) => return Err(Failure::Network(NetworkError::Socket(error))),
        }
    }
}
