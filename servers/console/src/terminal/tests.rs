//! The terminal against examples, and against the `vt100` crate with random sequences.

use alloc::string::String;

use proptest::prelude::*;

use super::*;
use crate::cell::{Colour, Part, Style};

fn terminal(rows: usize, columns: usize, written: &str) -> Terminal {
    let mut terminal = Terminal::new(rows, columns);
    terminal.write(written.as_bytes());
    terminal
}

fn line(terminal: &Terminal, row: usize) -> String {
    let cells = (0..terminal.columns()).map(|column| terminal.cell(row, column));
    let shown = cells.filter(|cell| cell.part != Part::Right).map(|cell| cell.character);
    String::from(shown.collect::<String>().trim_end())
}

fn lines(terminal: &Terminal) -> Vec<String> {
    (0..terminal.rows()).map(|row| line(terminal, row)).collect()
}

#[test]
fn text_wraps_and_scrolls() {
    let terminal = terminal(2, 4, "abcdefgh\r\nij");
    assert_eq!(lines(&terminal), ["efgh", "ij"]);
    assert_eq!(terminal.cursor(), Some(Position { row: 1, column: 2 }));
}

#[test]
fn a_full_line_waits_for_the_next_character_before_it_wraps() {
    let mut terminal = terminal(2, 4, "abcd");
    assert_eq!(terminal.cursor(), Some(Position { row: 0, column: 3 }));
    terminal.write(b"\r\nx");
    assert_eq!(lines(&terminal), ["abcd", "x"]);
}

#[test]
fn the_cursors_place_is_answered_counted_from_one() {
    let mut terminal = terminal(10, 20, "\x1b[3;7H\x1b[6n");
    assert_eq!(terminal.take_answers(), b"\x1b[3;7R");
    terminal.write(b"\x1b[999C\x1b[6n\x1b[5n\x1b[c");
    assert_eq!(terminal.take_answers(), b"\x1b[3;20R\x1b[0n\x1b[?1;0c");
    terminal.write("\x1b[6n".repeat(1000).as_bytes());
    assert!(terminal.take_answers().len() <= ANSWER_BYTES);
}

#[test]
fn colours_of_three_kinds() {
    let terminal = terminal(
        1,
        20,
        "\x1b[31ma\x1b[38;5;200mb\x1b[48;2;1;2;3mc\x1b[38:2:4:5:6md\x1b[97me\x1b[39;49mf\x1b[1;7mg\x1b[mh",
    );
    let looks: Vec<_> = (0..8).map(|column| terminal.cell(0, column).look).collect();
    assert_eq!(looks[0].text, Colour::Indexed(1));
    assert_eq!(looks[1].text, Colour::Indexed(200));
    assert_eq!(looks[2].ground, Colour::Rgb(1, 2, 3));
    assert_eq!(looks[3].text, Colour::Rgb(4, 5, 6));
    assert_eq!(looks[4].text, Colour::Indexed(15));
    assert_eq!(looks[5], Look::default());
    assert_eq!(looks[6].style, Style::BOLD | Style::INVERSE);
    assert_eq!(looks[7], Look::default());
}

#[test]
fn a_region_scrolls_alone() {
    let terminal = terminal(4, 4, "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[3;1H\r\nX\x1b[2;1H\x1bMY");
    assert_eq!(lines(&terminal), ["a", "Y", "c", "d"]);
}

#[test]
fn the_alternate_screen_leaves_the_main_one_alone() {
    let mut terminal = terminal(3, 8, "shell\r\n$ \x1b[?1049h\x1b[2Jtop\n\n\n\n\n");
    assert_eq!(line(&terminal, 0), "");
    terminal.page_up();
    assert_eq!(terminal.view(), 0);
    terminal.write(b"\x1b[?1049l!");
    assert_eq!(lines(&terminal), ["shell", "$ !", ""]);
}

