//! How many tests passed and failed.

use std::fmt;
use std::ops::AddAssign;

/// Passed and failed tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    /// So many of each.
    pub(crate) fn new(passed: u32, failed: u32) -> Self {
        Self { passed, failed }
    }

    /// One failure: something that prevents tests from running.
    pub(crate) fn failure() -> Self {
        Self::new(0, 1)
    }

    /// One test's result.
    pub(crate) fn one(passed: bool) -> Self {
        if passed { Self::new(1, 0) } else { Self::failure() }
    }

    /// Whether there was a test and none failed.
    pub(crate) fn all_passed(self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// How many failed.
    pub(crate) fn failed(self) -> u32 {
        self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}
