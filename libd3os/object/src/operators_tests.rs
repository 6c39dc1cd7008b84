//! Operators on pieces, against the obvious on the whole.

use std::ops::Range;
use std::thread;

use proptest::prelude::*;

use crate::operators::{MAX_PATTERN, MAX_PLACES, Operator, OperatorError, Outcome, Pattern};

fn pattern(bytes: &[u8]) -> Pattern {
    Pattern::new(bytes).expect("not too long")
}

/// The obvious.
fn on_the_whole(operator: &Operator, bytes: &[u8]) -> Outcome {
    let words = || bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("a word")));
    let found = |pattern: &[u8], limit| {
        let windows = bytes.windows(pattern.len()).zip(0_u64..);
        let all: Vec<_> = windows.filter(|(window, _)| *window == pattern).collect();
        let places = all.iter().take(limit).map(|(_, at)| *at).collect();
        Outcome::Found { places, count: all.len() as u64 }
    };
    let message = operator.encode();
    match operator {
        Operator::Search { limit, .. } => found(&message[5..], *limit as usize),
        Operator::Count(_) => found(&message[1..], 0),
        Operator::Sum => Outcome::Sum(words().map(u128::from).sum()),
        Operator::Least => Outcome::Word(words().min()),
        Operator::Greatest => Outcome::Word(words().max()),
    }
}

fn in_pieces(operator: &Operator, bytes: &[u8], pieces: &[Range<usize>]) -> Outcome {
    let outcomes = pieces.iter().map(|piece| operator.carry_out(bytes, piece.clone()));
    outcomes.fold(operator.nothing(), |all, next| operator.together(all, next))
}

#[test]
fn what_reaches_over_a_boundary_is_found_once() {
    let bytes = b"to be or not to be";
    let search = Operator::Search { pattern: pattern(b"to be"), limit: 10 };
    for cut in 0..=bytes.len() {
        let found = in_pieces(&search, bytes, &[0..cut, cut..bytes.len()]);
        assert_eq!(found, Outcome::Found { places: vec![0, 13], count: 2 }, "cut at {cut}");
    }
    let few = Operator::Search { pattern: pattern(b"o"), limit: 3 };
    let found = in_pieces(&few, bytes, &[0..5, 5..bytes.len()]);
    assert_eq!(found, Outcome::Found { places: vec![1, 6, 10], count: 4 });
}

#[test]
fn threads_share_the_pieces() {
    let mut bytes = vec![b'a'; (2 << 20) + 4096];
    // Across the boundaries of pieces, beside the first and in the last.
    for at in [(1 << 20) - 3, (1 << 20) + 3, (2 << 20) - 1, bytes.len() - 4] {
        bytes[at..at + 4].copy_from_slice(b"word");
    }
    let operator = Operator::Search { pattern: pattern(b"word"), limit: 9 };
    let pieces: Vec<_> = operator.pieces(bytes.len()).expect("any length").collect();
    assert_eq!(pieces.len(), 3);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let work = |piece: &Range<usize>| {
            let (operator, bytes, piece) = (&operator, &bytes, piece.clone());
            scope.spawn(move || operator.carry_out(bytes, piece))
        };
        let threads: Vec<_> = pieces.iter().map(work).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let all =
        outcomes.into_iter().fold(operator.nothing(), |all, next| operator.together(all, next));
    assert_eq!(all, on_the_whole(&operator, &bytes));
    assert!(matches!(all, Outcome::Found { count: 4, .. }), "{all:?}");
}

#[test]
fn what_no_operator_can_do_is_refused() {
    for (message, error) in [
        (&[][..], OperatorError::Unknown),
        (&[0], OperatorError::Unknown),
        (&[3, 0], OperatorError::Unknown),
        (&[1, 1, 0, 0], OperatorError::Unknown),
        (&[1, 1, 0, 0, 0], OperatorError::Pattern(0)),
        (&[1, 1, 4, 0, 0, b'a'], OperatorError::Limit(1025)),
        (&[2], OperatorError::Pattern(0)),
        (&[2; MAX_PATTERN + 2], OperatorError::Pattern(MAX_PATTERN + 1)),
    ] {
        assert_eq!(Operator::decode(message), Err(error), "{message:?}");
    }
    assert_eq!(Operator::Sum.pieces(9).map(|pieces| pieces.len()), Err(OperatorError::Words(9)));
    assert_eq!(Operator::Sum.pieces(0).map(|pieces| pieces.len()), Ok(0));
    assert_eq!(Operator::Least.nothing(), Outcome::Word(None));
    let outside = Operator::Sum.carry_out(&[1; 16], 8..24);
    assert_eq!(outside, Outcome::Sum(0), "no piece of these bytes");
}

fn operator() -> impl Strategy<Value = Operator> {
    let some = prop::collection::vec(b'a'..=b'b', 1..4).prop_map(|bytes| pattern(&bytes));
    let limit = 0..=u32::try_from(MAX_PLACES).expect("few");
    prop_oneof![
        (some.clone(), limit).prop_map(|(pattern, limit)| Operator::Search { pattern, limit }),
        (some.clone(), 0..4_u32).prop_map(|(pattern, limit)| Operator::Search { pattern, limit }),
        some.prop_map(Operator::Count),
        Just(Operator::Sum),
        Just(Operator::Least),
        Just(Operator::Greatest),
    ]
}

proptest! {
    #[test]
    fn it_does_not_matter_where_pieces_begin(
        operator in operator(),
        words in prop::collection::vec([b'a'..=b'b', b'a'..=b'b', b'a'..=b'b', 0..=255_u8,
            b'a'..=b'b', b'a'..=b'b', b'a'..=b'b', b'a'..=b'b'], 0..40),
        mut cuts in prop::collection::vec(0..=320_usize, 0..6),
    ) {
        let bytes = words.as_flattened();
        let is_of_words = matches!(operator, Operator::Sum | Operator::Least | Operator::Greatest);
        cuts.iter_mut().for_each(|cut| {
            *cut = (*cut).min(bytes.len());
            *cut -= if is_of_words { *cut % 8 } else { 0 };
        });
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
        prop_assert_eq!(in_pieces(&operator, bytes, &pieces), on_the_whole(&operator, bytes));
    }

    #[test]
    fn messages_say_what_they_were_made_of(operator in operator()) {
        prop_assert_eq!(Operator::decode(&operator.encode()), Ok(operator));
    }

    #[test]
    fn foreign_messages_are_operators_or_refused(
        message in prop::collection::vec(any::<u8>(), 0..300),
        kind in 0..7_u8,
    ) {
        let message = [&[kind], &*message].concat();
        if let Ok(operator) = Operator::decode(&message) {
            prop_assert_eq!(operator.encode(), message);
        }
    }
}
