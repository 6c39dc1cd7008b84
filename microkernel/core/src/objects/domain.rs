//! Scheduling domains (manual, chapter 6.1.4).
