//! Resolving addresses in a capability space (manual, chapter 3.3).
