//! Packing keeps every field of every capability; masks and data follow the manual.

use crate::cap::{
    Asid, Cap, Mapping, RawCap, TableLevel, Zombie, ZombieKind, ZombieState, low_bits,
};
use crate::memory::{PhysAddr, Ref};
use d3os_abi::{CNodeCapData, CapRights, FrameSize};
use proptest::prelude::*;

/// The slow, obvious form of what [`RawCap`] does with bits.
impl Cap {
    pub(crate) fn mask_rights(mut self, mask: CapRights) -> Self {
        match &mut self {
            Self::Endpoint { rights, .. } | Self::Notification { rights, .. } => {
                *rights = rights.and(mask);
            }
            Self::Reply { can_grant, .. } => *can_grant &= mask.contains(CapRights::GRANT),
            Self::Frame { rights, .. } => {
                let reads = rights.and(mask).contains(CapRights::READ);
                *rights = if reads { rights.and(mask) } else { CapRights::NONE };
            }
            _ => {}
        }
        self
    }

    pub(crate) fn with_data(mut self, data: u64) -> Option<Self> {
        match &mut self {
            Self::Endpoint { badge, .. } | Self::Notification { badge, .. } if *badge == 0 => {
                *badge = data;
                Some(self)
            }
            _ => self.moved_with_data(data),
        }
    }

    pub(crate) fn moved_with_data(mut self, data: u64) -> Option<Self> {
        match &mut self {
            Self::Endpoint { .. } | Self::Notification { .. } => return None,
            Self::CNode { radix, guard_size, guard, .. } => {
                let data = CNodeCapData(data);
                *guard_size = data.guard_size();
                *guard = data.guard() & low_bits(*guard_size);
                if *guard_size + *radix > 64 {
                    return None;
                }
            }
            _ => {}
        }
        Some(self)
    }
}

fn address(align: u8) -> impl Strategy<Value = PhysAddr> {
    (0u64..1 << (47 - align)).prop_map(move |n| PhysAddr(n << align))
}

fn object<T: 'static>(align: u8) -> impl Strategy<Value = Ref<T>> {
    address(align).prop_map(Ref::at)
}

fn mapping() -> impl Strategy<Value = Option<Mapping>> {
    prop::option::of(
        (0u16..4096, 0u64..1 << 35)
            .prop_map(|(asid, page)| Mapping { asid: Asid(asid), vaddr: page << 12 }),
    )
}

fn rights() -> impl Strategy<Value = CapRights> {
    (0u64..16).prop_map(CapRights::from_word)
}

fn untyped() -> impl Strategy<Value = Cap> {
    (4u8..48, any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(size_bits, at, used, device)| {
            let base = PhysAddr((at & ((1 << 47) - 1)) >> size_bits << size_bits);
            let free = (used % ((1 << (size_bits - 4)) + 1)) << 4;
            Cap::Untyped { base, size_bits, device, free }
        },
    )
}

fn zombie() -> impl Strategy<Value = Cap> {
    let kind = prop_oneof![Just(ZombieKind::Tcb), (1u8..42).prop_map(ZombieKind::CNode)];
    let state = prop_oneof![
        object(5).prop_map(|cursor| ZombieState::Active { cursor }),
        object(5).prop_map(|previous| ZombieState::Waiting { previous }),
    ];
    let next = prop::option::of((1u64..1 << 42).prop_map(|n| Ref::at(PhysAddr(n << 5))));
    (kind, state, next).prop_map(|(kind, state, next)| Cap::Zombie(Zombie { kind, state, next }))
}

fn memory_cap() -> impl Strategy<Value = Cap> {
    let size = prop::sample::select(vec![FrameSize::Small, FrameSize::Large, FrameSize::Huge]);
    let level = prop::sample::select(vec![
        TableLevel::PageTable,
        TableLevel::PageDirectory,
        TableLevel::Pdpt,
    ]);
    prop_oneof![
        (address(12), size, 0usize..3, any::<bool>(), mapping()).prop_map(
            |(base, size, rights, device, mapping)| {
                let rights = [CapRights::NONE, CapRights::READ, CapRights::READ_WRITE][rights];
                Cap::Frame { base, size, rights, device, mapping }
            }
        ),
        (object(12), level, mapping()).prop_map(|(object, level, mapping)| Cap::Table {
            object,
            level,
            mapping
        }),
        (object(12), prop::option::of(0u16..4096))
            .prop_map(|(root, asid)| Cap::VSpace { root, asid: asid.map(Asid) }),
        (object(12), 0u16..4096)
            .prop_map(|(object, base)| Cap::AsidPool { object, base: Asid(base) }),
    ]
}

