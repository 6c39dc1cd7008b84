//! A host for tests: a core, its memory, one queue pair.

use core::net::IpAddr;
use core::time::Duration;

use crate::core::{
    AddressVector, AhId, AttrMask, Attributes, Config, Core, CqId, Gone, Memory, PathMtu, QpInit,
    QpKind, QpNumber, SrqId, State,
};
use crate::entries::{Completion, ReceiveEntry, SendEntry, Sge, WcStatus};
use crate::events::Event;
use crate::regions::{Access, Backing, DomainId, Key, Place, Region};
use crate::wire::Psn;

/// The object that regions of a host lie in.
pub(crate) const OBJECT: Backing = Backing(77);
/// Where regions begin in the addresses of their owners: the place in the memory and this.
pub(crate) const BASE: u64 = 0x7fff_0000_0000;
/// The queue key of datagrams.
pub(crate) const QUEUE_KEY: u32 = 0x1111_1111;

/// The memory of a host: one object.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    fn range(&mut self, place: Place, length: usize) -> Result<&mut [u8], Gone> {
        assert_eq!(place.backing, OBJECT);
        let from = usize::try_from(place.offset).map_err(|_| Gone)?;
        self.0.get_mut(from..from + length).ok_or(Gone)
    }

    fn change(&mut self, at: Place, change: impl FnOnce(u64) -> u64) -> Result<u64, Gone> {
        let word = self.range(at, 8)?;
        let before = u64::from_le_bytes(word.try_into().map_err(|_| Gone)?);
        word.copy_from_slice(&change(before).to_le_bytes());
        Ok(before)
    }
}

impl Memory for Bytes {
    fn read(&mut self, from: Place, into: &mut [u8]) -> Result<(), Gone> {
        into.copy_from_slice(self.range(from, into.len())?);
        Ok(())
    }

    fn write(&mut self, to: Place, bytes: &[u8]) -> Result<(), Gone> {
        self.range(to, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn fetch_add(&mut self, at: Place, add: u64) -> Result<u64, Gone> {
        self.change(at, |word| word.wrapping_add(add))
    }

    fn compare_swap(&mut self, at: Place, compare: u64, swap: u64) -> Result<u64, Gone> {
        self.change(at, |word| if word == compare { swap } else { word })
    }
}

/// A host with one queue pair.
pub(crate) struct Host {
    pub(crate) core: Core,
    pub(crate) memory: Bytes,
    pub(crate) address: IpAddr,
    pub(crate) domain: DomainId,
    pub(crate) send_cq: CqId,
    pub(crate) recv_cq: CqId,
    pub(crate) srq: Option<SrqId>,
    pub(crate) qp: QpNumber,
    /// Of a region over all its memory, that peers may do anything with.
    pub(crate) key: Key,
}

/// How two hosts are to be connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) kind: QpKind,
    pub(crate) mtu: PathMtu,
    pub(crate) psn: u32,
    pub(crate) timeout: u8,
    pub(crate) retry_cnt: u8,
    pub(crate) rnr_retry: u8,
    pub(crate) min_rnr_timer: u8,
    pub(crate) rd_atomic: u8,
    pub(crate) shared: bool,
    pub(crate) sq_sig_all: bool,
    pub(crate) version_6: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            kind: QpKind::Rc,
            mtu: PathMtu::B256,
            psn: 0x00ff_fffd,
            timeout: 8,
            retry_cnt: 7,
            rnr_retry: 7,
            min_rnr_timer: 1,
            rd_atomic: 4,
            shared: false,
            sq_sig_all: false,
            version_6: false,
        }
    }
}

fn address(host: u8, version_6: bool) -> IpAddr {
    if version_6 {
        IpAddr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host])
    } else {
        IpAddr::from([10, 0, 0, host])
    }
}

impl Host {
    /// Host number `host` with so much memory; its queue pair is in the state RESET.
    pub(crate) fn new(host: u8, bytes: usize, requests: u16, link: &Link) -> Self {
        let (mut v4, mut v6) = (None, None);
        match address(host, link.version_6) {
            IpAddr::V4(address) => v4 = Some(address),
            IpAddr::V6(address) => v6 = Some(address),
        }
        let mut core = Core::new(Config {
            v4,
            v6,
            mtu: link.mtu,
            partitions: vec![0xffff],
            queue_pairs: 4,
            others: 4,
            regions: 8,
            secret: 0x5eed + u64::from(host),
        });
        let domain = core.alloc_pd().expect("room");
        let send_cq = core.create_cq(64).expect("room");
        let recv_cq = core.create_cq(64).expect("room");
        let srq = link.shared.then(|| core.create_srq(domain, requests).expect("room"));
        let init = QpInit {
            kind: link.kind,
            domain,
            send_cq,
            recv_cq,
            srq,
            max_send_wr: requests,
            max_recv_wr: requests,
            sq_sig_all: link.sq_sig_all,
        };
        let qp = core.create_qp(init).expect("room");
        let (start, place) = (BASE, Place { backing: OBJECT, offset: 0 });
        let region = Region { domain, start, length: bytes as u64, access: Access::all(), place };
        let key = core.reg_mr(region, Access::all()).expect("room");
        let memory = Bytes(vec![0; bytes]);
        let address = address(host, link.version_6);
        Self { core, memory, address, domain, send_cq, recv_cq, srq, qp, key }
    }

