//! The rest of the system, for tests: it remembers what is lent.

use std::collections::BTreeMap;
use std::time::Duration;

use libd3os_object::control::ControlRef;

use super::*;
use crate::system::Extent;

/// What is lent, by program and page.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) lent: BTreeMap<(u16, u64), Rights>,
    drawn: u128,
    pub(crate) refuses: bool,
    pub(crate) now: Duration,
    pub(crate) controls: BTreeMap<u64, ControlRef>,
}

impl Model {
    /// One that draws numbers from this one on.
    pub(crate) fn drawing_from(drawn: u128) -> Self {
        Self { drawn, ..Self::default() }
    }
}

impl World for Model {
    fn lend(&mut self, program: u16, pages: Extent, rights: Rights) -> Done<u64> {
        if self.refuses {
            return Err(PmemError::NotLent);
        }
        for page in pages.first..pages.end() {
            let before = self.lent.insert((program, page), rights);
            assert_eq!(before, None, "page {page} is lent to {program} twice");
        }
        Ok(pages.first * 4096)
    }

    fn withdraw(&mut self, program: u16, pages: Extent) {
        for page in pages.first..pages.end() {
            self.lent.remove(&(program, page));
        }
    }

    fn control(&mut self, page: u64, version: u64) -> ControlRef {
        let control = ControlRef::own(version);
        self.controls.insert(page * 4096, control.clone());
        control
    }

    fn now(&mut self) -> Duration {
        self.now
    }

    fn draw(&mut self) -> u128 {
        self.drawn += 1;
        self.drawn
    }

    fn programs(&mut self) -> Vec<String> {
        ["shell", "other", "shell-2"].map(String::from).into()
    }

    fn looked(&mut self, bytes: u64, of: u64) {
        assert!(bytes < of);
    }
}
