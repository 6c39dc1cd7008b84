//! How a test says that something is not as it should be.

use alloc::string::String;
use core::fmt;
use core::panic::Location;
use libd3os::cap::Error;

/// What was not as it should be, and where that was noticed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    location: &'static Location<'static>,
}

/// How a test ends.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    #[track_caller]
    pub(crate) fn new(message: String) -> Self {
        Self { message, location: Location::caller() }
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(alloc::format!("the kernel answered: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, location } = self;
        write!(f, "{message} ({}:{})", location.file(), location.line())
    }
}

/// Ends the test unless the condition holds.
macro_rules! check {
    ($condition:expr) => {
        check!($condition, "not so: {}", ::core::stringify!($condition))
    };
    ($condition:expr, $($format:tt)+) => {
        if !$condition {
            return Err($crate::check::Failure::new(::alloc::format!($($format)+)));
        }
    };
}

/// Ends the test unless both are equal.
macro_rules! check_eq {
    ($found:expr, $expected:expr) => {
        check_eq!($found, $expected, "{}", ::core::stringify!($found))
    };
    ($found:expr, $expected:expr, $($format:tt)+) => {
        match ($found, $expected) {
            (found, expected) => {
                if found != expected {
                    return Err($crate::check::Failure::new(::alloc::format!(
                        "{} is {found:x?}, not {expected:x?}",
                        ::core::format_args!($($format)+)
                    )));
                }
            }
        }
    };
}

pub(crate) use {check, check_eq};
