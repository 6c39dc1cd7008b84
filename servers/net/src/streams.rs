//! Serving programs' sockets: between their places and the stack, a turn at a time.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use libd3os::net::{Phase, SocketError, decode_sender};
use libd3os::service::net::{DropReason, NetError};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

use crate::device::Card;
use crate::inspect::Datagram;
use crate::interface::{Interface, route};
use crate::place::{Broken, Delivered, Moved, Next, Place};
use crate::region::{At, Kind, Socket, Stream};
use crate::ways::Ways;

/// Bytes of a stream's buffer in each direction, which bound what is under way.
const STREAM_BYTES: usize = 32 << 10;
/// How long the other side may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long the other side may stay silent while something is owed. After losses in a row the
/// stack itself waits up to a minute before it sends again.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a connection that its program has left may take to end.
const LINGER: Duration = Duration::from_secs(60);
/// Connections that end in the background at most; the oldest is cut off.
const LINGERING: usize = 32;
/// Datagrams that the stack keeps for a socket in each direction, and their bytes in all.
const DATAGRAMS: u16 = 64;
const DATAGRAM_BYTES: usize = 72 << 10;

/// A stream's socket for the stack.
#[must_use]
pub fn stream_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; STREAM_BYTES]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(CONNECT_PATIENCE.into()));
    // Programs write what they have at once.
    socket.set_nagle_enabled(false);
    socket
}

/// Connections that their programs have left.
#[derive(Debug, Default)]
pub struct Lingering(VecDeque<(At, Duration)>);

impl Lingering {
    /// Lets a connection end in the background.
    pub fn add<C: Card>(&mut self, at: At, interfaces: &mut [Interface<C>], now: Duration) {
        with(interfaces, at, tcp::Socket::close);
        self.0.push_back((at, now + LINGER));
        if self.0.len() > LINGERING {
            self.0.pop_front().into_iter().for_each(|(at, _)| end(interfaces, at));
        }
    }

    /// Lets them go on, and forgets those that have ended.
    pub fn turn<C: Card>(&mut self, interfaces: &mut [Interface<C>], now: Duration) {
        self.0.retain(|(at, deadline)| {
            let open = with(interfaces, *at, |socket| {
                // Nobody reads it; a window that stays shut would keep the other side.
                let _unread = socket.recv(|bytes| (bytes.len(), ()));
                socket.is_open()
            });
            let stays = open == Some(true) && now < *deadline;
            if !stays {
                end(interfaces, *at);
            }
            stays
        });
    }

    /// When the first of them is cut off.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.0.front().map(|(_, deadline)| *deadline)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was done.
    Idle,
    /// Something was, past the stack.
    Aside,
    /// Something was.
    Busy,
    /// The program has left the socket, and so has the stack.
    Over,
}

/// What sockets are served with beside the interfaces.
#[derive(Debug, Default)]
pub struct Desk {
    /// Connections that their programs have left.
    pub lingering: Lingering,
    /// Ways of datagrams.
    pub ways: Ways,
    scratch: Vec<u8>,
}

/// Whether a socket's program has done something since it was served.
#[must_use]
pub fn has_news(socket: &Socket) -> bool {
    match socket.kind {
        Kind::Listener { .. } => socket.place.is_left(),
        Kind::Stream(_) | Kind::Datagram { .. } => socket.place.has_news(),
    }
}

/// Offers a datagram to the socket that it is for. `false` where the stack is to have it: because
/// datagrams from before wait there.
pub fn offer(socket: &mut Socket, datagram: &Datagram<'_>) -> Result<bool, DropReason> {
    let Socket { place, kind: Kind::Datagram { waiting, .. } } = socket else { return Ok(false) };
    if *waiting == 0 {
        match place.deliver(datagram.from, datagram.bytes) {
            Ok(Delivered::Yes) => return Ok(true),
            Ok(Delivered::Later) => {}
            Ok(Delivered::Never) | Err(Broken) => return Err(DropReason::ReceiverFull),
        }
    }
    if *waiting >= DATAGRAMS {
        return Err(DropReason::ReceiverFull);
    }
    *waiting += 1;
    Ok(false)
}

