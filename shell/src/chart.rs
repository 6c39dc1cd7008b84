//! Numbers as pictures of block characters: sparklines, bars and charts.
//!
//! Everything here is text from numbers: a terminal without graphics shows it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Blocks by eighths of their height.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Blocks by eighths of their width.
const WIDTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const EIGHTHS: u128 = 8;
/// Columns of a chart's edge, between amounts and values.
const EDGE: usize = 2;

/// The last `width` values as a line of blocks, the newest at the right. A value of `most` fills a
/// block, and what is above 0 shows.
pub fn sparkline(values: &[u64], most: u64, width: usize) -> String {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or(values);
    let blank = core::iter::repeat_n(' ', width - shown.len());
    blank.chain(shown.iter().map(|value| block(level(*value, most, 1)))).collect()
}

/// A bar of `width` cells, filled as `part` is of `whole`.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let filled = level(part, whole, width);
    (0..width).map(|cell| WIDTHS[eighths_in(filled, cell)]).collect()
}

/// A chart as text, and where in it its values begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// Its lines, from the top.
    pub lines: Vec<String>,
    /// Columns before the values.
    pub margin: usize,
}

/// The last `width` values as a chart of `height` lines, the newest at the right. Lines begin with
/// the amount that they stand for at the top, in the middle and at the bottom; what is above 0
/// shows. `words` says an amount.
pub fn chart(values: &[u64], width: usize, height: usize, words: impl Fn(u64) -> String) -> Chart {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or(values);
    let most = shown.iter().copied().max().unwrap_or(0).max(1);
    let labels: Vec<String> = (0..height).map(|row| label(row, height, most, &words)).collect();
    let margin = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns: Vec<u128> = shown.iter().map(|value| level(*value, most, height)).collect();
    let line = |(row, label): (usize, &String)| {
        let blocks: String =
            columns.iter().map(|filled| HEIGHTS[eighths_in(*filled, height - 1 - row)]).collect();
        let blank = width - shown.len();
        format!("{label:>margin$} ┤{:blank$}{blocks}", "")
    };
    let lines = labels.iter().enumerate().map(line).collect();
    Chart { lines, margin: margin + EDGE }
}

/// The last `width` values as shares of the largest, which is `u16::MAX`.
pub fn shares(values: &[u64], width: usize) -> Vec<u16> {
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or(values);
    let most = u128::from(shown.iter().copied().max().unwrap_or(0).max(1));
    let share = |value: &u64| u128::from(*value) * u128::from(u16::MAX) / most;
    shown.iter().map(|value| u16::try_from(share(value)).unwrap_or(u16::MAX)).collect()
}

/// What stands before a line of a chart: it is of the amount at the line's upper edge, and 0 at
/// the bottom.
fn label(row: usize, height: usize, most: u64, words: impl Fn(u64) -> String) -> String {
    match row {
        0 => words(most),
        _ if row + 1 == height => words(0),
        _ if row * 2 == height => words(most / 2),
        _ => String::new(),
    }
}

/// Eighths of cells that a value fills, of `cells` for `most`. Rounded up, so that little is not
/// nothing.
fn level(value: u64, most: u64, cells: usize) -> u128 {
    let all = cells as u128 * EIGHTHS;
    (u128::from(value) * all).div_ceil(u128::from(most.max(1))).min(all)
}

/// Of so many eighths over a row of cells, those that are in this cell.
fn eighths_in(filled: u128, cell: usize) -> usize {
    let here = filled.saturating_sub(cell as u128 * EIGHTHS).min(EIGHTHS);
    usize::try_from(here).unwrap_or(0)
}

fn block(eighths: u128) -> char {
    HEIGHTS[eighths_in(eighths, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_sparkline_ends_with_the_newest() {
        assert_eq!(sparkline(&[0, 1, 50, 100, 200], 100, 4), "▁▄██");
        assert_eq!(sparkline(&[100, 0], 100, 4), "  █ ");
        assert_eq!(sparkline(&[], 0, 2), "  ");
    }

    #[test]
    fn a_bar_is_filled_to_the_eighth() {
        assert_eq!(bar(1, 2, 4), "██  ");
        assert_eq!(bar(5, 16, 4), "█▎  ");
        assert_eq!(bar(9, 8, 2), "██");
        assert_eq!(bar(0, 0, 2), "  ");
    }

    #[test]
    fn a_chart_has_its_amounts_at_its_side() {
        let Chart { lines, margin } = chart(&[0, 4, 8, 16], 6, 4, |amount| format!("{amount}"));
        assert_eq!(margin, 4);
        assert_eq!(lines, ["16 ┤     █", "   ┤     █", " 8 ┤    ██", " 0 ┤   ███"]);
        assert_eq!(chart(&[], 2, 2, |amount| format!("{amount}")).lines, ["1 ┤  ", "0 ┤  "]);
    }

    #[test]
    fn shares_are_of_the_largest_that_is_shown() {
        assert_eq!(shares(&[100, 0, 5, 10], 3), [0, u16::MAX / 2, u16::MAX]);
        assert_eq!(shares(&[0, 0], 9), [0, 0]);
        assert_eq!(shares(&[u64::MAX, 1], 2), [u16::MAX, 0]);
    }

    proptest! {
        #[test]
        fn pictures_have_their_size(
            values in proptest::collection::vec(any::<u64>(), 0..80),
            most: u64,
            width in 1usize..60,
            height in 1usize..20,
        ) {
            prop_assert_eq!(sparkline(&values, most, width).chars().count(), width);
            prop_assert_eq!(bar(values.len() as u64, most, width).chars().count(), width);
            let lines = chart(&values, width, height, |amount| format!("{amount}")).lines;
            prop_assert_eq!(lines.len(), height);
            let first = lines[0].chars().count();
            prop_assert!(lines.iter().all(|line| line.chars().count() == first));
        }

        #[test]
        fn more_is_never_shown_as_less(small: u64, more: u64, most: u64) {
            let large = small.saturating_add(more);
            prop_assert!(level(small, most, 9) <= level(large, most, 9));
            prop_assert_eq!(level(small, most, 9) == 0, small == 0);
        }
    }
}