#[test]
fn the_cursor_can_be_hidden() {
    let mut terminal = terminal(1, 1, "\x1b[?25l");
    assert_eq!(terminal.cursor(), None);
    terminal.write(b"\x1b[?25h");
    assert!(terminal.cursor().is_some());
}

#[test]
fn what_has_left_the_screen_can_be_looked_at() {
    let mut terminal = terminal(4, 4, "1\r\n2\r\n3\r\n4\r\n5\r\n6");
    terminal.page_up();
    assert_eq!(lines(&terminal), ["1", "2", "3", "4"]);
    assert_eq!(terminal.cursor(), None);
    // New lines do not move what is looked at.
    terminal.write(b"\r\n7");
    assert_eq!(lines(&terminal), ["1", "2", "3", "4"]);
    terminal.page_down();
    assert_eq!(lines(&terminal), ["3", "4", "5", "6"]);
    terminal.to_end();
    assert_eq!(lines(&terminal), ["4", "5", "6", "7"]);
    terminal.write(b"\x1b[3J");
    terminal.page_up();
    assert_eq!(terminal.view(), 0);
}

#[test]
fn wide_characters_take_two_cells_and_are_not_torn() {
    let mut terminal = terminal(2, 5, "漢字x");
    assert_eq!(lines(&terminal), ["漢字x", ""]);
    terminal.write("\x1b[1;2H.\x1b[1;5H界".as_bytes());
    assert_eq!(lines(&terminal), [" .字x", "界"]);
}

#[test]
fn marks_without_a_width_are_left_out() {
    assert_eq!(lines(&terminal(1, 5, "e\u{301}\u{200d}x")), ["ex"]);
}

#[test]
fn a_character_can_be_repeated_and_not_for_ever() {
    assert_eq!(lines(&terminal(1, 5, "ab\x1b[2b")), ["abbb"]);
    let long = terminal(2, 1000, "a\x1b[65535b");
    assert_eq!(long.cursor(), Some(Position { row: 1, column: (REPETITIONS + 1) % 1000 }));
}

#[test]
fn unknown_sequences_show_nothing() {
    let written = "a\x1b]0;title\x07b\x1b[>4;1mc\x1bP1$r\x1b\\d\x1b[?9999he\x1b(Bf";
    assert_eq!(lines(&terminal(1, 9, written)), ["abcdef"]);
}

/// A piece of what programs write, with characters of two cells or without.
fn piece(wide: &'static str) -> impl Strategy<Value = String> {
    let number = || prop_oneof![Just(String::new()), (0u16..14).prop_map(|n| format!("{n}"))];
    let two = (number(), number()).prop_map(|(a, b)| format!("{a};{b}"));
    let simple = prop::sample::select(&b"@ABCDEFGJKLMPSTXbd`"[..]);
    let colour = prop::sample::select(
        &["0", "1", "4", "7", "22", "27", "33", "44", "95", "106", "38;5;99", "48;2;9;8;7", "39"][..],
    );
    prop_oneof![
        6 => "[a-zß█]{1,12}",
        1 => wide,
        2 => prop::sample::select(&["\r\n", "\n", "\r", "\t", "\x08", "\x1b7", "\x1b8"][..]).prop_map(String::from),
        4 => (number(), simple).prop_map(|(n, c)| format!("\x1b[{n}{}", char::from(c))),
        2 => two.clone().prop_map(|at| format!("\x1b[{at}H")),
        1 => two.prop_map(|region| format!("\x1b[{region}r")),
        2 => colour.prop_map(|colour| format!("\x1b[{colour}m")),
        1 => prop::sample::select(&["?6h", "?6l", "?25l", "?25h", "?1049h", "?1049l", "?47h", "?47l"][..])
            .prop_map(|mode| format!("\x1b[{mode}")),
    ]
}

fn colour(colour: vt100::Color) -> Colour {
    match colour {
        vt100::Color::Default => Colour::Default,
        vt100::Color::Idx(index) => Colour::Indexed(index),
        vt100::Color::Rgb(r, g, b) => Colour::Rgb(r, g, b),
    }
}

