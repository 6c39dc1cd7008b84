//! Drawing: against the committed picture, and in parts against as a whole.

mod picture;

use console::render::{Layout, Screen};
use console::terminal::Terminal;
use picture::{Picture, draw};
use proptest::prelude::*;

/// What the committed picture shows, as bytes of red, green and blue.
fn committed() -> Vec<u8> {
    let file = std::io::Cursor::new(include_bytes!("../sample/session.png"));
    let mut reader = png::Decoder::new(file).read_info().expect("a picture");
    let mut bytes = vec![0; reader.output_buffer_size().expect("small")];
    reader.next_frame(&mut bytes).expect("a frame");
    bytes
}

#[test]
fn the_sample_session_looks_as_it_did() {
    let (ours, expected) = (picture::sample().bytes(), committed());
    let differ = ours.iter().zip(&expected).filter(|(a, b)| a != b).count();
    assert_eq!(
        (ours.len(), differ),
        (expected.len(), 0),
        "if that is meant: cargo run -p console --example sample -- servers/console/sample/session.png"
    );
}

#[test]
fn layouts_need_room_for_a_line_and_the_status() {
    assert_eq!(Layout::of(0, 0), None);
    assert_eq!(Layout::of(19, 100), None);
    let layout = Layout::of(1024, 768).expect("large enough");
    assert_eq!((layout.columns, layout.rows), (126, 45));
}

#[test]
fn nothing_is_drawn_where_nothing_changed() {
    let layout = Layout::of(200, 200).expect("large enough");
    let (mut screen, mut picture) = (Screen::new(layout), Picture::new(200, 200));
    let mut terminal = Terminal::new(layout.rows, layout.columns);
    assert_eq!(draw(&mut screen, &terminal, &mut picture), 1);
    assert_eq!(draw(&mut screen, &terminal, &mut picture), 0);
    terminal.write(b"\x1b[?25l");
    assert_eq!(draw(&mut screen, &terminal, &mut picture), 1);
    terminal.write(b"\x1b[3;3H\x1b[31m ");
    assert_eq!(draw(&mut screen, &terminal, &mut picture), 0, "blanks have no colour of text");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn parts_make_the_same_picture_as_the_whole(
        writes in prop::collection::vec("([a-z█─]{1,9}|\r\n|\x1b\\[[0-9]{0,2}[ABCDJKLMm@P]){1,5}", 1..8),
        width in 60usize..220,
        height in 60usize..160,
    ) {
        let layout = Layout::of(width, height).expect("large enough");
        let mut terminal = Terminal::new(layout.rows, layout.columns);
        let (mut screen, mut shown) = (Screen::new(layout), Picture::new(width, height));
        for write in writes {
            terminal.write(write.as_bytes());
            let before = shown.pixels.clone();
            let damage = picture::damage(&mut screen, &terminal, &mut shown);
            let mut whole = Picture::new(width, height);
            draw(&mut Screen::new(layout), &terminal, &mut whole);
            prop_assert!(shown.pixels == whole.pixels, "parts differ from the whole");
            for (at, (before, after)) in before.iter().zip(&shown.pixels).enumerate() {
                let (x, y) = (at % width, at / width);
                let told = damage.iter().any(|d| {
                    let (left, upper) = (d.x as usize, d.y as usize);
                    (left..left + d.width as usize).contains(&x) && (upper..upper + d.height as usize).contains(&y)
                });
                prop_assert!(told || before == after, "a change at {x},{y} was not told");
            }
        }
    }
}
