//! Draws cells as pixels, and only those that have changed.
//!
//! The screen keeps what it has drawn in each cell. A frame is compared with that: cells that look
//! the same cost a comparison, the others are drawn with `embedded-graphics` into whatever holds
//! the pixels, and the rectangles that changed go to whoever shows them.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::{IntoStorage, Rgb888};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::{Pixel, prelude::PointsIter};
use libd3os::service::console::{Graph, Picture};

use crate::cell::{Cell, Part, Style};
use crate::font::{Font, HEIGHT, WIDTH};
use crate::graph;
use crate::mosaic::{self, Mosaic};
use crate::palette::{CURSOR, GROUND, colours};

/// Pixels between the screen's edge and the cells, at least.
const MARGIN: usize = 6;
/// Pixels between the last line of cells and the status line's cells.
const GAP: usize = 8;
/// Lines of a glyph at which it is underlined and struck through.
const UNDERLINE: usize = 14;
const STRIKE: usize = 8;
/// Pixels that are written in one piece: a glyph's line.
const SPAN: usize = WIDTH;

/// Where pixels are kept, as 0x00RRGGBB.
pub trait Pixels {
    /// Writes pixels of one line from a place on. What is outside is left out.
    fn write(&mut self, x: usize, y: usize, pixels: &[u32]);
    /// Writes the same pixel `width` times. What is outside is left out.
    fn fill(&mut self, x: usize, y: usize, width: usize, pixel: u32);
}

/// A rectangle of pixels that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width, not 0.
    pub width: u32,
    /// Height, not 0.
    pub height: u32,
}

/// How a screen of some size is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Width, in pixels.
    pub width: usize,
    /// Height, in pixels.
    pub height: usize,
    /// Cells in a line.
    pub columns: usize,
    /// Lines of a terminal, the status line not counted.
    pub rows: usize,
}

impl Layout {
    /// The division of a screen of this size in pixels, if it holds a cell and a status line.
    #[must_use]
    pub fn of(width: usize, height: usize) -> Option<Self> {
        let columns = width.checked_sub(2 * MARGIN)? / WIDTH;
        let rows = height.checked_sub(MARGIN + GAP + HEIGHT + GAP / 2)? / HEIGHT;
        (columns > 0 && rows > 0).then_some(Self { width, height, columns, rows })
    }

    /// Left edge of the cells.
    fn left(self) -> usize {
        (self.width - self.columns * WIDTH) / 2
    }

    /// Upper edge of a line of cells; line `rows` is the status line.
    fn upper(self, row: usize) -> usize {
        if row < self.rows { MARGIN + row * HEIGHT } else { self.height - HEIGHT - GAP / 2 }
    }

    /// Upper edge of the status line's band.
    fn band(self) -> usize {
        self.upper(self.rows) - GAP / 2
    }
}

/// What is drawn in a cell: two of the same look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Drawn {
    character: char,
    text: Rgb888,
    ground: Rgb888,
    lines: Style,
    /// Whether it is the right half of a character.
    right: bool,
}

impl Drawn {
    fn of(cell: Cell, cursor: bool) -> Self {
        let (text, ground) = colours(cell.look);
        let (text, ground) = if cursor { (GROUND, CURSOR) } else { (text, ground) };
        let lines = cell.look.style & (Style::UNDERLINE | Style::STRUCK);
        let right = cell.part == Part::Right;
        let character = if right { ' ' } else { cell.character };
        // A blank without lines looks the same in any colour of text.
        let text = if character == ' ' && lines.is_empty() { ground } else { text };
        Self { character, text, ground, lines, right }
    }

    /// Nothing, on this ground.
    fn blank(ground: Rgb888) -> Self {
        Self { character: ' ', text: ground, ground, lines: Style::empty(), right: false }
    }
}

/// A screen and what is drawn on it.
#[derive(Debug)]
pub struct Screen {
    layout: Layout,
    font: Font,
    /// Line by line, the status line last; `None` where nothing is known of the pixels.
    drawn: Vec<Option<Drawn>>,
    /// Whether the ground is painted.
    painted: bool,
    /// The graph that is drawn over cells.
    graph: Option<Graph>,
}

