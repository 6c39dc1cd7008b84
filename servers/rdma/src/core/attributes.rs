//! The attributes of a queue pair and its states: what may change when (specification, 10.3.1 and
//! 11.2.5.2).

use core::net::IpAddr;
use core::time::Duration;

use super::QpKind;
use crate::regions::Access;
use crate::wire::Psn;

/// The states of a queue pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is accepted.
    #[default]
    Reset,
    /// Receives may be posted.
    Init,
    /// Ready to receive.
    Rtr,
    /// Ready to send.
    Rts,
    /// What was begun is sent, nothing more.
    Sqd,
    /// A send failed locally; receiving goes on. Unreliable services only.
    Sqe,
    /// What is posted is flushed.
    Err,
}

/// The most bytes of a message that a packet carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathMtu {
    /// 256 bytes.
    #[default]
    B256,
    /// 512 bytes.
    B512,
    /// 1,024 bytes: what an Ethernet frame of 1,500 holds.
    B1024,
    /// 2,048 bytes.
    B2048,
    /// 4,096 bytes.
    B4096,
}

impl PathMtu {
    /// Bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::B256 => 256,
            Self::B512 => 512,
            Self::B1024 => 1024,
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }
}

/// Where packets go: what an address handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressVector {
    /// The destination, of a version in which the port has an address.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// How many routers packets may pass.
    pub hop_limit: u8,
}

/// The attributes of a queue pair, by their names in `ibv_qp_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The state to go to.
    pub qp_state: State,
    /// The state that the program believes it to be in.
    pub cur_qp_state: State,
    /// Bytes of a packet.
    pub path_mtu: PathMtu,
    /// The key that datagrams to this queue pair must have.
    pub qkey: u32,
    /// The number of the first packet that will come.
    pub rq_psn: Psn,
    /// The number of the first packet that will be sent.
    pub sq_psn: Psn,
    /// The peer, 24 bits.
    pub dest_qp_num: u32,
    /// What peers may do. Regions have rights of their own besides.
    pub qp_access_flags: Access,
    /// Where the peer is.
    pub ah_attr: Option<AddressVector>,
    /// Which of the port's partition keys.
    pub pkey_index: u16,
    /// The port, which is 1.
    pub port_num: u8,
    /// Whether to tell when the send queue is drained.
    pub en_sqd_async_notify: bool,
    /// Reads and atomics in flight at most, as the one who asks.
    pub max_rd_atomic: u8,
    /// Reads and atomics in flight at most, as the one who answers.
    pub max_dest_rd_atomic: u8,
    /// How long a peer is to wait if there is no receive: a code below 32.
    pub min_rnr_timer: u8,
    /// How long an answer may take: 4.096 µs · 2ⁿ with n below 32; 0 for ever.
    pub timeout: u8,
    /// How often to try again without an answer, below 8.
    pub retry_cnt: u8,
    /// How often to try again without a receive, below 8; 7 for ever.
    pub rnr_retry: u8,
}

bitflags::bitflags! {
    /// Which attributes count (`IBV_QP_…`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttrMask: u32 {
        /// `qp_state`.
        const STATE = 1;
        /// `cur_qp_state`.
        const CUR_STATE = 1 << 1;
        /// `en_sqd_async_notify`.
        const EN_SQD_ASYNC_NOTIFY = 1 << 2;
        /// `qp_access_flags`.
        const ACCESS_FLAGS = 1 << 3;
        /// `pkey_index`.
        const PKEY_INDEX = 1 << 4;
        /// `port_num`.
        const PORT = 1 << 5;
        /// `qkey`.
        const QKEY = 1 << 6;
        /// `ah_attr`.
        const AV = 1 << 7;
        /// `path_mtu`.
        const PATH_MTU = 1 << 8;
        /// `timeout`.
        const TIMEOUT = 1 << 9;
        /// `retry_cnt`.
        const RETRY_CNT = 1 << 10;
        /// `rnr_retry`.
        const RNR_RETRY = 1 << 11;
        /// `rq_psn`.
        const RQ_PSN = 1 << 12;
        /// `max_rd_atomic`.
        const MAX_QP_RD_ATOMIC = 1 << 13;
        /// `min_rnr_timer`.
        const MIN_RNR_TIMER = 1 << 15;
        /// `sq_psn`.
        const SQ_PSN = 1 << 16;
        /// `max_dest_rd_atomic`.
        const MAX_DEST_RD_ATOMIC = 1 << 17;
        /// `dest_qp_num`.
        const DEST_QPN = 1 << 20;
    }
}

