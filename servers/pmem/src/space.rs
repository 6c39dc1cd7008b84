//! Which pages are free: extents, none of which touches another.
//!
//! Both maps and the count change in the transaction that gives the pages to an object or takes them
//! from one, so that no page is lost and none is given twice. Nothing is built when the pool is opened.
//!
//! Of a damaged pool the maps may say anything: sums do not wrap, and whoever takes pages looks where
//! they are. Pages are free if both maps say so; if only one does, nothing is done with them.

use libd3os_object::view::View;
use libd3os_object::{Editor, PointerError};

use crate::pool::PoolError;
use crate::system::{self, Extent, System};

type Edit<'t> = Editor<'t, System>;

/// Takes the shortest free extent that is long enough, and of it the beginning; nothing if there is
/// none.
pub(crate) fn take(editor: &mut Edit<'_>, pages: u64) -> Result<Option<Extent>, PoolError> {
    let Some(found) = shortest(editor, pages)? else { return Ok(None) };
    remove(editor, found)?;
    let rest = Extent { first: found.first.saturating_add(pages), pages: found.pages - pages };
    insert(editor, rest)?;
    Ok(Some(Extent { pages, ..found }))
}

/// Takes so many pages behind an extent; false if they are not all free.
pub(crate) fn take_behind(
    editor: &mut Edit<'_>,
    extent: Extent,
    pages: u64,
) -> Result<bool, PoolError> {
    let Some(found) = starting_at(editor, extent.end())? else { return Ok(false) };
    if found.pages < pages {
        return Ok(false);
    }
    remove(editor, found)?;
    insert(
        editor,
        Extent { first: found.first.saturating_add(pages), pages: found.pages - pages },
    )?;
    Ok(true)
}

/// Gives an extent back, and joins it with those that it touches.
pub(crate) fn give(editor: &mut Edit<'_>, extent: Extent) -> Result<(), PoolError> {
    let mut whole = extent;
    if let Some(before) = ending_at(editor, extent.first)? {
        remove(editor, before)?;
        whole = Extent { first: before.first, pages: before.pages.saturating_add(whole.pages) };
    }
    if let Some(behind) = starting_at(editor, extent.end())? {
        remove(editor, behind)?;
        whole.pages = whole.pages.saturating_add(behind.pages);
    }
    insert(editor, whole)
}

/// The shortest free extent of at least so many pages; of several, the first.
fn shortest(view: &Edit<'_>, pages: u64) -> Result<Option<Extent>, PointerError> {
    let mut found = None;
    system::by_length(view.base_pointer()).for_each_from(view, &key(pages, 0), |key, _| {
        found = Some(extent(*key));
        false
    })?;
    Ok(found)
}

fn ending_at(view: &Edit<'_>, end: u64) -> Result<Option<Extent>, PointerError> {
    let first = system::by_end(view.base_pointer()).get(view, &end)?.copied();
    Ok(first.and_then(|first| Some(Extent { first, pages: end.checked_sub(first)? })))
}

fn starting_at(view: &Edit<'_>, first: u64) -> Result<Option<Extent>, PointerError> {
    let mut next = None;
    system::by_end(view.base_pointer()).for_each_from(
        view,
        &first.saturating_add(1),
        |end, found| {
            next = (*found == first).then(|| Extent { first, pages: end.saturating_sub(first) });
            false
        },
    )?;
    Ok(next)
}

/// Adds a free extent that touches no other one.
pub(crate) fn insert(editor: &mut Edit<'_>, extent: Extent) -> Result<(), PoolError> {
    if extent.pages == 0 {
        return Ok(());
    }
    let base = editor.base_pointer();
    let is_new = system::by_end(base).insert(editor, extent.end(), extent.first)?;
    let key = key(extent.pages, extent.first);
    if !system::by_length(base).insert(editor, key, extent.first)? || !is_new {
        return Err(PoolError::Damaged(extent));
    }
    let free = *editor.get(system::free(base))?;
    Ok(editor.set(system::free(base), free.saturating_add(extent.pages))?)
}

pub(crate) fn remove(editor: &mut Edit<'_>, extent: Extent) -> Result<(), PoolError> {
    let base = editor.base_pointer();
    let is_by_end = system::by_end(base).get(editor, &extent.end())? == Some(&extent.first);
    let is_by_length = system::by_length(base).remove(editor, &key(extent.pages, extent.first))?;
    if !is_by_end || !is_by_length {
        return Err(PoolError::Damaged(extent));
    }
    system::by_end(base).remove(editor, &extent.end())?;
    let free = *editor.get(system::free(base))?;
    Ok(editor.set(system::free(base), free.saturating_sub(extent.pages))?)
}

/// Longer ones are greater; of those of a length, those further behind.
pub(crate) const fn key(pages: u64, first: u64) -> u128 {
    (pages as u128) << 64 | first as u128
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
const fn extent(key: u128) -> Extent {
    Extent { first: key as u64, pages: (key >> 64) as u64 }
}

/// How many pages are free.
pub(crate) fn free(view: &Edit<'_>) -> Result<u64, PointerError> {
    Ok(*view.get(system::free(view.base_pointer()))?)
}
