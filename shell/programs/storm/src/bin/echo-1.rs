//! The echo server number 1.
#![cfg_attr(target_os = "none", no_std, no_main)]

libd3os::program! {
    main: storm::serve,
    serves: ["echo-1"],
    calls: ["console", "log", "supervisor"],
}