/// A queue pair was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModifyError {
    /// There is no such queue pair.
    #[error("no such queue pair")]
    NoQueuePair,
    /// It is not in the state that it is believed to be in.
    #[error("it is in another state")]
    State,
    /// Its kind does not go from its state to that one.
    #[error("no way from this state to that one")]
    Transition,
    /// These attributes are missing for that.
    #[error("attributes are missing: {0:?}")]
    Missing(AttrMask),
    /// These attributes cannot be changed on that way.
    #[error("attributes that cannot be changed now: {0:?}")]
    Excess(AttrMask),
    /// The value of this attribute is none.
    #[error("a value out of range: {0:?}")]
    Value(AttrMask),
}

/// Which attributes a change needs, and which it may have besides.
pub(super) fn rule(kind: QpKind, from: State, to: State) -> Option<(AttrMask, AttrMask)> {
    use AttrMask as M;
    use State::{Err, Init, Reset, Rtr, Rts, Sqd, Sqe};
    let none = M::empty();
    // What is peculiar to connections and to datagrams.
    let rights = if kind.is_datagram() { M::QKEY } else { M::ACCESS_FLAGS };
    let connection =
        if kind.is_datagram() { none } else { M::AV | M::PATH_MTU | M::DEST_QPN | M::RQ_PSN };
    let reliable = |mask: AttrMask| if kind == QpKind::Rc { mask } else { none };
    let begin = M::PKEY_INDEX | M::PORT | rights;
    let retries = M::TIMEOUT | M::RETRY_CNT | M::RNR_RETRY | M::MAX_QP_RD_ATOMIC;
    let waiting = reliable(M::MIN_RNR_TIMER);
    Some(match (from, to) {
        (_, Reset) => (none, none),
        (from, Err) if from != Reset => (none, none),
        (Reset, Init) => (begin, none),
        (Init, Init) => (none, begin),
        (Init, Rtr) => (
            connection | reliable(M::MAX_DEST_RD_ATOMIC | M::MIN_RNR_TIMER),
            M::PKEY_INDEX | rights,
        ),
        (Rtr, Rts) => (M::SQ_PSN | reliable(retries), M::CUR_STATE | rights | waiting),
        (Rts, Rts) | (Sqd, Rts) => (none, M::CUR_STATE | rights | waiting),
        (Sqe, Rts) if kind != QpKind::Rc => (none, M::CUR_STATE | rights),
        (Rts, Sqd) => (none, M::EN_SQD_ASYNC_NOTIFY),
        (Sqd, Sqd) => {
            let path = if kind.is_datagram() { none } else { M::AV };
            let more = reliable(retries | M::MAX_DEST_RD_ATOMIC);
            (none, M::PKEY_INDEX | rights | path | waiting | more)
        }
        _ => return None,
    })
}

impl Attributes {
    /// Whether the values that count are ones.
    pub(super) fn check(&self, mask: AttrMask, most_rd_atomic: u8) -> Result<(), ModifyError> {
        use AttrMask as M;
        let bounds = [
            (M::PORT, u32::from(self.port_num != 1), 0),
            (M::DEST_QPN, self.dest_qp_num, (1 << 24) - 1),
            (M::AV, u32::from(self.ah_attr.is_none()), 0),
            (M::MAX_QP_RD_ATOMIC, self.max_rd_atomic.into(), most_rd_atomic.into()),
            (M::MAX_DEST_RD_ATOMIC, self.max_dest_rd_atomic.into(), most_rd_atomic.into()),
            (M::MIN_RNR_TIMER, self.min_rnr_timer.into(), 31),
            (M::TIMEOUT, self.timeout.into(), 31),
            (M::RETRY_CNT, self.retry_cnt.into(), 7),
            (M::RNR_RETRY, self.rnr_retry.into(), 7),
        ];
        let wrong = |(bit, value, most): &(AttrMask, u32, u32)| mask.contains(*bit) && value > most;
        bounds.into_iter().find(wrong).map_or(Ok(()), |(bit, ..)| Err(ModifyError::Value(bit)))
    }

