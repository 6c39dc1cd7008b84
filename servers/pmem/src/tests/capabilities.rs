//! Capabilities: examples, and against a list that is searched.

use std::collections::{BTreeMap, BTreeSet};

use libd3os_object::ObjectId;
use proptest::prelude::*;

use crate::{Capabilities, Capability, CapabilityError, Loss, Rights};

const QUOTA: u32 = 6;

const fn object(number: u128) -> ObjectId {
    ObjectId::new(number)
}

#[test]
fn what_is_derived_is_smaller_and_ends_with_its_source() {
    let mut all = Capabilities::new(QUOTA);
    let (shell, editor, viewer) = (1, 2, 3);
    let own = all.issue(shell, object(7), Rights::all()).expect("few");
    let some = Rights::READ | Rights::WRITE | Rights::GRANT;
    let lent = all.delegate(shell, own, editor, some).expect("few");
    let seen = all.delegate(editor, lent, viewer, Rights::READ).expect("few");
    assert_eq!(all.object(viewer, seen, Rights::READ), Ok(object(7)));
    let refused = all.object(viewer, seen, Rights::READ | Rights::WRITE);
    assert_eq!(refused, Err(CapabilityError::Lacks(Rights::WRITE)));
    let refused = all.delegate(viewer, seen, shell, Rights::READ);
    assert_eq!(refused, Err(CapabilityError::Lacks(Rights::GRANT)));
    let refused = all.delegate(editor, lent, viewer, Rights::DELETE);
    assert_eq!(refused, Err(CapabilityError::Lacks(Rights::DELETE)));
    assert_eq!(all.object(shell, seen, Rights::READ), Err(CapabilityError::Unknown));
    assert_eq!(all.holders(object(7)).collect::<Vec<_>>(), [shell, editor, viewer]);

    let lost = |holder, before| Loss { holder, object: object(7), before, after: Rights::empty() };
    let losses = all.revoke(shell, own).expect("its own");
    assert_eq!(losses, [lost(editor, some), lost(viewer, Rights::READ)]);
    assert_eq!(all.object(viewer, seen, Rights::READ), Err(CapabilityError::Unknown));
    assert_eq!(all.object(shell, own, Rights::all()), Ok(object(7)));
    assert_eq!(all.len(), 1);
}

#[test]
fn who_has_it_from_two_loses_it_with_the_second() {
    let mut all = Capabilities::new(QUOTA);
    let one = all.issue(1, object(7), Rights::all()).expect("few");
    let two = all.issue(2, object(7), Rights::all()).expect("few");
    let both = Rights::READ | Rights::WRITE;
    all.delegate(1, one, 3, both).expect("few");
    all.delegate(2, two, 3, Rights::READ).expect("few");
    let loss = |before, after| Loss { holder: 3, object: object(7), before, after };
    assert_eq!(all.revoke(1, one), Ok(vec![loss(both, Rights::READ)]));
    assert_eq!(all.revoke(2, two), Ok(vec![loss(Rights::READ, Rights::empty())]));
}

#[test]
fn nobody_uses_up_what_is_anothers() {
    let mut all = Capabilities::new(QUOTA);
    let own = all.issue(1, object(7), Rights::all()).expect("few");
    for _ in 1..QUOTA {
        all.delegate(1, own, 2, Rights::READ).expect("within the quota");
    }
    assert_eq!(all.delegate(1, own, 2, Rights::READ), Err(CapabilityError::Quota(QUOTA)));
    assert_eq!(all.issue(1, object(8), Rights::READ), Err(CapabilityError::Quota(QUOTA)));
    for _ in 0..QUOTA {
        all.issue(2, object(8), Rights::READ).expect("it has caused none");
    }
    assert_eq!(all.revoke(1, own).map(|losses| losses.len()), Ok(1));
    all.delegate(1, own, 2, Rights::READ).expect("there is room again");
    assert_eq!(all.forget_object(object(7)).len(), 2);
    assert_eq!(all.forget_holder(2).len(), 1);
    assert!(all.is_empty());
}

/// What a capability is, without anything to find it by.
#[derive(Clone, Debug)]
struct Plain {
    capability: Capability,
    holder: u8,
    object: ObjectId,
    rights: Rights,
    parent: Option<Capability>,
}

#[derive(Clone, Debug, Default)]
struct Model {
    list: Vec<Plain>,
}

impl Model {
    fn find(&self, holder: u8, capability: Capability) -> Option<&Plain> {
        self.list.iter().find(|plain| plain.capability == capability && plain.holder == holder)
    }

    fn caused(&self, holder: u8) -> usize {
        self.list.iter().filter(|plain| self.cause(plain) == holder).count()
    }

    /// Who counts it.
    fn cause(&self, plain: &Plain) -> u8 {
        let Some(above) = plain.parent else { return plain.holder };
        let found = self.list.iter().find(|other| other.capability == above);
        found.expect("nothing outlives what it was derived from").holder
    }

    fn rights(&self) -> BTreeMap<(u8, ObjectId), Rights> {
        let mut rights = BTreeMap::new();
        for plain in &self.list {
            *rights.entry((plain.holder, plain.object)).or_insert(Rights::empty()) |= plain.rights;
        }
        rights
    }