    pub(crate) fn modify(&mut self, attributes: &Attributes, mask: AttrMask) {
        let result =
            self.core.modify_qp(Duration::ZERO, self.qp, attributes, mask, &mut self.memory);
        result.expect("a right change");
    }

    /// Brings the queue pair to RTS, with a peer.
    pub(crate) fn connect(&mut self, peer: IpAddr, number: QpNumber, link: &Link) {
        use AttrMask as M;
        let mut attributes = Attributes {
            port_num: 1,
            qkey: QUEUE_KEY,
            qp_access_flags: Access::all(),
            path_mtu: link.mtu,
            dest_qp_num: number.0,
            rq_psn: Psn::new(link.psn),
            sq_psn: Psn::new(link.psn),
            ah_attr: Some(AddressVector { destination: peer, traffic_class: 2, hop_limit: 64 }),
            max_rd_atomic: link.rd_atomic,
            max_dest_rd_atomic: link.rd_atomic,
            min_rnr_timer: link.min_rnr_timer,
            timeout: link.timeout,
            retry_cnt: link.retry_cnt,
            rnr_retry: link.rnr_retry,
            qp_state: State::Init,
            ..Attributes::default()
        };
        let datagram = link.kind.is_datagram();
        let rights = if datagram { M::QKEY } else { M::ACCESS_FLAGS };
        self.modify(&attributes, M::STATE | M::PKEY_INDEX | M::PORT | rights);
        let (mut receive, mut send) = (M::STATE, M::STATE | M::SQ_PSN);
        if !datagram {
            receive |= M::AV | M::PATH_MTU | M::DEST_QPN | M::RQ_PSN;
        }
        if link.kind == QpKind::Rc {
            receive |= M::MAX_DEST_RD_ATOMIC | M::MIN_RNR_TIMER;
            send |= M::TIMEOUT | M::RETRY_CNT | M::RNR_RETRY | M::MAX_QP_RD_ATOMIC;
        }
        attributes.qp_state = State::Rtr;
        self.modify(&attributes, receive);
        attributes.qp_state = State::Rts;
        self.modify(&attributes, send);
    }

    pub(crate) fn handle_of(&mut self, peer: IpAddr) -> AhId {
        let vector = AddressVector { destination: peer, traffic_class: 0, hop_limit: 64 };
        self.core.create_ah(self.domain, vector).expect("room")
    }

    pub(crate) fn post_send(&mut self, now: Duration, entry: &SendEntry) {
        let result = self.core.post_send(now, self.qp, entry, &mut self.memory);
        result.expect("a right request");
    }

    /// Posts a receive to wherever the queue pair receives from.
    pub(crate) fn post_receive(&mut self, now: Duration, entry: &ReceiveEntry) {
        let result = match self.srq {
            Some(srq) => self.core.post_srq_recv(srq, entry),
            None => self.core.post_recv(now, self.qp, entry, &mut self.memory),
        };
        result.expect("room");
    }

    /// An element over a part of its memory.
    pub(crate) fn sge(&self, from: usize, length: usize) -> Sge {
        let length = u32::try_from(length).expect("short");
        Sge { addr: BASE + from as u64, length, lkey: self.key.0 }
    }

    /// A receive into a part of its memory.
    pub(crate) fn receive_into(&self, wr_id: u64, from: usize, length: usize) -> ReceiveEntry {
        let half = length / 2;
        let mut entry = ReceiveEntry { wr_id, num_sge: 2, ..ReceiveEntry::default() };
        entry.sg_list[0] = self.sge(from, half);
        entry.sg_list[1] = self.sge(from + half, length - half);
        entry
    }

    pub(crate) fn state(&self) -> State {
        self.core.query_qp(self.qp).expect("it is there").qp_state
    }

    pub(crate) fn completions(&mut self, queue: CqId) -> Vec<Completion> {
        core::iter::from_fn(|| self.core.poll_cq(queue)).collect()
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.core.next_event()).collect()
    }
}

/// How a request ended.
pub(crate) fn status(completion: &Completion) -> WcStatus {
    WcStatus::from_number(completion.status).expect("a status")
}

/// Two hosts that are connected.
pub(crate) fn pair(bytes: usize, requests: u16, link: &Link) -> [Host; 2] {
    let [mut a, mut b] = [1, 2].map(|host| Host::new(host, bytes, requests, link));
    a.connect(b.address, b.qp, link);
    b.connect(a.address, a.qp, link);
    [a, b]
}
