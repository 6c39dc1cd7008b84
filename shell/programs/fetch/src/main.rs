//! Fetches a document and shows it, or keeps it in the host's share.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
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
use libd3os::service::share::ShareError;
use libd3os::share::{Transfer, TransferError};
use libd3os::start::StartInfo;
use libd3os::stdio::Writer;

libd3os::program! {
    main: run,
    calls: ["console", "log", "net", "share", "supervisor"],
    regions: ["net-fetch", "share-fetch"],
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
/// Region for files of the host.
const REGION: &str = "share-fetch";
/// Bytes that are written to the host at once.
const PIECE: usize = 32 << 10;

enum Failure {
    Arguments(BadArguments),
    Network(NetworkError),
    Net(Error<NetError>),
    Socket(SocketError),
    Answer(Malformed),
    Status(u16),
    Limit(u64),
    Transfer(TransferError),
    Share(Error<ShareError>),
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
            Self::Transfer(error) => error.fmt(f),
            Self::Share(error) => write!(f, "the host's share: {error}"),
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
    let sink = Sink::open(options.output)?;
    let mut document = Document { sink, limit: options.limit, bytes: 0, told: 0 };
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
    match answer.head() {
        Some(head) if head.status != 200 => {
            document.tell();
            println!("{} {}", head.status, head.reason);
            if let Some(location) = &head.location {
                println!("it is at {location}");
            }
            Err(Failure::Status(head.status))
        }
        _ => document.end(),
    }
}

/// Where a document goes.
enum Sink {
    Show,
    Count,
    Keep(File),
}

impl Sink {
    fn open(output: Output) -> Result<Self, Failure> {
        Ok(match output {
            Output::Show => Self::Show,
            Output::Count => Self::Count,
            Output::Keep(path) => Self::Keep(File::create(path)?),
        })
    }
}

/// A file of the host's that is being written.
struct File {
    transfer: Transfer,
    path: String,
    /// Bytes that the host has.
    written: u64,
    /// Bytes that follow them.
    waiting: Vec<u8>,
}

impl File {
    fn create(path: String) -> Result<Self, Failure> {
        let transfer = Transfer::open(REGION).map_err(Failure::Transfer)?;
        transfer.client().create(path.clone()).map_err(Failure::Share)?;
        Ok(Self { transfer, path, written: 0, waiting: Vec::with_capacity(PIECE + CHUNK) })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() < PIECE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let written = self.transfer.write(&self.path, self.written, &self.waiting);
        written.map_err(Failure::Share)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// The host has all of it.
    fn end(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.transfer.client().sync(self.path.clone()).map_err(Failure::Share)
    }
}

/// The document, as far as it has come.
struct Document {
    sink: Sink,
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
        match &mut self.sink {
            Sink::Show => {
                show(bytes);
                return Ok(());
            }
            Sink::Count => {}
            Sink::Keep(file) => file.take(bytes)?,
        }
        if self.bytes - self.told >= STEP {
            self.told = self.bytes;
            println!("{} KiB", self.bytes >> 10);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        if let Sink::Keep(file) = &mut self.sink {
            file.end()?;
        }
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        match &self.sink {
            Sink::Show => {}
            Sink::Count => println!("{} bytes", self.bytes),
            Sink::Keep(file) => println!("{} bytes, in {}", self.bytes, file.path),
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
