//! All tests, a module per kind of object.

mod address_space;
mod asid;
mod boot;
mod cnode;
mod crowd;
mod debug;
mod domain;
mod endpoint;
mod fault;
mod fpu;
mod frame;
mod hostile;
mod io_port;
mod irq;
mod multikernel;
mod notification;
mod registers;
mod reply;
mod sched;
mod tcb;
mod untyped;

use crate::Test;

/// Names functions of a module as tests. Those after `noisy` make a debug kernel print something.
macro_rules! tests {
    ($($name:ident),* $(,)? $(; noisy: $($noisy:ident),*)?) => {
        pub(super) const TESTS: &[$crate::Test] = &[
            $($crate::Test { name: ::core::stringify!($name), body: $name, noisy: false },)*
            $($($crate::Test { name: ::core::stringify!($noisy), body: $noisy, noisy: true },)*)?
        ];
    };
}
use tests;

/// The group that only a kernel with several domains can pass.
pub(crate) const DOMAINS: &str = "domain";

/// The group that only a machine with several cores can pass; there it is the only one, as all memory
/// and all the time are not the first core's.
pub(crate) const SEVERAL_CORES: &str = "multikernel";

/// Tests by group, in the order in which they run: what later ones rely on comes first.
pub(crate) const GROUPS: &[(&str, &[Test])] = &[
    ("boot", boot::TESTS),
    ("untyped", untyped::TESTS),
    ("cnode", cnode::TESTS),
    ("io_port", io_port::TESTS),
    ("frame", frame::TESTS),
    ("address_space", address_space::TESTS),
    ("asid", asid::TESTS),
    ("tcb", tcb::TESTS),
    ("notification", notification::TESTS),
    ("endpoint", endpoint::TESTS),
    ("reply", reply::TESTS),
    ("fault", fault::TESTS),
    ("sched", sched::TESTS),
    (DOMAINS, domain::TESTS),
    ("fpu", fpu::TESTS),
    ("irq", irq::TESTS),
    (SEVERAL_CORES, multikernel::TESTS),
    ("debug", debug::TESTS),
    ("registers", registers::TESTS),
    ("hostile", hostile::TESTS),
    ("crowd", crowd::TESTS),
];
