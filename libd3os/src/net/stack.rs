//! A program's side of its region: who is attached, which places are in use.

use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use super::plan::{MAX_PLACES, Plan};
use super::socket::Socket;
use super::status::{Phase, Status};
use super::{SocketError, TcpListener, TcpStream, UdpSocket};
use crate::call::Transport;
use crate::connection::Connection;
use crate::ring::{Doorbell, Line};
use crate::service::net::{NetClient, Opened};

/// Wakes the side at the other end of a region's rings.
///
/// Neither side ever waits at one ring: each has a place where it waits for everything.
#[derive(Clone)]
pub struct Bell(Rc<dyn Fn()>);

impl Bell {
    /// A bell that rings by this.
    pub fn new(ring: impl Fn() + 'static) -> Self {
        Self(Rc::new(ring))
    }
}

impl Doorbell for Bell {
    fn signal(&self) {
        (self.0)();
    }

    // A wait may end without a signal.
    fn wait(&self) {}
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

/// The network, as this program reaches it.
pub struct Stack<T = Connection> {
    shared: Rc<Shared<T>>,
}

impl<T> Clone for Stack<T> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

pub(super) struct Shared<T> {
    client: NetClient<T>,
    region: String,
    pub(super) plan: Plan<'static>,
    pub(super) bell: Bell,
    /// The server's instance that this program is attached to.
    instance: Cell<u64>,
    proof: Cell<u64>,
    /// Places whose sockets are not yet dropped.
    used: RefCell<[bool; MAX_PLACES as usize]>,
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("region", &self.shared.region).finish_non_exhaustive()
    }
}

impl<T: Transport> Stack<T> {
    /// Attaches to the server with this region. `proof` is any number but 0; the server finds it in
    /// the region and knows by that that the caller has it.
    ///
    /// # Errors
    /// [`SocketError::Protocol`] for a region that is too small, and what the server answers.
    pub fn attach(
        client: NetClient<T>,
        region: &str,
        memory: &'static [Line],
        bell: Bell,
        proof: u64,
    ) -> Result<Self, SocketError> {
        let plan = Plan::new(memory).map_err(|_| SocketError::Protocol)?;
        let shared = Shared {
            client,
            region: region.to_string(),
            plan,
            bell,
            instance: Cell::new(0),
            proof: Cell::new(proof.max(1)),
            used: RefCell::new([false; MAX_PLACES as usize]),
        };
        let stack = Self { shared: Rc::new(shared) };
        stack.attach_again()?;
        Ok(stack)
    }

    /// Attaches to the server that runs now: the way back from [`SocketError::Restarted`]. Sockets
    /// from before stay what they are, closed or failed.
    ///
    /// # Errors
    /// What the server answers.
    pub fn attach_again(&self) -> Result<(), SocketError> {
        let Shared { client, region, plan, instance, proof, .. } = &*self.shared;
        proof.set(proof.get().wrapping_add(1).max(1));
        plan.proof().set_word(proof.get());
        instance.set(client.attach(region.clone(), proof.get())?);
        Ok(())
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn connect(&self, remote: SocketAddr) -> Result<TcpStream<T>, SocketError> {
        self.place(Own::Fail).await?;
        let socket = self.open(|client, place| client.connect_to(place, remote))?;
        TcpStream::connected(socket, remote).await
    }

    /// Takes connections at this port; `backlog` of them may wait, one at least.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn listen(&self, port: u16, backlog: u8) -> Result<TcpListener<T>, SocketError> {
        self.place(Own::Fail).await?;
        let socket = self.open(|client, place| client.listen(place, port, backlog))?;
        Ok(TcpListener::new(self.clone(), socket))
    }

    /// Sends and receives datagrams at this port; 0 takes one that is free.
    ///
    /// # Errors
    /// [`SocketError`].
    pub async fn bind(&self, port: u16) -> Result<UdpSocket<T>, SocketError> {
        self.place(Own::Fail).await?;
        Ok(UdpSocket::new(self.open(|client, place| client.bind(place, port))?))
    }

    /// The server, for what is not a socket's: resolving names, for example.
    #[must_use]
    pub fn server(&self) -> &NetClient<T> {
        &self.shared.client
    }

    /// Opens a socket at a free place.
    pub(super) fn open(
        &self,
        open: impl FnOnce(
            &NetClient<T>,
            u16,
        ) -> Result<Opened, crate::call::Error<crate::service::net::NetError>>,
    ) -> Result<Socket<T>, SocketError> {
        let place = self.shared.free_place().ok_or(SocketError::NoPlace)?;
        self.shared.check()?;
        let opened = open(&self.shared.client, place)?;
        Socket::new(Rc::clone(&self.shared), place, opened)
    }

    /// Waits until a socket can be opened: the server gives places free a little after they are
    /// left. Where the program's own sockets have all of them, that is a failure or not.
    pub(super) async fn place(&self, own: Own) -> Result<(), SocketError> {
        poll_fn(|_| match self.shared.check() {
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) if self.shared.free_place().is_some() => Poll::Ready(Ok(())),
            Ok(()) if own == Own::Fail && self.shared.has_all() => {
                Poll::Ready(Err(SocketError::NoPlace))
            }
            Ok(()) => Poll::Pending,
        })
        .await
    }
}

/// What to do where the program itself has a socket at every place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Wait until it drops one.
    Wait,
    /// Fail.
    Fail,
}

impl<T> Shared<T> {
    /// Fails where the server is not the one that this program is attached to.
    pub(super) fn check(&self) -> Result<(), SocketError> {
        match self.plan.instance().word() == self.instance.get() {
            true => Ok(()),
            false => Err(SocketError::Restarted),
        }
    }

    /// How the place is doing in this opening, if the socket still is that one.
    pub(super) fn status(&self, place: u16, generation: u32) -> Result<Status, SocketError> {
        self.check()?;
        let line = self.plan.status(place).ok_or(SocketError::Protocol)?;
        let status = Status::from_word(line.word());
        match (status.generation == generation, &status.phase) {
            (false, _) | (true, Phase::Free) => Err(SocketError::Restarted),
            (true, Phase::Failed(error)) => Err(error.clone()),
            (true, _) => Ok(status),
        }
    }

    /// Marks a place as used, or not.
    pub(super) fn mark(&self, place: u16, used: bool) {
        if let Some(entry) = self.used.borrow_mut().get_mut(usize::from(place)) {
            *entry = used;
        }
    }

    /// Whether the program has a socket at every place.
    fn has_all(&self) -> bool {
        let used = self.used.borrow();
        used.iter().take(self.plan.places().into()).all(|used| *used)
    }

    /// A place that neither a socket of this program nor the server still uses.
    fn free_place(&self) -> Option<u16> {
        let used = self.used.borrow();
        let is_free = |place: u16| {
            let word = self.plan.status(place).map(Line::word);
            word.is_some_and(|word| Status::from_word(word).phase == Phase::Free)
        };
        (0..self.plan.places()).find(|place| !used[usize::from(*place)] && is_free(*place))
    }
}
