//! Faults: messages to handlers, and their answers (manual, chapter 6.2).
