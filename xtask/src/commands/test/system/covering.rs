//! Covering arrays: few combinations of factors' levels in which every pair (or triple, …) of levels
//! occurs. A fault that two settings make together is then met, without trying all products.

/// One combination: a level for each factor.
pub(super) type Row = Vec<usize>;

/// Rows over factors with so many levels each, in which every combination of levels of any
/// `strength` factors that `allowed` lets occur does. Greedy and deterministic: the first rows
/// cover most. `allowed` judges rows in which factors without a level yet are `None`.
pub(super) fn covering(
    levels: &[usize],
    strength: usize,
    allowed: impl Fn(&[Option<usize>]) -> bool,
) -> Vec<Row> {
    let mut open = tuples(levels, strength, &allowed);
    let mut rows = Vec::new();
    while let Some(seed) = open.first() {
        let Some(row) = complete(seed.clone(), levels, &open, &allowed) else {
            // No whole row can hold it.
            open.remove(0);
            continue;
        };
        open.retain(|tuple| !holds(&row, tuple));
        rows.push(row.into_iter().flatten().collect());
    }
    rows
}

/// A row in which some factors have no level yet.
type Partial = Vec<Option<usize>>;

fn tuples(
    levels: &[usize],
    strength: usize,
    allowed: &impl Fn(&[Option<usize>]) -> bool,
) -> Vec<Partial> {
    let mut found: Vec<(usize, Partial)> = vec![(0, vec![None; levels.len()])];
    for _ in 0..strength {
        let longer = found.iter().flat_map(|(from, partial)| {
            (*from..levels.len()).flat_map(move |factor| {
                (0..levels[factor]).map(move |level| (factor + 1, with(partial, factor, level)))
            })
        });
        found = longer.filter(|(_, partial)| allowed(partial)).collect();
    }
    found.into_iter().map(|(_, partial)| partial).collect()
}

fn with(partial: &Partial, factor: usize, level: usize) -> Partial {
    let mut longer = partial.clone();
    longer[factor] = Some(level);
    longer
}

/// Gives every factor the level with which the row covers most that is open.
fn complete(
    mut row: Partial,
    levels: &[usize],
    open: &[Partial],
    allowed: &impl Fn(&[Option<usize>]) -> bool,
) -> Option<Partial> {
    for factor in 0..levels.len() {
        if row[factor].is_some() {
            continue;
        }
        let choices = (0..levels[factor]).map(|level| with(&row, factor, level));
        let choices = choices.filter(|choice| allowed(choice));
        // Of equally good ones the first.
        let gain = |choice: &Partial| open.iter().filter(|tuple| agrees(choice, tuple)).count();
        row = choices.map(|choice| (gain(&choice), choice)).reduce(better)?.1;
    }
    Some(row)
}

fn better(best: (usize, Partial), next: (usize, Partial)) -> (usize, Partial) {
    if next.0 > best.0 { next } else { best }
}

/// Whether a row has all levels of the tuple.
fn holds(row: &Partial, tuple: &Partial) -> bool {
    row.iter().zip(tuple).all(|(have, want)| want.is_none() || have == want)
}

/// Whether a row that is not whole may still get all levels of the tuple.
fn agrees(row: &Partial, tuple: &Partial) -> bool {
    let fits = |(have, want): (&Option<usize>, &Option<usize>)| {
        have.is_none() || want.is_none() || have == want
    };
    row.iter().zip(tuple).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [usize; 7] = [2, 3, 3, 2, 4, 2, 2];

    fn any(_: &[Option<usize>]) -> bool {
        true
    }

    fn all_are_held(rows: &[Row], tuples: &[Partial]) -> bool {
        let rows: Vec<Partial> =
            rows.iter().map(|row| row.iter().copied().map(Some).collect()).collect();
        tuples.iter().all(|tuple| rows.iter().any(|row| holds(row, tuple)))
    }

    #[test]
    fn every_pair_and_every_triple_occurs() {
        for strength in [2, 3] {
            let rows = covering(&LEVELS, strength, any);
            let wanted = tuples(&LEVELS, strength, &any);
            assert!(all_are_held(&rows, &wanted), "{strength}");
            let product: usize = LEVELS.iter().product();
            assert!(rows.len() * 4 < product, "{} rows", rows.len());
        }
        assert_eq!(tuples(&[2, 3], 2, &any).len(), 6);
    }

    #[test]
    fn what_is_not_allowed_does_not_occur_and_costs_nothing_else() {
        let apart = |row: &[Option<usize>]| !(row[0] == Some(1) && row[4] == Some(3));
        let rows = covering(&LEVELS, 2, apart);
        assert!(rows.iter().all(|row| !(row[0] == 1 && row[4] == 3)));
        assert!(all_are_held(&rows, &tuples(&LEVELS, 2, &apart)));
    }

    #[test]
    fn rows_are_the_same_each_time() {
        assert_eq!(covering(&LEVELS, 2, any), covering(&LEVELS, 2, any));
    }
}
