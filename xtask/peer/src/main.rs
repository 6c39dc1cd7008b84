//! The first and only program of a Linux guest: brings up the network card and does what
//! `cargo xtask bench io` measures, as D3OS's own program `echo` does it.
//!
//! Arguments: the address that the card gets. Modules lie in `/modules`, to be loaded in the order of
//! their names.

mod echo;
#[expect(unsafe_code, reason = "a card is given its address by ioctl")]
mod interface;

use std::error::Error;
use std::fs::{self, File};

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

fn main() {
    let Err(error) = run();
    eprintln!("linux-peer: {error}");
    // The first program may not end.
    let refused = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("linux-peer: {refused:?}");
}

fn run() -> Result<std::convert::Infallible, Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("needs the card's address")?.parse()?;
    mount(None::<&str>, "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)?;
    load_modules()?;
    interface::bring_up(address)?;
    Ok(echo::serve()?)
}

fn load_modules() -> Result<(), Box<dyn Error>> {
    let files: Result<Vec<_>, _> =
        fs::read_dir("/modules")?.map(|file| Ok::<_, std::io::Error>(file?.path())).collect();
    let mut files = files?;
    files.sort();
    for path in files {
        finit_module(File::open(&path)?, c"", ModuleInitFlags::empty())
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
