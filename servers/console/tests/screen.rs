//! Drawing: against the committed picture, and in parts against as a whole.

mod picture;

use console::render::{Layout, Screen};
use console::terminal::Terminal;
use libd3os::service::console::Graph;
use picture::{Picture, damage_with, draw};
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

/// Any graph, inside of the screen or not.
fn graph() -> impl Strategy<Value = Graph> {
    let place = prop_oneof![4 => 0u16..12, 1 => any::<u16>()];
    let values = prop::collection::vec(any::<u16>(), 1..30);
    (place.clone(), place.clone(), place.clone(), place, values).prop_map(
        |(row, column, rows, columns, values)| Graph {
            row,
            column,
            rows,
            columns,
            values,
            ..Graph::default()
        },
    )
}

#[test]
fn a_graph_hides_text_until_it_is_taken_away() {
    let layout = Layout::of(200, 200).expect("large enough");
    let (mut screen, mut picture) = (Screen::new(layout), Picture::new(200, 200));
    let mut terminal = Terminal::new(layout.rows, layout.columns);
    terminal.write(b"one two");
    draw(&mut screen, &terminal, &mut picture);
    let before = picture.pixels.clone();
    let graph = Graph {
        row: 0,
        column: 4,
        rows: 3,
        columns: 10,
        values: vec![0, u16::MAX],
        ..Graph::default()
    };
    let drawn = damage_with(&mut screen, &terminal, Some(&graph), &mut picture);
    assert_eq!(drawn.len(), 1, "the graph's place: {drawn:?}");
    assert_eq!((drawn[0].width, drawn[0].height, screen.text(0).as_str()), (80, 48, "one"));
    assert_ne!(picture.pixels, before);
    assert_eq!(damage_with(&mut screen, &terminal, Some(&graph), &mut picture), []);
    draw(&mut screen, &terminal, &mut picture);
    assert_eq!((screen.text(0).as_str(), picture.pixels == before), ("one two", true));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn parts_make_the_same_picture_as_the_whole(
        writes in prop::collection::vec(
            ("([a-z█─]{1,9}|\r\n|\x1b\\[[0-9]{0,2}[ABCDJKLMm@P]){1,5}", prop::option::of(graph())),
            1..8,
        ),
        width in 60usize..220,
        height in 60usize..160,
    ) {
        let layout = Layout::of(width, height).expect("large enough");
        let mut terminal = Terminal::new(layout.rows, layout.columns);
        let (mut screen, mut shown) = (Screen::new(layout), Picture::new(width, height));
        for (write, graph) in writes {
            terminal.write(write.as_bytes());
            let before = shown.pixels.clone();
            let damage = damage_with(&mut screen, &terminal, graph.as_ref(), &mut shown);
            let mut whole = Picture::new(width, height);
            damage_with(&mut Screen::new(layout), &terminal, graph.as_ref(), &mut whole);
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
