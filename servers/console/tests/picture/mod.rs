//! The sample session as a picture, for the tests and for the example that writes it to a file.

use console::render::{Damage, Layout, Pixels, Screen};
use console::status::{BAND, Status};
use console::terminal::Terminal;
use libd3os::service::console::Graph;

/// Pixels in memory.
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u32>,
}

impl Picture {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![0xdead_beef; width * height] }
    }

    /// Red, green, blue, pixel by pixel.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pixels.iter().flat_map(|pixel| pixel.to_be_bytes().into_iter().skip(1)).collect()
    }
}

impl Pixels for Picture {
    fn write(&mut self, x: usize, y: usize, pixels: &[u32]) {
        assert!(x + pixels.len() <= self.width && y < self.height, "outside");
        let at = y * self.width + x;
        self.pixels[at..at + pixels.len()].copy_from_slice(pixels);
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, pixel: u32) {
        assert!(x + width <= self.width && y < self.height, "outside");
        let at = y * self.width + x;
        self.pixels[at..at + width].fill(pixel);
    }
}

/// Draws a terminal with a status line, and tells how many rectangles changed.
pub(crate) fn draw(screen: &mut Screen, terminal: &Terminal, to: &mut Picture) -> usize {
    damage(screen, terminal, to).len()
}

/// Draws a terminal with a status line, and tells what changed.
pub(crate) fn damage(screen: &mut Screen, terminal: &Terminal, to: &mut Picture) -> Vec<Damage> {
    damage_with(screen, terminal, None, to)
}

/// Draws a terminal with a graph over its cells, and tells what changed.
pub(crate) fn damage_with(
    screen: &mut Screen,
    terminal: &Terminal,
    graph: Option<&Graph>,
    to: &mut Picture,
) -> Vec<Damage> {
    let layout = screen.layout();
    let status = Status {
        node: "d3os".into(),
        cores: (2, 2),
        memory: (61 << 20, 511 << 20),
        clock: Some(1_795_449_600),
        uptime: 4242,
        console: (1, 4),
        view: terminal.view(),
    }
    .cells(layout.columns);
    let cursor = terminal.cursor();
    let cell = |row: usize, column: usize| {
        if row == layout.rows {
            return (status[column], false);
        }
        let here = cursor.is_some_and(|at| (at.row, at.column) == (row, column));
        (terminal.cell(row, column), here)
    };
    screen.draw(to, cell, graph, BAND)
}

/// The sample session on a small screen.
pub(crate) fn sample() -> Picture {
    let mut picture = Picture::new(808, 460);
    let layout = Layout::of(picture.width, picture.height).expect("large enough");
    let mut terminal = Terminal::new(layout.rows, layout.columns);
    terminal.write(include_bytes!("../../sample/session.ansi"));
    draw(&mut Screen::new(layout), &terminal, &mut picture);
    picture
}
