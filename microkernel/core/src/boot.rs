//! The root task's first state: its capabilities, address space and BootInfo (manual, chapter 9).
