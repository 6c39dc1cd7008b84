//! The derivation order: who was derived from whom.
