//! I/O ports: the control object and port ranges (manual, chapter 8.2.2).

/// Which ports are in issued ranges: a bit each.
#[derive(Debug)]
pub struct IoPorts {
    pub(crate) issued: [u64; 1024],
}

impl IoPorts {
    /// None issued.
    #[must_use]
    pub const fn new() -> Self {
        Self { issued: [0; 1024] }
    }
}

impl Default for IoPorts {
    fn default() -> Self {
        Self::new()
    }
}
