//! `obj map`: what an object consists of, as tables; on the screen as a picture before.
//!
//! A tile of the picture is a page, or several where there are many; the lines are pointers inside the
//! object.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::object::fot::Target;
use libd3os::object::heap::{Area, Purpose};
use libd3os::object::layout::PAGE_BYTES;
use libd3os::object::map::{ObjectMap, Pointer};
use libd3os::service::console::{GRAPH_LINKS, GRAPH_VALUES, Graph, Picture};

use super::super::CommandError;
use super::super::log::visible;
use crate::live::{Pace, show};
use crate::session::{Mode, Session};
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::{bytes, counted};

/// Milliseconds from one look at the keys to the next.
const PACE_MS: u64 = 1_000;
/// Tiles in a row of the picture, cells of a tile.
const ACROSS: usize = 16;
const TILE: (usize, usize) = (4, 1);

/// What a tile stands for: its colour's number, what stands in its place where there are no graphics, and
/// its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    Free,
    Header,
    Large,
    Small,
    Links,
}

const TILES: [(Tile, u16, char, &str); 5] = [
    (Tile::Header, 1, 'H', "header"),
    (Tile::Large, 2, 'L', "large block"),
    (Tile::Small, 3, 'S', "small blocks"),
    (Tile::Links, 4, 'F', "table of other objects"),
    (Tile::Free, 0, '·', "free"),
];

pub(super) fn run(session: &mut Session<'_>, path: &str) -> Result<(), CommandError> {
    let map = session.system.map_object(path)?;
    let picture = Drawing::new(path, &map);
    if matches!(session.mode, Mode::Interactive { .. })
        && session.system.draw_graph(picture.graph()).is_ok()
    {
        let pace = Pace { interval_ms: PACE_MS, frames: None };
        let shown = show(session, pace, |_| Ok(picture.text()));
        let _gone = session.system.draw_graph(Graph::default());
        shown?;
        session.line("");
    }
    tables(session, &map);
    Ok(())
}

/// What each page of an object is for, from its header on.
fn pages(map: &ObjectMap) -> Vec<Tile> {
    let count = usize::try_from(map.bytes / PAGE_BYTES).unwrap_or(0);
    let mut pages = alloc::vec![Tile::Links; count];
    pages.iter_mut().take(2).for_each(|page| *page = Tile::Header);
    for Area { page, pages: long, purpose } in &map.areas {
        let tile = match purpose {
            Purpose::Small { .. } => Tile::Small,
            Purpose::Large => Tile::Large,
            Purpose::Free => Tile::Free,
        };
        let (first, long) = (*page as usize, *long as usize);
        pages.iter_mut().skip(first).take(long).for_each(|page| *page = tile);
    }
    // The guard page is not there.
    pages.into_iter().skip(1).collect()
}

/// A picture of an object.
struct Drawing {
    title: String,
    tiles: Vec<Tile>,
    links: Vec<(u8, u8)>,
}

impl Drawing {
    fn new(path: &str, map: &ObjectMap) -> Self {
        let pages = pages(map);
        let in_tile = pages.len().div_ceil(GRAPH_VALUES).max(1);
        let tiles = pages.chunks(in_tile).map(first_in_use).collect();
        let of_page = counted(in_tile as u64, "page", "pages");
        let title = format!("{}: a tile is {of_page}, a line a pointer", visible(path));
        Self { title, tiles, links: links(&map.pointers, in_tile) }
    }

    fn rows(&self) -> usize {
        self.tiles.len().div_ceil(ACROSS)
    }

    /// What is drawn over the tiles' letters, below the title.
    fn graph(&self) -> Graph {
        let number = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        let (across, down) = TILE;
        Graph {
            row: 1,
            column: 0,
            rows: number(self.rows() * down),
            columns: number(ACROSS * across),
            values: self.tiles.iter().map(|tile| tile.number()).collect(),
            picture: Picture::Tiles { across: number(ACROSS), links: self.links.clone() },
        }
    }

    /// The title, the tiles as letters, and what the letters mean.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for row in self.tiles.chunks(ACROSS) {
            let letters = row.iter().map(|tile| format!("{:<1$}", tile.letter(), TILE.0));
            text.push_str(letters.collect::<String>().trim_end());
            text.push('\n');
        }
        for (tile, _, letter, words) in TILES {
            let count = self.tiles.iter().filter(|other| **other == tile).count();
            text.push_str(&format!("{letter} {words}: {count}\n"));
        }
        text
    }
}

impl Tile {
    fn known(self) -> (u16, char) {
        let found = TILES.iter().find(|(tile, ..)| *tile == self);
        found.map_or((0, ' '), |(_, number, letter, _)| (*number, *letter))
    }

    fn number(self) -> u16 {
        self.known().0
    }

    fn letter(self) -> char {
        self.known().1
    }
}

/// Several pages are shown as the first of them that is not free.
fn first_in_use(pages: &[Tile]) -> Tile {
    pages.iter().copied().find(|tile| *tile != Tile::Free).unwrap_or(Tile::Free)
}

