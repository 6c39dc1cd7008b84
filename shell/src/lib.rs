//! The interactive shell: what is testable on the host.
