//! The root task of the system: reads the image manifest, starts and supervises programs: what is testable on the host.
