//! What a program's main function may return, and the exit code that it stands for.

use core::fmt;

/// What a program's main function may return.
pub trait Termination {
    /// The exit code: 0 is success.
    fn report(self) -> i32;
}

impl Termination for () {
    fn report(self) -> i32 {
        0
    }
}

impl Termination for i32 {
    fn report(self) -> i32 {
        self
    }
}

impl Termination for core::convert::Infallible {
    fn report(self) -> i32 {
        match self {}
    }
}

/// An error is printed and ends the program with code 1.
impl<T: Termination, E: fmt::Display> Termination for Result<T, E> {
    fn report(self) -> i32 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                log::error!("{error}");
                crate::println!("error: {error}");
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_become_exit_codes() {
        assert_eq!(().report(), 0);
        assert_eq!(7.report(), 7);
        assert_eq!(Ok::<i32, fmt::Error>(3).report(), 3);
        assert_eq!(Err::<(), _>("no").report(), 1);
    }
}
