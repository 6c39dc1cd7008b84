//! The echo server number 3.
#![cfg_attr(target_os = "none", no_std, no_main)]

libd3os::program! {
    main: storm::serve,
    serves: ["echo-3"],
    calls: ["console", "log", "supervisor"],
}