/// Lets a socket go on.
pub fn serve<C: Card>(
    socket: &mut Socket,
    interfaces: &mut [Interface<C>],
    desk: &mut Desk,
    now: Duration,
) -> Turn {
    let Socket { place, kind } = socket;
    let served = match kind {
        Kind::Stream(stream) => serve_stream(place, stream, interfaces, &mut desk.lingering, now),
        Kind::Listener { port, backlog, listening, waiting } => {
            Ok(serve_listener(place, (*port, *backlog), listening, waiting, interfaces))
        }
        Kind::Datagram { port, at, waiting } => {
            let mut sockets = Datagrams { port: *port, at, waiting, interfaces };
            sockets.serve(place, desk, now)
        }
    };
    served.unwrap_or_else(|Broken| {
        place.fail(SocketError::Protocol);
        abandon(kind, interfaces);
        Turn::Idle
    })
}

/// Ends everything that the stack has for a socket, at once.
pub fn abandon<C: Card>(kind: &mut Kind, interfaces: &mut [Interface<C>]) {
    match kind {
        Kind::Stream(stream) => end(interfaces, stream.at),
        Kind::Listener { listening, waiting, .. } => {
            listening.drain(..).chain(waiting.drain(..)).for_each(|at| end(interfaces, at));
        }
        Kind::Datagram { at, .. } => at.drain(..).for_each(|at| remove(interfaces, at)),
    }
}

fn serve_stream<C: Card>(
    place: &mut Place,
    stream: &mut Stream,
    interfaces: &mut [Interface<C>],
    lingering: &mut Lingering,
    now: Duration,
) -> Result<Turn, Broken> {
    let lost = interfaces
        .get(stream.at.interface)
        .is_none_or(|interface| !interface.has_address(stream.local.ip()));
    let served =
        with(interfaces, stream.at, |socket| move_stream(place, stream, socket, lost, now));
    let busy = served.unwrap_or(Ok(false))?;
    if place.is_left() {
        if stream.finished {
            lingering.add(stream.at, interfaces, now);
            return Ok(Turn::Over);
        }
        if now.saturating_sub(stream.moved) >= LINGER {
            end(interfaces, stream.at);
            return Ok(Turn::Over);
        }
    }
    Ok(if busy { Turn::Busy } else { Turn::Idle })
}

/// Moves a stream's bytes both ways, and tells what became of it.
fn move_stream(
    place: &mut Place,
    stream: &mut Stream,
    socket: &mut tcp::Socket<'_>,
    lost: bool,
    now: Duration,
) -> Result<bool, Broken> {
    let state = socket.state();
    if matches!(state, tcp::State::SynSent | tcp::State::SynReceived) {
        // A program that leaves before it is connected wants no connection.
        if place.is_left() {
            socket.abort();
            return Ok(!core::mem::replace(&mut stream.finished, true));
        }
        return Ok(false);
    }
    if state == tcp::State::Closed && place.status().phase == Phase::Opening {
        place.fail(failure(stream, SocketError::Refused, lost, now));
    } else if place.status().phase == Phase::Opening {
        place.tell(Phase::Open, 0);
    }
    socket.set_timeout(Some(PATIENCE.into()));
    let received = place.receive_stream(socket)? == Moved::Something;
    follow_end(place, stream, socket, lost, now);
    let sent = send(place, stream, socket)?;
    let queued = socket.send_queue();
    if received || sent || queued != stream.queued {
        (stream.moved, stream.queued) = (now, queued);
    }
    Ok(received || sent)
}

/// Tells the program that the other side sends no more, in order or not.
fn follow_end(
    place: &mut Place,
    stream: &Stream,
    socket: &mut tcp::Socket<'_>,
    lost: bool,
    now: Duration,
) {
    if place.has_ended() {
        return;
    }
    match socket.recv(|_| (0, ())) {
        Err(tcp::RecvError::Finished) => place.end_of_input(),
        Err(tcp::RecvError::InvalidState) if socket.state() == tcp::State::Closed => {
            place.fail(failure(stream, SocketError::Reset, lost, now));
        }
        Ok(()) | Err(tcp::RecvError::InvalidState) => {}
    }
}

