//! The D3OS microkernel: everything is in `kernel-core` and `kernel-x86_64`; here they become a
//! binary, whose first instruction is `boot_entry`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    kernel_x86_64::panic(info)
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the kernel runs on bare hardware: cargo xtask build, then cargo xtask qemu");
}
