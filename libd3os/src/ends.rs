//! Which callers have ended, from how often each program has (`Supervisor::ends`).

use alloc::vec::Vec;

/// Whether the notification of this name is signalled when a program has ended: `program-ended`, or
/// a name that begins so, since each name is one program's (`program-ended-net`).
#[must_use]
pub fn tells_of_ends(name: &str) -> bool {
    let rest = name.strip_prefix("program-ended");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// How often each program had ended when it was last looked at, in the order of callers' badges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(Vec<u32>);

impl Ends {
    /// Takes the counts of the programs from number `from` on (counted from 0); tells the badges
    /// of those that ended since the last look. A program not seen before counts from now.
    pub fn update(&mut self, from: u32, counts: &[u32]) -> Vec<u64> {
        let mut ended = Vec::new();
        for (index, &count) in (from as usize..).zip(counts) {
            match self.0.get_mut(index) {
                Some(known) if *known != count => {
                    *known = count;
                    ended.push(index as u64 + 1);
                }
                Some(_) => {}
                None => self.0.resize(index + 1, count),
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ends() {
        let names = ["program-ended", "program-ended-net", "program-endeds", "log-ready"];
        assert_eq!(names.map(tells_of_ends), [true, true, false, false]);
    }

    #[test]
    fn tells_who_ended_since_the_last_look() {
        let mut ends = Ends::default();
        assert_eq!(ends.update(0, &[5, 0]), []);
        assert_eq!(ends.update(2, &[7]), []);
        assert_eq!(ends.update(0, &[5, 1]), [2]);
        assert_eq!(ends.update(2, &[9]), [3]);
        assert_eq!(ends.update(0, &[5, 1, 9]), []);
    }
}