/// Moves what the program sends; tells whether there was any.
fn send(
    place: &mut Place,
    stream: &mut Stream,
    socket: &mut tcp::Socket<'_>,
) -> Result<bool, Broken> {
    let moved = if stream.finished {
        Moved::Nothing
    } else if socket.may_send() {
        place.send_stream(socket)?
    } else {
        place.discard()?
    };
    if moved == Moved::Over {
        socket.close();
        stream.finished = true;
    }
    Ok(moved != Moved::Nothing)
}

/// Why a connection has ended: whether the other side said so, or nobody did.
fn failure(stream: &Stream, told: SocketError, lost: bool, now: Duration) -> SocketError {
    let patience = if told == SocketError::Refused { CONNECT_PATIENCE } else { PATIENCE };
    match now.saturating_sub(stream.moved) {
        _ if lost => SocketError::AddressLost,
        silence if silence >= patience => SocketError::TimedOut,
        _ => told,
    }
}

fn serve_listener<C: Card>(
    place: &mut Place,
    (port, backlog): (u16, u8),
    listening: &mut Vec<At>,
    waiting: &mut VecDeque<At>,
    interfaces: &mut [Interface<C>],
) -> Turn {
    if place.is_left() {
        listening.drain(..).chain(waiting.drain(..)).for_each(|at| end(interfaces, at));
        return Turn::Over;
    }
    listening.retain(|at| {
        let state = with(interfaces, *at, |socket| socket.state());
        match state.unwrap_or(tcp::State::Closed) {
            tcp::State::Listen | tcp::State::SynReceived => true,
            tcp::State::Closed => {
                end(interfaces, *at);
                false
            }
            _ => {
                waiting.push_back(*at);
                false
            }
        }
    });
    waiting.retain(|at| {
        let open = with(interfaces, *at, |socket| socket.is_open()) == Some(true);
        if !open {
            end(interfaces, *at);
        }
        open
    });
    for (index, interface) in interfaces.iter_mut().enumerate() {
        let here = |at: &&At| at.interface == index;
        let used = listening.iter().filter(here).count() + waiting.iter().filter(here).count();
        for _ in used..usize::from(backlog) {
            listening.extend(listen(interface, index, port));
        }
    }
    place.tell(Phase::Listening, u8::try_from(waiting.len()).unwrap_or(u8::MAX));
    Turn::Idle
}

/// A socket that listens at this interface.
fn listen<C: Card>(interface: &mut Interface<C>, index: usize, port: u16) -> Option<At> {
    let mut socket = stream_socket();
    socket.listen(IpListenEndpoint { addr: None, port }).ok()?;
    Some(At { interface: index, handle: interface.sockets.add(socket) })
}

/// A UDP socket of a program: the stack's sockets for it, one at each interface.
struct Datagrams<'a, C: Card> {
    port: u16,
    at: &'a mut Vec<At>,
    waiting: &'a mut u16,
    interfaces: &'a mut [Interface<C>],
}

/// What became of a datagram that was to go past the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// It was sent.
    Sent,
    /// The stack has it.
    Given,
    /// It waits for memory to be sent from.
    NoRoom,
    /// It was not taken: its way is not known.
    NoWay,
}

