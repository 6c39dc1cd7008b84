//! Fetches a document and shows it.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use fetch::options::{BadArguments, Options, Output};
use fetch::url::Url;
use fetch::{Answer, Malformed, request};
use libd3os::call::Error;
use libd3os::net::{Names, Network, NetworkError, SocketError, TcpStream};
use libd3os::println;
use libd3os::service::console::ConsoleClient;
use libd3os::service::net::NetError;
use libd3os::start::StartInfo;
use libd3os::stdio::Writer;

libd3os::program! {
    main: run,
    calls: ["console", "log", "net", "supervisor"],
    regions: ["net-fetch"],
    signals: ["net-fetch-send"],
    waits: ["net-fetch-ready"],
}

const NAMES: Names =
    Names { region: "net-fetch", send: "net-fetch-send", ready: "net-fetch-ready" };
/// How long the machine may take to get an address.
const READY_MS: u32 = 20_000;
/// Progress is told whenever so many bytes more have come.
const STEP: u64 = 256 << 10;
/// Bytes that are read at a time.
const CHUNK: usize = 4096;

enum Failure {
    Arguments(BadArguments),
    Network(NetworkError),
    Net(Error<NetError>),
    Socket(SocketError),
    Answer(Malformed),
    Status(u16),
    Limit(u64),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Net(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::Limit(limit) => {
                write!(f, "the document has more than {limit} bytes (`--limit` allows more)")
            }
        }
    }
}

fn run(start: &'static StartInfo) -> i32 {
    match fetch(start) {
        Ok(()) => 0,
        Err(failure) => {
            println!("{failure}");
            1
        }
    }
}

fn fetch(start: &StartInfo) -> Result<(), Failure> {
    let options = Options::parse(&start.args).map_err(Failure::Arguments)?;
    let network = Network::open(NAMES).map_err(Failure::Network)?;
    let addresses = find(&network, &options.url)?;
    let mut document = Document { output: options.output, limit: options.limit, bytes: 0, told: 0 };
    network.run(async {
        let mut stream = connect(&network, &addresses).await.map_err(Failure::Socket)?;
        let request = request(&options.url);
        stream.write_all(request.as_bytes()).await.map_err(Failure::Socket)?;
        read(&mut stream, &mut document).await
    })
}

/// Where the document may be.
fn find(network: &Network, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
    let server = network.stack.server();
    server.ready(READY_MS).map_err(Failure::Net)?;
    let addresses = server.resolve(url.host.clone()).map_err(Failure::Net)?;
    Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, url.port)).collect())
}

/// Connects to the first address that answers.
async fn connect(network: &Network, addresses: &[SocketAddr]) -> Result<TcpStream, SocketError> {
    let mut last = SocketError::Refusal(NetError::NoSuchName);
    for address in addresses {
        match network.stack.connect(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads the answer to its end.
async fn read(stream: &mut TcpStream, document: &mut Document) -> Result<(), Failure> {
    let mut answer = Answer::default();
    let mut buffer = [0; CHUNK];
    while !answer.is_complete() {
        let count = stream.read(&mut buffer).await.map_err(Failure::Socket)?;
        if count == 0 {
            answer.end().map_err(Failure::Answer)?;
            break;
        }
        let bytes = answer.push(&buffer[..count]).map_err(Failure::Answer)?;
        document.take(&bytes)?;
    }
    document.end();
    match answer.head() {
        Some(head) if head.status != 200 => {
            println!("{} {}", head.status, head.reason);
            if let Some(location) = &head.location {
                println!("it is at {location}");
            }
            Err(Failure::Status(head.status))
        }
        _ => Ok(()),
    }
}

/// The document, as far as it has come.
struct Document {
    output: Output,
    limit: u64,
    bytes: u64,
    /// Bytes of which was told.
    told: u64,
}

impl Document {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limit {
            return Err(Failure::Limit(self.limit));
        }
        match self.output {
            Output::Show => show(bytes),
            Output::Count if self.bytes - self.told >= STEP => {
                self.told = self.bytes;
                println!("{} KiB", self.bytes >> 10);
            }
            Output::Count => {}
        }
        Ok(())
    }

    fn end(&self) {
        if self.output == Output::Count {
            println!("{} bytes", self.bytes);
        }
    }
}

/// Shows bytes of a document, which cannot steer the terminal by them.
fn show(bytes: &[u8]) {
    let Ok(console) = ConsoleClient::connect() else { return };
    let harmless = |byte: &u8| match byte {
        b'\n' | b'\t' => *byte,
        control if control.is_ascii_control() => b' ',
        other => *other,
    };
    let shown: Vec<u8> = bytes.iter().filter(|byte| **byte != b'\r').map(harmless).collect();
    let mut writer = Writer::new(&console);
    // A console that cannot be reached leaves nobody to tell.
    let _ = writer.write_bytes(&shown).and_then(|()| writer.flush());
}