    /// Takes over what counts.
    pub(super) fn take(&mut self, from: &Self, mask: AttrMask) {
        macro_rules! take {
            ($($bit:ident $field:ident),*) => {
                $(if mask.contains(AttrMask::$bit) { self.$field = from.$field; })*
            };
        }
        take!(
            EN_SQD_ASYNC_NOTIFY en_sqd_async_notify, ACCESS_FLAGS qp_access_flags,
            PKEY_INDEX pkey_index, PORT port_num, QKEY qkey, AV ah_attr, PATH_MTU path_mtu,
            TIMEOUT timeout, RETRY_CNT retry_cnt, RNR_RETRY rnr_retry, RQ_PSN rq_psn,
            MAX_QP_RD_ATOMIC max_rd_atomic, MIN_RNR_TIMER min_rnr_timer, SQ_PSN sq_psn,
            MAX_DEST_RD_ATOMIC max_dest_rd_atomic, DEST_QPN dest_qp_num
        );
    }

    /// How long an answer may take; `None` for ever.
    pub(super) fn ack_timeout(&self) -> Option<Duration> {
        /// 4.096 µs.
        const UNIT_NS: u64 = 4096;
        (self.timeout > 0).then(|| Duration::from_nanos(UNIT_NS << (self.timeout & 31)))
    }
}

/// The time that a code of the receiver-not-ready timer stands for (specification, 9.7.5.2.8, table
/// "RNR NAK Timer Field").
pub(super) fn rnr_time(code: u8) -> Duration {
    const TENS_OF_MICROSECONDS: [u32; 32] = [
        65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024,
        1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152,
    ];
    Duration::from_micros(10) * TENS_OF_MICROSECONDS[usize::from(code & 31)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 7] =
        [State::Reset, State::Init, State::Rtr, State::Rts, State::Sqd, State::Sqe, State::Err];

    #[test]
    fn ways_are_those_of_the_specification() {
        let ways = |kind| {
            let pairs = STATES.iter().flat_map(|from| STATES.iter().map(move |to| (*from, *to)));
            pairs.filter(|(from, to)| rule(kind, *from, *to).is_some()).count()
        };
        // To RESET from everywhere, to ERR from everywhere but RESET, and 8 more.
        assert_eq!(ways(QpKind::Rc), 7 + 6 + 8);
        assert_eq!(ways(QpKind::Uc), 7 + 6 + 9);
        assert_eq!(ways(QpKind::Ud), 7 + 6 + 9);
        assert_eq!(rule(QpKind::Rc, State::Sqe, State::Rts), None);
        assert_eq!(rule(QpKind::Rc, State::Reset, State::Rtr), None);
    }

    #[test]
    fn a_reliable_connection_needs_these() {
        use AttrMask as M;
        let (needs, _) = rule(QpKind::Rc, State::Init, State::Rtr).expect("a way");
        let path = M::AV | M::PATH_MTU | M::DEST_QPN | M::RQ_PSN;
        assert_eq!(needs, path | M::MAX_DEST_RD_ATOMIC | M::MIN_RNR_TIMER);
        let (needs, _) = rule(QpKind::Ud, State::Reset, State::Init).expect("a way");
        assert_eq!(needs, M::PKEY_INDEX | M::PORT | M::QKEY);
    }

    #[test]
    fn times_are_those_of_the_specification() {
        assert_eq!(rnr_time(12), Duration::from_micros(640));
        assert_eq!(rnr_time(0), Duration::from_micros(655_360));
        assert_eq!(rnr_time(31), Duration::from_micros(491_520));
        let timeout = |timeout| Attributes { timeout, ..Attributes::default() }.ack_timeout();
        assert_eq!(timeout(14), Some(Duration::from_nanos(67_108_864)));
        assert_eq!(timeout(0), None);
    }
}