impl<C: Card> Datagrams<'_, C> {
    fn serve(&mut self, place: &mut Place, desk: &mut Desk, now: Duration) -> Result<Turn, Broken> {
        if place.is_left() && self.pending() == 0 {
            self.at.drain(..).for_each(|at| remove(self.interfaces, at));
            return Ok(Turn::Over);
        }
        let new = self.interfaces.iter_mut().enumerate().skip(self.at.len());
        self.at.extend(new.filter_map(|(index, interface)| bind(interface, index, self.port)));
        let received = self.receive(place)?;
        let sent = self.send(place, desk, now)?;
        Ok(if received && sent == Turn::Idle { Turn::Aside } else { sent })
    }

    /// Moves what waits in the stack to the program; tells whether there was any.
    fn receive(&mut self, place: &mut Place) -> Result<bool, Broken> {
        let mut any = false;
        for at in self.at.iter() {
            let Some(interface) = self.interfaces.get_mut(at.interface) else { continue };
            let socket = interface.sockets.get_mut::<udp::Socket<'_>>(at.handle);
            if !socket.can_recv() {
                continue;
            }
            let (taken, mut dropped) = place.receive_datagrams(socket)?;
            *self.waiting = self.waiting.saturating_sub(taken + dropped);
            if !socket.can_recv() {
                // What the stack had no room for.
                dropped += core::mem::take(self.waiting);
            }
            any |= taken > 0;
            (0..dropped).for_each(|_| interface.dropped(DropReason::ReceiverFull));
        }
        Ok(any)
    }

    /// Bytes of datagrams that wait in the stack to be sent.
    fn pending(&self) -> usize {
        let sockets = self.at.iter().filter_map(|at| self.socket(at));
        sockets.map(udp::Socket::send_queue).sum()
    }

    fn socket(&self, at: &At) -> Option<&udp::Socket<'static>> {
        let interface = self.interfaces.get(at.interface)?;
        Some(interface.sockets.get::<udp::Socket<'static>>(at.handle))
    }

    /// Sends what the program sends, as long as there is room for it everywhere.
    fn send(&mut self, place: &mut Place, desk: &mut Desk, now: Duration) -> Result<Turn, Broken> {
        let mut turn = Turn::Idle;
        place.set_blocked(false);
        while place.has_message() {
            if !self.at.iter().all(|at| self.socket(at).is_some_and(udp::Socket::can_send)) {
                place.set_blocked(true);
                break;
            }
            match self.pass(place, &desk.ways, now)? {
                Passed::Sent => turn = if turn == Turn::Idle { Turn::Aside } else { turn },
                Passed::Given => turn = Turn::Busy,
                Passed::NoRoom => {
                    place.set_blocked(true);
                    break;
                }
                Passed::NoWay => {
                    let Some((to, bytes)) = place.next_datagram(&mut desk.scratch)? else { break };
                    self.give(to, bytes);
                    turn = Turn::Busy;
                }
            }
        }
        Ok(turn)
    }

    /// Sends the program's next datagram past the stack: by the way that was found last, which most
    /// likely is its own, and straight into the memory that is sent from.
    fn pass(&mut self, place: &mut Place, ways: &Ways, now: Duration) -> Result<Passed, Broken> {
        let Some(way) = ways.latest(now) else { return Ok(Passed::NoWay) };
        let Some(interface) = self.interfaces.get(way.interface) else { return Ok(Passed::NoWay) };
        let device = interface.device();
        let Some(mut frame) = device.take_buffer() else { return Ok(Passed::NoRoom) };
        let room = frame.get_mut(way.message()..).unwrap_or_default();
        let Next::Message(length) = place.next_message(room)? else {
            device.keep_buffer(frame);
            return Ok(Passed::NoWay);
        };
        let message = room.get(..length).unwrap_or_default();
        let Some((to, bytes)) = decode_sender(message) else {
            device.keep_buffer(frame);
            return Err(Broken);
        };
        let length = way.headers() + bytes.len();
        let known = ways
            .find(to, now)
            .filter(|known| known.interface == way.interface && known.headers() == way.headers());
        // Behind those that wait for their way it would be too early.
        match known.filter(|_| length <= device.longest() && self.is_idle(way.interface)) {
            Some(known) => {
                let (whole, ports) = (frame.get_mut(..length), [self.port, to.port()]);
                let whole = whole.unwrap_or_default();
                let sum = known.write_headers(whole, ports, device.maker());
                device.send(frame, length, sum);
                Ok(Passed::Sent)
            }
            None => {
                self.give(to, bytes);
                if let Some(interface) = self.interfaces.get(way.interface) {
                    interface.device().keep_buffer(frame);
                }
                Ok(Passed::Given)
            }
        }
    }

    /// Whether nothing of this socket waits in the stack at this interface.
    fn is_idle(&self, interface: usize) -> bool {
        let here = self.at.iter().find(|at| at.interface == interface);
        here.and_then(|at| self.socket(at)).is_some_and(|socket| socket.send_queue() == 0)
    }

    /// Lets the stack send a datagram, for which it has room.
    fn give(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.try_give(to, bytes).is_err()
            && let Some(interface) = self.interfaces.first()
        {
            interface.dropped(DropReason::Unsendable);
        }
    }

    fn try_give(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), NetError> {
        let index = route(self.interfaces, to.ip()).ok_or(NetError::NoRoute)?;
        let at = self.at.iter().find(|at| at.interface == index).ok_or(NetError::NoRoute)?;
        let interface = self.interfaces.get_mut(index).ok_or(NetError::NoRoute)?;
        interface.source(to.ip()).ok_or(NetError::NoRoute)?;
        interface.device().learn();
        let socket = interface.sockets.get_mut::<udp::Socket<'_>>(at.handle);
        socket.send_slice(bytes, endpoint(to)).map_err(|_| NetError::BadAddress)
    }
}