/// Pointers inside the object from tile to tile, each way once.
fn links(pointers: &[Pointer], in_tile: usize) -> Vec<(u8, u8)> {
    let tile = |offset: u64| {
        let page = usize::try_from(offset / PAGE_BYTES).ok()?.checked_sub(1)?;
        u8::try_from(page / in_tile).ok()
    };
    let inside = pointers.iter().filter(|pointer| pointer.entry == 0);
    let ways = inside.filter_map(|pointer| Some((tile(pointer.at)?, tile(pointer.to)?)));
    let mut ways: Vec<_> = ways.filter(|(from, to)| from != to).collect();
    ways.sort_unstable();
    ways.dedup();
    ways.truncate(GRAPH_LINKS);
    ways
}

fn tables(session: &mut Session<'_>, map: &ObjectMap) {
    session.table(&areas(map));
    if !map.entries.is_empty() {
        session.line("");
        session.table(&entries(map));
    }
    if !map.pointers.is_empty() {
        session.line("");
        session.table(&pointers(map));
    }
    if map.more {
        session.painted_line(Role::Faint, "(there is more than is listed)");
    }
}

fn areas(map: &ObjectMap) -> Table<4> {
    let mut table = Table::new([
        Column::right("AT"),
        Column::right("SIZE"),
        Column::left("PAGES"),
        Column::elastic("TAKEN"),
    ]);
    table.row(area(1, 1, "header", String::new()));
    for Area { page, pages, purpose } in &map.areas {
        let (what, taken) = match purpose {
            Purpose::Small { bytes: size, blocks, taken } => {
                ("small blocks", format!("{taken} of {blocks}, {} each", bytes(*size)))
            }
            Purpose::Large => ("large block", "1 of 1".to_string()),
            Purpose::Free => ("free", String::new()),
        };
        table.row(area((*page).into(), (*pages).into(), what, taken));
    }
    let end = map.areas.last().map_or(2, |last| u64::from(last.page) + u64::from(last.pages));
    let left = (map.bytes / PAGE_BYTES).saturating_sub(end);
    if left > 0 && !map.more {
        table.row(area(end, left, "table of other objects", map.entries.len().to_string()));
    }
    table
}

fn area(page: u64, pages: u64, what: &str, taken: String) -> [Cell; 4] {
    [
        format!("{:#x}", page * PAGE_BYTES).into(),
        bytes(pages * PAGE_BYTES).into(),
        what.into(),
        taken.into(),
    ]
}

fn entries(map: &ObjectMap) -> Table<3> {
    let mut table =
        Table::new([Column::right("ENTRY"), Column::left("RIGHTS"), Column::elastic("OBJECT")]);
    for (number, entry) in &map.entries {
        let target = match &entry.target {
            Target::Object(id) => id.to_string(),
            Target::Name { name, version } => {
                format!("{}, by names of version {version}", visible(name))
            }
        };
        table.row([number.to_string().into(), format!("{:?}", entry.rights).into(), target.into()]);
    }
    table
}

fn pointers(map: &ObjectMap) -> Table<3> {
    let mut table =
        Table::new([Column::right("AT"), Column::left("LEADS TO"), Column::elastic("POINTER")]);
    for Pointer { at, name, entry, to } in &map.pointers {
        let to = match entry {
            0 => format!("{to:#x}"),
            entry => format!("{to:#x} by entry {entry}"),
        };
        table.row([format!("{at:#x}").into(), to.into(), visible(name).into()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(areas: &[(u32, u32, Purpose)], pages: u64) -> ObjectMap {
        let areas = areas.iter().map(|(page, pages, purpose)| Area {
            page: *page,
            pages: *pages,
            purpose: *purpose,
        });
        let pointer = |at, to| Pointer { at, name: "a".into(), entry: 0, to };
        ObjectMap {
            bytes: pages * PAGE_BYTES,
            areas: areas.collect(),
            entries: Vec::new(),
            pointers: [pointer(0x2040, 0x3040), pointer(0x2048, 0x3080), pointer(0x2050, 0x2060)]
                .into(),
            more: false,
        }
    }

    #[test]
    fn a_tile_is_a_page_from_the_header_on() {
        let drawing = Drawing::new("x", &map(&[(2, 1, Purpose::Large), (3, 2, Purpose::Free)], 6));
        let expected = [Tile::Header, Tile::Large, Tile::Free, Tile::Free, Tile::Links];
        assert_eq!(drawing.tiles, expected);
        assert_eq!(drawing.links, [(1, 2)], "each way once, and none to itself");
        let graph = drawing.graph();
        assert_eq!((graph.rows, graph.columns, graph.values), (1, 64, vec![1, 2, 0, 0, 4]));
        let text = drawing.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "x: a tile is 1 page, a line a pointer");
        assert_eq!((lines[1], lines[6]), ("H   L   ·   ·   F", "· free: 2"));
    }

    #[test]
    fn many_pages_share_a_tile() {
        let areas = [(2, 1, Purpose::Large), (3, 1000, Purpose::Free)];
        let drawing = Drawing::new("x", &map(&areas, 1003));
        assert_eq!((drawing.tiles.len(), drawing.tiles[0]), (251, Tile::Header));
        assert_eq!((drawing.tiles[1], drawing.links.len()), (Tile::Free, 0));
        assert!(drawing.text().starts_with("x: a tile is 4 pages"));
    }
}
