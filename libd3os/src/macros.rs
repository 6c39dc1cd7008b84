//! The macros that make a binary a program or a root task.

/// Makes the binary a program, and declares what it needs.
///
/// ```no_run
/// libd3os::program! {
///     main: run,
///     serves: ["uart"],
///     calls: ["log", "supervisor"],
///     ports: ["com1"],
///     interrupts: ["com1"],
///     signals: ["console-input"],
///     waits: ["com1-irq"],
/// }
///
/// fn run(start: &'static libd3os::start::StartInfo) -> i32 { 0 }
/// ```
///
/// `main` names a function (not called `main`: on a host that is the harmless one which this
/// macro makes) that takes the start information and returns whatever implements
/// [`crate::rt::Termination`]. The lists are optional, in this order, where a driver of a device that
/// is found at run time has `devices`, `regions`, `reads` and `dma` between `interrupts` and
/// `signals`; the image builder compares them with the manifest, both ways. The name `"*"` leaves
/// the names of its list to the manifest: for programs that deal with whatever they are given.
#[macro_export]
macro_rules! program {
    (
        main: $main:path
        $(, serves: [$($serves:literal),* $(,)?])?
        $(, calls: [$($calls:literal),* $(,)?])?
        $(, ports: [$($ports:literal),* $(,)?])?
        $(, interrupts: [$($interrupts:literal),* $(,)?])?
        $(, devices: [$($devices:literal),* $(,)?])?
        $(, regions: [$($regions:literal),* $(,)?])?
        $(, reads: [$($reads:literal),* $(,)?])?
        $(, dma: [$($dma:literal),* $(,)?])?
        $(, signals: [$($signals:literal),* $(,)?])?
        $(, waits: [$($waits:literal),* $(,)?])?
        $(,)?
    ) => {
        #[cfg(target_os = "none")]
        const _: () = {
            const TEXT: &str = ::core::concat!(
                $($("serves ", $serves, "\n",)*)?
                $($("calls ", $calls, "\n",)*)?
                $($("ports ", $ports, "\n",)*)?
                $($("interrupts ", $interrupts, "\n",)*)?
                $($("devices ", $devices, "\n",)*)?
                $($("regions ", $regions, "\n",)*)?
                $($("reads ", $reads, "\n",)*)?
                $($("dma ", $dma, "\n",)*)?
                $($("signals ", $signals, "\n",)*)?
                $($("waits ", $waits, "\n",)*)?
            );

            #[used]
            // SAFETY: the section holds text for the image builder and is never loaded.
            #[unsafe(link_section = ".d3os.needs")]
            static NEEDS: [u8; TEXT.len()] = match TEXT.as_bytes().first_chunk() {
                Some(bytes) => *bytes,
                None => panic!("a text has as many bytes as it has"),
            };

            // SAFETY: the linker script's entry symbol; no other crate defines it.
            #[unsafe(no_mangle)]
            // SAFETY: the section is executable and placed first.
            #[unsafe(link_section = ".text._start")]
            #[unsafe(naked)]
            unsafe extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "xor ebp, ebp",
                    "call {entry}",
                    "ud2",
                    entry = sym __d3os_entry,
                )
            }

            unsafe extern "C" fn __d3os_entry(
                start: *const u8,
                start_bytes: usize,
                heap_base: *mut u8,
                heap_bytes: usize,
                ipc_buffer: *mut $crate::abi::IpcBuffer,
            ) -> ! {
                // SAFETY: these are the registers as init set them, and nothing ran before.
                unsafe {
                    $crate::rt::start_program(
                        start,
                        start_bytes,
                        heap_base,
                        heap_bytes,
                        ipc_buffer,
                        __d3os_main,
                    )
                }
            }

            fn __d3os_main(start: &'static $crate::start::StartInfo) -> i32 {
                $crate::rt::Termination::report($main(start))
            }
        };

        $crate::__host_main!($main, "this is a program of D3OS: it runs under its init");
    };
}

/// Makes the binary a root task.
///
/// ```no_run
/// libd3os::root! { main: run, heap: 1 << 20, stack: 64 << 10 }
///
/// fn run(boot: &'static libd3os::abi::BootInfo) -> i32 { 0 }
/// ```
///
/// Heap and stack, in bytes, lie in the image. `main` is as for [`crate::program!`], but gets the kernel's
/// BootInfo. When it returns, the root task stops.
#[macro_export]
macro_rules! root {
    (main: $main:path, heap: $heap:expr, stack: $stack:expr $(,)?) => {
        #[cfg(target_os = "none")]
        const _: () = {
            use $crate::rt::BootMemory;

            static HEAP: BootMemory<{ $heap }> = BootMemory::new();
            static STACK: BootMemory<{ $stack }> = BootMemory::new();

            // SAFETY: the linker script's entry symbol; no other crate defines it.
            #[unsafe(no_mangle)]
            // SAFETY: the section is executable and placed first.
            #[unsafe(link_section = ".text._start")]
            #[unsafe(naked)]
            unsafe extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "xor ebp, ebp",
                    "lea rsp, [rip + {stack} + {stack_bytes}]",
                    "call {entry}",
                    "ud2",
                    stack = sym STACK,
                    stack_bytes = const $stack,
                    entry = sym __d3os_entry,
                )
            }

            unsafe extern "C" fn __d3os_entry(boot_info: *const $crate::abi::BootInfo) -> ! {
                let stack_top = STACK.base().addr() + STACK.bytes();
                // SAFETY: the argument is the register as the kernel set it, heap and stack are
                // used for nothing else, and nothing ran before.
                unsafe {
                    $crate::rt::start_root(
                        boot_info,
                        HEAP.base(),
                        HEAP.bytes(),
                        stack_top as u64,
                        __d3os_main,
                    )
                }
            }

            fn __d3os_main(boot_info: &'static $crate::abi::BootInfo) -> i32 {
                $crate::rt::Termination::report($main(boot_info))
            }
        };

        $crate::__host_main!($main, "this is a root task of the D3OS kernel");
    };
}

/// On a host: a `main` that says that it is not the place, and keeps the program's own in use.
#[doc(hidden)]
#[macro_export]
macro_rules! __host_main {
    ($main:path, $text:literal) => {
        #[cfg(not(target_os = "none"))]
        fn main() {
            let _ = $main;
            ::std::eprintln!($text);
            ::std::process::exit(1);
        }
    };
}