/// What a person sees of a cell: an empty cell is its ground.
fn seen(cell: Cell) -> (char, Look) {
    match cell.character {
        ' ' => (' ', Look { ground: cell.look.ground, ..Look::default() }),
        character => (character, cell.look),
    }
}

fn expected(cell: &vt100::Cell) -> (char, Look) {
    let mut style = Style::empty();
    style.set(Style::BOLD, cell.bold());
    style.set(Style::UNDERLINE, cell.underline());
    style.set(Style::INVERSE, cell.inverse());
    let look = Look { text: colour(cell.fgcolor()), ground: colour(cell.bgcolor()), style };
    let character = cell.contents().chars().next().unwrap_or(' ');
    seen(Cell { character, look, part: Part::Whole })
}

/// Both terminals after each piece. Looks are compared where `looks` says so: `vt100` gives the
/// halves of torn characters looks of its own choice.
fn compare(rows: u16, columns: u16, pieces: &[String], looks: bool) -> Result<(), TestCaseError> {
    let mut ours = Terminal::new(rows.into(), columns.into());
    let size = |n| core::num::NonZeroU16::new(n).expect("not 0");
    let mut theirs = vt100::Parser::new(size(rows), size(columns), 100);
    for piece in pieces {
        ours.write(piece.as_bytes());
        theirs.process(piece.as_bytes());
        let screen = theirs.screen();
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
            let cell = screen.cell(row, column).expect("on the screen");
            let shown = ours.cell(row.into(), column.into());
            let (ours, theirs) = (seen(shown), expected(cell));
            prop_assert_eq!(ours.0, theirs.0, "{:?} at {},{}", piece, row, column);
            prop_assert!(
                !looks || ours == theirs,
                "{piece:?} at {row},{column}: {ours:?} {theirs:?}"
            );
            prop_assert_eq!(shown.part == Part::Right, cell.is_wide_continuation());
        }
        let (row, column) = screen.cursor_position();
        let at = Position { row: row.into(), column: column.into() };
        prop_assert_eq!(ours.screen.grid().cursor(), at, "{:?}", piece);
        prop_assert_eq!(ours.cursor().is_none(), screen.hide_cursor());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn shows_what_vt100_shows(
        rows in 1u16..7,
        columns in 2u16..15,
        pieces in prop::collection::vec(piece("[A-Z]{1,3}"), 0..40),
    ) {
        compare(rows, columns, &pieces, true)?;
    }

    #[test]
    fn shows_the_wide_characters_that_vt100_shows(
        rows in 1u16..7,
        columns in 2u16..15,
        // Inserting within a wide character takes it away here, and leaves it there.
        pieces in prop::collection::vec(
            piece("[漢字界]{1,3}").prop_filter("inserts", |piece| !piece.ends_with('@')),
            0..40,
        ),
    ) {
        compare(rows, columns, &pieces, false)?;
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..600), rows in 0usize..5, columns in 0usize..5) {
        let mut terminal = Terminal::new(rows, columns);
        terminal.write(&bytes);
        terminal.page_up();
        prop_assert!(terminal.take_answers().len() <= ANSWER_BYTES);
        for row in 0..terminal.rows() {
            prop_assert!(terminal.cell(row, terminal.columns()).character == ' ');
        }
    }

    #[test]
    fn wide_characters_stay_whole(pieces in prop::collection::vec(piece("[漢字界]{1,3}"), 0..60)) {
        let mut terminal = Terminal::new(4, 9);
        for piece in pieces {
            terminal.write(piece.as_bytes());
            for row in 0..4 {
                for column in 0..9 {
                    let next = terminal.cell(row, column + 1).part;
                    let left = terminal.cell(row, column).part == Part::Left;
                    prop_assert_eq!(left, next == Part::Right, "{:?}", &piece);
                }
            }
        }
    }
}
