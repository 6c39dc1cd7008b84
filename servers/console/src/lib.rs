//! The console server: terminal input and output, the foreground program: what is testable on the host.