    /// Ends all of which this is true, and again and again those whose parent is gone.
    fn end(&mut self, is_ended: impl Fn(&Plain) -> bool) -> Vec<Loss<u8>> {
        let before = self.rights();
        self.list.retain(|plain| !is_ended(plain));
        loop {
            let there: BTreeSet<_> = self.list.iter().map(|plain| plain.capability).collect();
            let count = self.list.len();
            self.list.retain(|plain| plain.parent.is_none_or(|parent| there.contains(&parent)));
            if self.list.len() == count {
                break;
            }
        }
        let now = self.rights();
        let after = |key: &(u8, ObjectId)| now.get(key).copied().unwrap_or(Rights::empty());
        let loss = |(key, before): (&(u8, ObjectId), &Rights)| {
            let (holder, object) = *key;
            Loss { holder, object, before: *before, after: after(key) }
        };
        before.iter().map(loss).filter(|loss| loss.before != loss.after).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Issue(u8, u8, u64),
    Delegate(u8, usize, u8, u64),
    Revoke(u8, usize),
    Close(u8, usize),
    ForgetHolder(u8),
    ForgetObject(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (holder, rights) = (0..4_u8, 0..32_u64);
    prop_oneof![
        3 => (holder.clone(), 0..3_u8, rights.clone()).prop_map(|(h, o, r)| Step::Issue(h, o, r)),
        6 => (holder.clone(), 0..40_usize, holder.clone(), rights)
            .prop_map(|(h, at, to, r)| Step::Delegate(h, at, to, r)),
        2 => (holder.clone(), 0..40_usize).prop_map(|(h, at)| Step::Revoke(h, at)),
        2 => (holder.clone(), 0..40_usize).prop_map(|(h, at)| Step::Close(h, at)),
        1 => holder.prop_map(Step::ForgetHolder),
        1 => (0..3_u8).prop_map(Step::ForgetObject),
    ]
}

type Changed = Result<Vec<Loss<u8>>, CapabilityError>;

fn carry_out(all: &mut Capabilities<u8>, model: &mut Model, step: &Step) -> (Changed, Changed) {
    // Mostly one of the holder's own.
    let pick = |model: &Model, holder: u8, at: usize| {
        let is_candidate = |plain: &&Plain| plain.holder == holder || at >= 36;
        let candidates: Vec<_> = model.list.iter().filter(is_candidate).collect();
        let found = candidates.get(at % candidates.len().max(1));
        found.map_or(Capability::from_number(0), |plain| plain.capability)
    };
    let added = |model: &mut Model, result: Result<Capability, _>, plain: Plain| {
        let is_full = model.caused(model.cause(&plain)) >= QUOTA as usize;
        let found = result.map(|capability| {
            model.list.push(Plain { capability, ..plain });
            vec![]
        });
        (found, if is_full { Err(CapabilityError::Quota(QUOTA)) } else { Ok(vec![]) })
    };
    match *step {
        Step::Issue(holder, number, bits) => {
            let (object, rights) = (object(number.into()), Rights::from_bits_truncate(bits));
            let result = all.issue(holder, object, rights);
            let capability = Capability::from_number(0);
            added(model, result, Plain { capability, holder, object, rights, parent: None })
        }
        Step::Delegate(from, at, holder, bits) => {
            let (source, rights) = (pick(model, from, at), Rights::from_bits_truncate(bits));
            let result = all.delegate(from, source, holder, rights);
            let Some(found) = model.find(from, source).cloned() else {
                return (result.map(|_| vec![]), Err(CapabilityError::Unknown));
            };
            let lacking = (rights | Rights::GRANT) - found.rights;
            if !lacking.is_empty() {
                return (result.map(|_| vec![]), Err(CapabilityError::Lacks(lacking)));
            }
            let (capability, object) = (Capability::from_number(0), found.object);
            added(model, result, Plain { capability, holder, object, rights, parent: Some(source) })
        }
        Step::Revoke(holder, at) => {
            let source = pick(model, holder, at);
            let result = all.revoke(holder, source);
            let known = model.find(holder, source).is_some();
            let mut expected = || Ok(model.end(|plain| plain.parent == Some(source)));
            (result, if known { expected() } else { Err(CapabilityError::Unknown) })
        }
        Step::Close(holder, at) => {
            let source = pick(model, holder, at);
            let result = all.close(holder, source);
            let known = model.find(holder, source).is_some();
            let mut expected = || Ok(model.end(|plain| plain.capability == source));
            (result, if known { expected() } else { Err(CapabilityError::Unknown) })
        }
        Step::ForgetHolder(holder) => {
            (Ok(all.forget_holder(holder)), Ok(model.end(|plain| plain.holder == holder)))
        }
        Step::ForgetObject(number) => {
            let object = object(number.into());
            (Ok(all.forget_object(object)), Ok(model.end(|plain| plain.object == object)))
        }
    }
}

proptest! {
    #[test]
    fn capabilities_are_as_in_a_list(steps in prop::collection::vec(step(), 1..60)) {
        let (mut all, mut model) = (Capabilities::new(QUOTA), Model::default());
        for step in &steps {
            let (found, expected) = carry_out(&mut all, &mut model, step);
            prop_assert_eq!(found, expected, "{:?}", step);
            prop_assert_eq!(all.len(), model.list.len());
            for plain in &model.list {
                let found = all.object(plain.holder, plain.capability, plain.rights);
                prop_assert_eq!(found, Ok(plain.object));
                if let Some(parent) = plain.parent {
                    let parent = model.list.iter().find(|other| other.capability == parent);
                    let parent = parent.expect("nothing outlives what it was derived from");
                    prop_assert!(parent.rights.contains(plain.rights), "it is no greater");
                }
            }
            for ((holder, object), rights) in model.rights() {
                prop_assert_eq!(all.rights(holder, object), rights);
                prop_assert!(all.holders(object).any(|other| other == holder));
            }
        }
    }
}