/// A UDP socket at this interface.
fn bind<C: Card>(interface: &mut Interface<C>, index: usize, port: u16) -> Option<At> {
    let buffer = || {
        let packets = vec![udp::PacketMetadata::EMPTY; DATAGRAMS.into()];
        udp::PacketBuffer::new(packets, vec![0; DATAGRAM_BYTES])
    };
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(IpListenEndpoint { addr: None, port }).ok()?;
    Some(At { interface: index, handle: interface.sockets.add(socket) })
}

/// Begins a connection from this port.
///
/// # Errors
/// [`NetError::NoRoute`], [`NetError::BadAddress`].
pub fn connect<C: Card>(
    interfaces: &mut [Interface<C>],
    remote: SocketAddr,
    port: u16,
    now: Duration,
) -> Result<Stream, NetError> {
    let index = route(interfaces, remote.ip()).ok_or(NetError::NoRoute)?;
    let interface = interfaces.get_mut(index).ok_or(NetError::NoRoute)?;
    let source = interface.source(remote.ip()).ok_or(NetError::NoRoute)?;
    let handle = interface.sockets.add(stream_socket());
    let (socket, context) = interface.socket_and_context::<tcp::Socket<'_>>(handle);
    let local = SocketAddr::new(source, port);
    if socket.connect(context, endpoint(remote), endpoint(local)).is_err() {
        interface.sockets.remove(handle);
        return Err(NetError::BadAddress);
    }
    let at = At { interface: index, handle };
    Ok(Stream { at, local, peer: remote, moved: now, queued: 0, finished: false })
}

/// What a connection that waits at a listener is, for whoever accepts it; `None` where it has gone
/// meanwhile.
pub fn accepted<C: Card>(interfaces: &mut [Interface<C>], at: At, now: Duration) -> Option<Stream> {
    let ends = with(interfaces, at, |socket| {
        socket.local_endpoint().zip(socket.remote_endpoint()).filter(|_| socket.is_open())
    });
    let (local, peer) = ends.flatten()?;
    let [local, peer] = [local, peer].map(address);
    Some(Stream { at, local, peer, moved: now, queued: 0, finished: false })
}

/// A TCP connection's state, in the words of its specification.
pub fn state<C: Card>(interfaces: &[Interface<C>], at: At) -> tcp::State {
    let interface = interfaces.get(at.interface);
    interface.map_or(tcp::State::Closed, |interface| {
        interface.sockets.get::<tcp::Socket<'_>>(at.handle).state()
    })
}

/// Ends a connection at once: the other side is told by a reset, if it can be.
fn end<C: Card>(interfaces: &mut [Interface<C>], at: At) {
    with(interfaces, at, tcp::Socket::abort);
    if let Some(interface) = interfaces.get_mut(at.interface) {
        interface.retire(at.handle);
    }
}

fn remove<C: Card>(interfaces: &mut [Interface<C>], at: At) {
    if let Some(interface) = interfaces.get_mut(at.interface) {
        interface.sockets.remove(at.handle);
    }
}

fn with<C: Card, T>(
    interfaces: &mut [Interface<C>],
    at: At,
    work: impl FnOnce(&mut tcp::Socket<'static>) -> T,
) -> Option<T> {
    let interface = interfaces.get_mut(at.interface)?;
    Some(work(interface.sockets.get_mut::<tcp::Socket<'_>>(at.handle)))
}

/// The stack's form of an address.
fn endpoint(address: SocketAddr) -> IpEndpoint {
    IpEndpoint::new(IpAddr::into(address.ip()), address.port())
}

/// The language's form of an address.
pub fn address(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(endpoint.addr.into(), endpoint.port)
}
