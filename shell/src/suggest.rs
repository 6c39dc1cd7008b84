//! The name that was probably meant.

use alloc::vec::Vec;

/// Edits (a character added, removed, replaced, or two neighbours swapped) a name may be off.
const MAX_EDITS: usize = 2;

/// The candidate nearest to a misspelt name, if any is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_near = |edits: usize| edits <= MAX_EDITS && edits < name.chars().count();
    candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|&(edits, candidate)| is_near(edits) || is_beginning(name, candidate))
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

fn is_beginning(name: &str, candidate: &str) -> bool {
    name.len() >= 2 && candidate.starts_with(name)
}

/// The optimal string alignment distance, a row of the matrix at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, x) in a.chars().enumerate() {
        let current = next_row(row, x, last, &b, &before, &above);
        before = core::mem::replace(&mut above, current);
        last = Some(x);
    }
    above.last().copied().unwrap_or(0)
}

fn next_row(
    row: usize,
    x: char,
    last: Option<char>,
    b: &[char],
    before: &[usize],
    above: &[usize],
) -> Vec<usize> {
    let mut current = Vec::with_capacity(above.len());
    let mut left = row + 1;
    current.push(left);
    for (column, (&y, pair)) in b.iter().zip(above.windows(2)).enumerate() {
        let [diagonal, up] = pair else { break };
        let mut least = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
        let previous = column.checked_sub(1).and_then(|at| Some((b.get(at)?, before.get(at)?)));
        if let Some((&z, &swapped)) = previous
            && last == Some(y)
            && z == x
        {
            least = least.min(swapped + 1);
        }
        left = least;
        current.push(left);
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn typing_mistakes_are_recognised() {
        let names = ["help", "ps", "mem", "reboot", "poweroff"];
        let meant = |name| nearest(name, names);
        assert_eq!(meant("hlep"), Some("help"));
        assert_eq!(meant("sp"), Some("ps"));
        assert_eq!(meant("power"), Some("poweroff"));
        assert_eq!(meant("rebot"), Some("reboot"));
        assert_eq!(meant("xyzzy"), None);
        assert_eq!(meant("x"), None);
    }

    #[test]
    fn distances() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("ab", "ba"), 1);
    }

    proptest! {
        #[test]
        fn distance_is_a_symmetric_measure(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            prop_assert_eq!(edits(&a, &b), edits(&b, &a));
            prop_assert_eq!(edits(&a, &b) == 0, a == b);
            prop_assert!(edits(&a, &b) <= a.len().max(b.len()));
        }
    }
}
