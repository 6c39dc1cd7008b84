//! The cores.
