//! Whether principals are told apart, and permitted nothing with what is not there.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use libd3os_object::view::View;
use libd3os_object::{PPtr, PointerError};

use super::Damage;
use crate::owners::Principal;
use crate::sealed::Sealed;
use crate::system::{self, System};

pub(super) fn check(
    view: &impl View,
    base: PPtr<System>,
    damage: &mut Vec<Damage>,
) -> Result<(), PointerError> {
    let mut objects = BTreeSet::new();
    system::permits(base).for_each(view, |permit, sealed| {
        objects.insert((permit.object(), sealed.open(permit).is_some()));
    })?;
    for (id, is_right) in objects {
        if !is_right || system::objects(base).get(view, &id.number())?.is_none() {
            damage.push(Damage::Permit(id));
        }
    }
    let holders = view.get(system::holders(base))?.iter().zip(0_u64..);
    let is_wrong = |(sealed, slot): &(&Sealed<Principal>, u64)| sealed.open(slot).is_none();
    damage.extend(holders.filter(is_wrong).map(|(_, slot)| Damage::Holder(slot)));
    let (mut by_name, mut by_number) = (BTreeMap::new(), BTreeMap::new());
    system::principals(base).for_each(view, |name, number| {
        by_name.insert(*number, *name);
    })?;
    system::names(base).for_each(view, |number, name| {
        by_number.insert(*number, *name);
    })?;
    let are_alike = by_name == by_number && by_number.values().all(|name| name.as_str().is_some());
    let are_numbered = by_number.keys().copied().eq(1..=by_number.len() as u64);
    if !are_alike || !are_numbered {
        damage.push(Damage::Principals);
    }
    Ok(())
}
