//! Whether what is in the maps of the system object is found there.

use alloc::vec::Vec;

use libd3os_object::view::View;
use libd3os_object::{ObjectId, PPtr, PointerError};

use super::{Damage, MapName};
use crate::map;
use crate::system::{self, System};

pub(super) fn check(
    view: &impl View,
    base: PPtr<System>,
    damage: &mut Vec<Damage>,
) -> Result<(), PointerError> {
    check_objects(view, base, damage)?;
    let maps = [
        (MapName::ByEnd, map::is_whole(view, system::by_end(base))?),
        (MapName::ByLength, map::is_whole(view, system::by_length(base))?),
        (MapName::Orphans, map::is_whole(view, system::orphans(base))?),
        (MapName::Principals, map::is_whole(view, system::principals(base))?),
        (MapName::Names, map::is_whole(view, system::names(base))?),
        (MapName::Permits, map::is_whole(view, system::permits(base))?),
        (MapName::Pending, map::is_whole(view, system::pending(base))?),
    ];
    damage.extend(maps.into_iter().filter(|(_, is_whole)| !is_whole).map(told));
    Ok(())
}

const fn told((name, _): (MapName, bool)) -> Damage {
    Damage::Map(name)
}

fn check_objects(
    view: &impl View,
    base: PPtr<System>,
    damage: &mut Vec<Damage>,
) -> Result<(), PointerError> {
    let mut ids = Vec::new();
    system::objects(base).for_each(view, |id, sealed| {
        ids.push(*id);
        damage.extend(sealed.open(id).is_none().then_some(Damage::Entry(ObjectId::new(*id))));
    })?;
    let mut is_whole = system::objects(base).len(view)? == ids.len() as u64;
    for id in &ids {
        is_whole &= system::objects(base).find(view, id)?.is_some();
    }
    damage.extend((!is_whole).then_some(Damage::Map(MapName::Objects)));
    Ok(())
}