impl Screen {
    /// A screen of which nothing is drawn yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let cells = (layout.rows + 1) * layout.columns;
        Self {
            layout,
            font: Font::spleen(),
            drawn: alloc::vec![None; cells],
            painted: false,
            graph: None,
        }
    }

    /// How it is divided.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The text that is drawn in a line, without the blanks at its end.
    #[must_use]
    pub fn text(&self, row: usize) -> String {
        let first = row * self.layout.columns;
        let line = self.drawn.get(first..first + self.layout.columns).unwrap_or_default();
        let shown = line.iter().filter(|cell| !cell.is_some_and(|cell| cell.right));
        let text: String = shown.map(|cell| cell.map_or(' ', |cell| cell.character)).collect();
        String::from(text.trim_end())
    }

    /// Forgets what is drawn: the next frame draws everything.
    pub fn forget(&mut self) {
        self.drawn.fill(None);
        self.painted = false;
        self.graph = None;
    }

    /// Draws what has changed. `cell` tells the cells, line `layout.rows` being the status line,
    /// and whether the cursor is on them; `graph` lies over some of them.
    pub fn draw(
        &mut self,
        pixels: &mut impl Pixels,
        cell: impl Fn(usize, usize) -> (Cell, bool),
        graph: Option<&Graph>,
        band: Rgb888,
    ) -> Vec<Damage> {
        let is_new = self.graph.as_ref() != graph;
        self.graph = graph.cloned();
        let mut canvas = Canvas { pixels, layout: self.layout };
        if !core::mem::replace(&mut self.painted, true) {
            self.paint(&mut canvas, band);
            (0..=self.layout.rows).for_each(|row| _ = self.draw_row(&mut canvas, row, &cell));
            self.draw_graph(&mut canvas);
            return alloc::vec![canvas.all()];
        }
        let mut damage = Vec::new();
        for row in 0..=self.layout.rows {
            if let Some(columns) = self.draw_row(&mut canvas, row, &cell) {
                add(&mut damage, self.damage(row, columns));
            }
        }
        if is_new {
            damage.extend(self.draw_graph(&mut canvas));
        }
        damage
    }

    /// As [`Self::draw`], where the lines above the status line look as they were drawn.
    pub fn draw_status(
        &mut self,
        pixels: &mut impl Pixels,
        cell: impl Fn(usize, usize) -> (Cell, bool),
    ) -> Vec<Damage> {
        let (row, layout) = (self.layout.rows, self.layout);
        let columns = self.draw_row(&mut Canvas { pixels, layout }, row, cell);
        columns.map(|columns| self.damage(row, columns)).into_iter().collect()
    }

    /// Draws the graph, if there is one, and tells where.
    fn draw_graph(&self, canvas: &mut Canvas<'_, impl Pixels>) -> Option<Damage> {
        let (rows, columns) = self.covered();
        let Graph { values, picture, .. } = self.graph.as_ref().filter(|_| !rows.is_empty())?;
        let (x, y) = (self.layout.left() + columns.start * WIDTH, self.layout.upper(rows.start));
        let (width, height) = (columns.len() * WIDTH, rows.len() * HEIGHT);
        let area = rectangle(x, y, width, height);
        let Ok(()) = match picture {
            Picture::Line => graph::draw(values, area, canvas),
            Picture::Tiles { across, links } => {
                mosaic::draw(Mosaic { kinds: values, across: *across, links }, area, canvas)
            }
        };
        (width > 0).then(|| damage(x, y, width, height))
    }

    /// Lines and columns of the cells that the graph hides.
    fn covered(&self) -> (Range<usize>, Range<usize>) {
        let part = |first: u16, count: u16, all: usize| {
            let first = usize::from(first).min(all);
            first..(first + usize::from(count)).min(all)
        };
        let Some(Graph { row, column, rows, columns, .. }) = self.graph else {
            return (0..0, 0..0);
        };
        (part(row, rows, self.layout.rows), part(column, columns, self.layout.columns))
    }

    /// Draws what has changed of a line, and tells the first changed column and the one behind the
    /// last.
    fn draw_row(
        &mut self,
        canvas: &mut Canvas<'_, impl Pixels>,
        row: usize,
        cell: impl Fn(usize, usize) -> (Cell, bool),
    ) -> Option<(usize, usize)> {
        let mut changed: Option<(usize, usize)> = None;
        let (rows, columns) = self.covered();
        for column in 0..self.layout.columns {
            if rows.contains(&row) && columns.contains(&column) {
                *self.drawn.get_mut(row * self.layout.columns + column)? = None;
                continue;
            }
            let (cell, cursor) = cell(row, column);
            let wanted = Drawn::of(cell, cursor);
            let place = self.drawn.get_mut(row * self.layout.columns + column)?;
            if *place != Some(wanted) {
                *place = Some(wanted);
                self.draw_cell(canvas, row, column, wanted);
                changed = Some((changed.map_or(column, |(first, _)| first), column + 1));
            }
        }
        changed
    }

    fn draw_cell(
        &self,
        canvas: &mut Canvas<'_, impl Pixels>,
        row: usize,
        column: usize,
        drawn: Drawn,
    ) {
        let area =
            rectangle(self.layout.left() + column * WIDTH, self.layout.upper(row), WIDTH, HEIGHT);
        if drawn == Drawn::blank(drawn.ground) {
            let Ok(()) = canvas.fill_solid(&area, drawn.ground);
            return;
        }
        let glyph = self.font.glyph(drawn.character);
        let mut pixels = [drawn.ground; WIDTH * HEIGHT];
        for (line, span) in pixels.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            let bits = glyph[line] | drawn.line(line);
            for (x, pixel) in span.iter_mut().enumerate() {
                if bits >> (WIDTH - 1 - x) & 1 == 1 {
                    *pixel = drawn.text;
                }
            }
        }
        let Ok(()) = canvas.fill_contiguous(&area, pixels);
    }

    /// Paints the ground of everything, upon which only what is not blank has to be drawn.
    fn paint(&mut self, canvas: &mut Canvas<'_, impl Pixels>, band: Rgb888) {
        let Layout { width, height, columns, rows } = self.layout;
        let edge = self.layout.band();
        let Ok(()) = canvas.fill_solid(&rectangle(0, 0, width, edge), GROUND);
        let Ok(()) = canvas.fill_solid(&rectangle(0, edge, width, height - edge), band);
        let (text, status) = self.drawn.split_at_mut(rows * columns);
        text.fill(Some(Drawn::blank(GROUND)));
        status.fill(Some(Drawn::blank(band)));
    }

    fn damage(&self, row: usize, (first, end): (usize, usize)) -> Damage {
        damage(
            self.layout.left() + first * WIDTH,
            self.layout.upper(row),
            (end - first) * WIDTH,
            HEIGHT,
        )
    }
}

