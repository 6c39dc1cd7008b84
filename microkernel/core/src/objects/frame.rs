//! Frames: memory that is mapped into address spaces (manual, chapter 7).
