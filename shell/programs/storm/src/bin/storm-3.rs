//! The client number 3 of all echo servers.
#![cfg_attr(target_os = "none", no_std, no_main)]

libd3os::program! {
    main: storm::run,
    calls: ["console", "log", "supervisor", "echo-0", "echo-1", "echo-2", "echo-3"],
}