fn any_cap() -> impl Strategy<Value = Cap> {
    let plain = [Cap::Null, Cap::AsidControl, Cap::IrqControl, Cap::IoPortControl, Cap::Domain];
    prop_oneof![
        untyped(),
        zombie(),
        memory_cap(),
        prop::sample::select(plain.to_vec()),
        (object(4), any::<u64>(), rights()).prop_map(|(object, badge, rights)| Cap::Endpoint {
            object,
            badge,
            rights
        }),
        (object(6), any::<u64>(), rights()).prop_map(|(object, badge, rights)| Cap::Notification {
            object,
            badge,
            rights
        }),
        (object(5), any::<bool>()).prop_map(|(object, can_grant)| Cap::Reply { object, can_grant }),
        (object(6), 1u8..43, 0u8..64, any::<u64>()).prop_map(
            |(object, radix, guard_size, guard)| {
                Cap::CNode { object, radix, guard_size, guard }
            }
        ),
        object(11).prop_map(|object| Cap::Thread { object }),
        (object(7), 7u8..48)
            .prop_map(|(object, size_bits)| Cap::SchedContext { object, size_bits }),
        any::<u32>().prop_map(|core| Cap::SchedControl { core }),
        any::<u8>().prop_map(|vector| Cap::IrqHandler { vector }),
        any::<(u16, u16)>().prop_map(|(first, last)| Cap::IoPort { first, last }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn packing_loses_nothing(cap in any_cap()) {
        let raw = RawCap::from(cap);
        prop_assert_eq!(raw.unpack(), cap);
        prop_assert_eq!(raw.is_null(), cap == Cap::Null);
    }

    #[test]
    fn bits_are_changed_as_fields_are(cap in any_cap(), word in any::<u64>()) {
        let (raw, mask) = (RawCap::from(cap), CapRights::from_word(word));
        prop_assert_eq!(raw.mask_rights(mask).unpack(), cap.mask_rights(mask));
        prop_assert_eq!(raw.with_data(word).map(RawCap::unpack), cap.with_data(word));
        prop_assert_eq!(raw.moved_with_data(word).map(RawCap::unpack), cap.moved_with_data(word));
    }

    #[test]
    fn objects_are_compared_by_bits(cap in any_cap(), other in any_cap(), word in any::<u64>()) {
        let altered = cap.with_data(word).unwrap_or(cap).mask_rights(CapRights::from_word(word));
        for other in [other, altered, cap] {
            let same = RawCap::from(cap).same_object(RawCap::from(other));
            prop_assert_eq!(same, cap.same_object(other), "{:?}, {:?}", cap, other);
        }
    }

    #[test]
    fn progress_of_clearing_is_kept_beside_the_capability(cap in untyped(), granules in 0u64..1 << 28) {
        let raw = RawCap::from(cap);
        prop_assert_eq!(raw.cleared(), 0);
        let other = raw.with_cleared(granules);
        prop_assert_eq!((other.unpack(), other.cleared()), (cap, granules));
        prop_assert_eq!(other.with_cleared(0), raw);
    }
}

const ENDPOINT: Ref<crate::objects::Endpoint> = Ref::at(PhysAddr(0x1000));

#[test]
fn a_badge_is_set_once_and_never_by_moving() {
    let cap = |badge| Cap::Endpoint { object: ENDPOINT, badge, rights: CapRights::ALL };
    assert_eq!(cap(0).with_data(7), Some(cap(7)));
    assert_eq!(cap(0).with_data(0), Some(cap(0)));
    assert_eq!(cap(7).with_data(7), None);
    assert_eq!(cap(0).moved_with_data(7), None);
    let note =
        Cap::Notification { object: ENDPOINT.cast(), badge: 1, rights: CapRights::READ_WRITE };
    assert_eq!(note.with_data(2), None);
}

#[test]
fn a_guard_fits_into_the_word_beside_the_radix() {
    let cap =
        |guard_size, guard| Cap::CNode { object: ENDPOINT.cast(), radix: 8, guard_size, guard };
    let with = |guard, size| cap(0, 0).moved_with_data(CNodeCapData::new(guard, size).0);
    assert_eq!(with(0xabcd, 8), Some(cap(8, 0xcd)));
    assert_eq!(with(0xabcd, 56), Some(cap(56, 0xabcd)));
    assert_eq!(with(0, 57), None);
    assert_eq!(cap(9, 1).with_data(0), Some(cap(0, 0)));
}

#[test]
fn data_is_ignored_by_types_without_badge_or_guard() {
    let cap = Cap::Thread { object: ENDPOINT.cast() };
    assert_eq!((cap.with_data(9), cap.moved_with_data(9)), (Some(cap), Some(cap)));
}

#[test]
fn rights_only_shrink_and_writing_needs_reading() {
    let cap = |rights| Cap::Endpoint { object: ENDPOINT, badge: 0, rights };
    assert_eq!(cap(CapRights::READ).mask_rights(CapRights::WRITE), cap(CapRights::NONE));
    assert_eq!(cap(CapRights::ALL).mask_rights(CapRights::READ_WRITE), cap(CapRights::READ_WRITE));
    let frame = |rights| {
        let (base, size) = (PhysAddr(0), FrameSize::Small);
        Cap::Frame { base, size, rights, device: false, mapping: None }
    };
    let full = frame(CapRights::READ_WRITE);
    assert_eq!(full.mask_rights(CapRights::READ), frame(CapRights::READ));
    assert_eq!(full.mask_rights(CapRights::WRITE), frame(CapRights::NONE));
    let reply = |can_grant| Cap::Reply { object: ENDPOINT.cast(), can_grant };
    assert_eq!(reply(true).mask_rights(CapRights::READ_WRITE), reply(false));
    assert_eq!(reply(true).mask_rights(CapRights::ALL), reply(true));
}
