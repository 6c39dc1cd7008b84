//! Interrupts: the control object and handlers (manual, chapter 8.1).

/// Which user interrupt vectors are in use.
#[derive(Debug, Default)]
pub struct IrqTable {
    pub(crate) in_use: u128,
}

impl IrqTable {
    /// None in use.
    #[must_use]
    pub const fn new() -> Self {
        Self { in_use: 0 }
    }
}
