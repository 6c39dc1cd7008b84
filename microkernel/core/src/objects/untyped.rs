//! Untyped memory and retyping it into objects (manual, chapter 2.4).
