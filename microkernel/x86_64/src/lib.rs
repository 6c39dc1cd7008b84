//! The kernel's hardware part: boot, traps, paging, interrupt controllers.
#![no_std]