impl Drawn {
    fn line(self, line: usize) -> u8 {
        let under = line == UNDERLINE && self.lines.contains(Style::UNDERLINE);
        let through = line == STRIKE && self.lines.contains(Style::STRUCK);
        if under || through { 0xff } else { 0 }
    }
}

/// Adds a rectangle; one that continues the last downwards joins it if little is added thereby.
fn add(all: &mut Vec<Damage>, next: Damage) {
    if let Some(last) = all.last_mut().filter(|last| last.y + last.height == next.y) {
        let x = last.x.min(next.x);
        let width = (last.x + last.width).max(next.x + next.width) - x;
        let height = last.height + next.height;
        let apart = u64::from(last.width) * u64::from(last.height)
            + u64::from(next.width) * u64::from(next.height);
        if u64::from(width) * u64::from(height) <= 2 * apart {
            *last = Damage { x, y: last.y, width, height };
            return;
        }
    }
    all.push(next);
}

/// Where `embedded-graphics` draws.
struct Canvas<'p, P> {
    pixels: &'p mut P,
    layout: Layout,
}

impl<P: Pixels> Canvas<'_, P> {
    fn all(&self) -> Damage {
        damage(0, 0, self.layout.width, self.layout.height)
    }
}

impl<P> OriginDimensions for Canvas<'_, P> {
    fn size(&self) -> Size {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Size::new(number(self.layout.width), number(self.layout.height))
    }
}

impl<P: Pixels> DrawTarget for Canvas<'_, P> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        let inside = self.bounding_box();
        for Pixel(point, colour) in pixels.into_iter().filter(|pixel| inside.contains(pixel.0)) {
            let (x, y) = place(point);
            self.pixels.write(x, y, &[colour.into_storage()]);
        }
        Ok(())
    }

    fn fill_contiguous<I: IntoIterator<Item = Rgb888>>(
        &mut self,
        area: &Rectangle,
        colours: I,
    ) -> Result<(), Infallible> {
        if self.bounding_box().intersection(area) != *area || area.size.width as usize > SPAN {
            return self
                .draw_iter(area.points().zip(colours).map(|(at, colour)| Pixel(at, colour)));
        }
        let (mut colours, (x, y)) = (colours.into_iter(), place(area.top_left));
        let width = area.size.width as usize;
        for line in 0..area.size.height as usize {
            let mut span = [0; SPAN];
            let span = &mut span[..width];
            let wanted = span.iter_mut().zip(&mut colours);
            wanted.for_each(|(to, from)| *to = from.into_storage());
            self.pixels.write(x, y + line, span);
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Infallible> {
        let area = self.bounding_box().intersection(area);
        let (x, y) = place(area.top_left);
        let (width, height) = (area.size.width as usize, area.size.height as usize);
        let pixel = colour.into_storage();
        (y..y + height).for_each(|line| self.pixels.fill(x, line, width, pixel));
        Ok(())
    }
}

/// A point's place; points of the screen are not negative.
fn place(point: Point) -> (usize, usize) {
    let number = |value: i32| usize::try_from(value).unwrap_or(0);
    (number(point.x), number(point.y))
}

fn rectangle(x: usize, y: usize, width: usize, height: usize) -> Rectangle {
    let at = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let long = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Rectangle::new(Point::new(at(x), at(y)), Size::new(long(width), long(height)))
}

fn damage(x: usize, y: usize, width: usize, height: usize) -> Damage {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Damage { x: number(x), y: number(y), width: number(width), height: number(height) }
}
