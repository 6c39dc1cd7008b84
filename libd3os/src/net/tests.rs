//! Sockets in memory that somebody else writes to as well, at any time.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::task::Poll;

use proptest::prelude::*;

use super::plan::Plan;
use super::{Bell, Phase, SocketError, Stack, Status, encode_header};
use crate::call::{Caller, Later, Loopback, Request};
use crate::ring::{Line, Receiver, Sender};
use crate::service::Page;
use crate::service::net::{
    Accepted, EchoReply, EchoRequest, InterfaceStatus, Net, NetClient, NetError, Opened,
    SocketStatus,
};
use crate::task::block_on;

const REGION_BYTES: usize = 128 << 10;
const INSTANCE: u64 = 5;
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Opens everything that it is asked for.
struct Willing(Plan<'static>);

impl Willing {
    fn open(&self, place: u16, phase: Phase) -> Result<Opened, NetError> {
        let status = Status { generation: 1, waiting: 1, phase };
        self.0.status(place).ok_or(NetError::NoSuchPlace)?.set_word(status.to_word());
        let (out, back) = self.0.rings(place).ok_or(NetError::NoSuchPlace)?;
        out.iter().chain(back).for_each(Line::clear);
        Ok(Opened { generation: 1, local: HERE })
    }
}

impl Net for Willing {
    fn interfaces(&mut self, _: Caller, _: u32) -> Result<Page<InterfaceStatus>, NetError> {
        Ok(Page { items: Vec::new(), next: None })
    }

    fn sockets(&mut self, _: Caller, _: u32) -> Result<Page<SocketStatus>, NetError> {
        Ok(Page { items: Vec::new(), next: None })
    }

    fn ready(&mut self, _: Caller, _: u32, later: Later<Result<(), NetError>>) {
        later.answer(&Ok(()));
    }

    fn resolve(&mut self, _: Caller, _: String, later: Later<Result<Vec<IpAddr>, NetError>>) {
        later.answer(&Ok(alloc::vec![HERE.ip()]));
    }

    fn ping(&mut self, _: Caller, _: EchoRequest, later: Later<Result<EchoReply, NetError>>) {
        later.answer(&Err(NetError::TimedOut));
    }

    fn attach(&mut self, _: Caller, _: String, proof: u64) -> Result<u64, NetError> {
        let shown = self.0.proof().word() == proof;
        self.0.instance().set_word(INSTANCE);
        shown.then_some(INSTANCE).ok_or(NetError::Unproven)
    }

    fn connect_to(&mut self, _: Caller, place: u16, _: SocketAddr) -> Result<Opened, NetError> {
        self.open(place, Phase::Open)
    }

    fn listen(&mut self, _: Caller, place: u16, _: u16, _: u8) -> Result<Opened, NetError> {
        self.open(place, Phase::Listening)
    }

    fn accept(&mut self, _: Caller, place: u16, _: u16) -> Result<Accepted, NetError> {
        Ok(Accepted { opened: self.open(place, Phase::Open)?, peer: HERE })
    }

    fn bind(&mut self, _: Caller, place: u16, _: u16) -> Result<Opened, NetError> {
        self.open(place, Phase::Open)
    }
}

type Server = Loopback<Willing, fn(&mut Willing, Request<'_>)>;

fn program() -> (Stack<Server>, Plan<'static>, &'static [Line]) {
    let memory: Vec<Line> = (0..REGION_BYTES / 64).map(|_| Line::default()).collect();
    let memory: &'static [Line] = memory.leak();
    let plan = Plan::new(memory).expect("large enough");
    let dispatch: fn(&mut Willing, Request<'_>) = Net::dispatch;
    let client = NetClient::new(Loopback::new(Willing(plan), Caller(1), dispatch));
    let stack = Stack::attach(client, "net-test", memory, Bell::new(|| ()), 0);
    (stack.expect("it is willing"), plan, memory)
}

/// Runs a future that needs nobody to go on.
fn run<F: Future>(future: F) -> F::Output {
    block_on(future, || panic!("it would wait for ever"))
}

#[test]
fn bytes_go_through_the_rings() {
    let (stack, plan, _) = program();
    let mut stream = run(stack.connect(HERE)).expect("a place");
    let (out, back) = plan.rings(0).expect("a place");
    let mut from = Receiver::new(out, Bell::new(|| ())).expect("fits");
    let mut to = Sender::new(back, Bell::new(|| ())).expect("fits");
    run(stream.write_all(b"hello")).expect("room");
    let mut buffer = [0; 9000];
    assert!(from.try_receive(&mut buffer).is_ok_and(|received| received.is_some()));
    assert_eq!(&buffer[..5], b"hello");
    assert_eq!(stream.poll_read(&mut buffer), Poll::Pending);
    to.try_send(0, b"abcdef").expect("room");
    assert_eq!(stream.poll_read(&mut buffer[..4]), Poll::Ready(Ok(4)));
    assert_eq!(stream.poll_read(&mut buffer[4..]), Poll::Ready(Ok(2)));
    assert_eq!(&buffer[..6], b"abcdef");
    // With room for whatever comes, it comes there straight.
    to.try_send(0, b"ghi").expect("room");
    assert_eq!(stream.poll_read(&mut buffer), Poll::Ready(Ok(3)));
    assert_eq!(&buffer[..6], b"ghidef");
    drop(to);
    assert_eq!(stream.poll_read(&mut buffer), Poll::Ready(Ok(0)));
    drop(from);
    assert_eq!(run(stream.write_all(b"more")), Err(SocketError::Closed));
}

#[test]
fn datagrams_carry_their_addresses() {
    let (stack, plan, _) = program();
    let mut socket = run(stack.bind(9)).expect("a place");
    let (out, back) = plan.rings(0).expect("a place");
    let mut from = Receiver::new(out, Bell::new(|| ())).expect("fits");
    let mut to = Sender::new(back, Bell::new(|| ())).expect("fits");
    run(socket.send_to(b"ping", HERE)).expect("room");
    let mut buffer = [0; 64];
    assert!(from.try_receive(&mut buffer).is_ok_and(|received| received.is_some()));
    assert_eq!(buffer[..24], [&encode_header(HERE)[..], b"ping"].concat());
    to.try_send(0, &buffer[..24]).expect("room");
    assert_eq!(run(socket.receive_from(&mut buffer[..2])), Ok((2, HERE)), "the rest is cut off");
    to.try_send(0, b"no header").expect("room");
    assert_eq!(run(socket.receive_from(&mut buffer)), Err(SocketError::Protocol));
}

#[test]
fn another_instance_fails_every_socket() {
    let (stack, plan, _) = program();
    let mut stream = run(stack.connect(HERE)).expect("a place");
    let listener = run(stack.listen(9, 1)).expect("a place");
    plan.instance().set_word(INSTANCE + 1);
    assert_eq!(run(stream.read(&mut [0; 9])), Err(SocketError::Restarted));
    assert_eq!(run(stream.write_all(b"x")), Err(SocketError::Restarted));
    assert_eq!(run(listener.accept()).err(), Some(SocketError::Restarted));
    assert_eq!(run(stack.connect(HERE)).err(), Some(SocketError::Restarted));
    assert_eq!(stack.attach_again(), Ok(()));
    assert!(run(stack.connect(HERE)).is_ok());
}

proptest! {
    /// Whatever a hostile server writes, and whenever, operations end in an error or in bytes.
    #[test]
    fn no_server_stops_a_program(writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..80)) {
        let (stack, _, memory) = program();
        let (mut stream, mut socket) = run(async {
            (stack.connect(HERE).await.expect("a place"), stack.bind(9).await.expect("a place"))
        });
        let mut buffer = [0; 100];
        for (at, word) in writes {
            memory[at.index(memory.len())].set_word(word);
            let _ = stream.poll_read(&mut buffer);
            let _ = socket.poll_receive_from(&mut buffer);
            let mut context = core::task::Context::from_waker(core::task::Waker::noop());
            let sent = core::pin::pin!(stream.write_all(&[7; 100])).poll(&mut context);
            prop_assert!(sent != Poll::Ready(Err(SocketError::TooLong)));
        }
    }
}
