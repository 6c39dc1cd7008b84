//! Pings a host: a program of its own, so that ^C ends it and no shell waits with it.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use libd3os::call::Error;
use libd3os::ipc::MissingGrant;
use libd3os::println;
use libd3os::service::net::{EchoRequest, NetClient, NetError};
use libd3os::service::timer::TimerClient;
use libd3os::start::StartInfo;
use libd3os::time;
use ping::{BYTES, Options, Statistics, Usage, milliseconds};

libd3os::program! { main: run, calls: ["console", "log", "net", "supervisor", "timer"] }

/// Between two requests.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take.
const TIMEOUT_MS: u32 = 3000;
/// How long the machine may take to get an address.
const READY_MS: u32 = 20_000;

enum Failure {
    Usage(Usage),
    Grant(MissingGrant<'static>),
    Net(Error<NetError>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Net(error) => error.fmt(f),
        }
    }
}

fn run(start: &'static StartInfo) -> i32 {
    match ping(start) {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(failure) => {
            println!("{failure}");
            2
        }
    }
}

/// Tells whether there was any answer.
fn ping(start: &StartInfo) -> Result<bool, Failure> {
    let options = Options::parse(&start.args).map_err(Failure::Usage)?;
    let net = NetClient::connect().map_err(Failure::Grant)?;
    let timer = TimerClient::connect().map_err(Failure::Grant)?;
    let destination = find(&net, &options)?;
    println!("{} ({destination}), {BYTES} bytes:", options.host);
    let mut statistics = Statistics::default();
    for number in 1..=options.count {
        let next = time::uptime().unwrap_or_default() + INTERVAL;
        statistics.note(request(&net, number, destination));
        if number < options.count {
            pause(&timer, next);
        }
    }
    println!("{}", statistics.summary());
    Ok(statistics.any())
}

fn find(net: &NetClient, options: &Options) -> Result<IpAddr, Failure> {
    net.ready(READY_MS).map_err(Failure::Net)?;
    let addresses = net.resolve(options.host.clone()).map_err(Failure::Net)?;
    addresses.first().copied().ok_or(Failure::Net(Error::Service(NetError::NoSuchName)))
}

/// Sends a request; tells how long its answer took, if there was one.
fn request(net: &NetClient, number: u32, destination: IpAddr) -> Option<u64> {
    let request = EchoRequest { destination, bytes: BYTES, timeout_ms: TIMEOUT_MS };
    match net.ping(request) {
        Ok(reply) => {
            println!("  {number}: {} ms", milliseconds(reply.time_us));
            Some(reply.time_us)
        }
        Err(error) => {
            println!("  {number}: {error}");
            None
        }
    }
}

/// Waits until this time. A timer that does not answer costs the pause, nothing else.
fn pause(timer: &TimerClient, until: Duration) {
    let nanoseconds = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
    let _ = timer.wait(nanoseconds);
}
