//! The ISO image on both kinds of firmware, with little and much memory, with one and four cores.

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, contains};
use crate::vm::{Firmware, Machine};

pub(crate) const TESTS: [Test; 4] = [
    ("firmware::bios_256m_1", |lab| boots(lab, Firmware::Bios, "256M", 1)),
    ("firmware::bios_8g_4", |lab| boots(lab, Firmware::Bios, "8G", 4)),
    ("firmware::uefi_256m_4", |lab| boots(lab, lab.uefi(), "256M", 4)),
    ("firmware::uefi_8g_1", |lab| boots(lab, lab.uefi(), "8G", 1)),
];

fn boots(lab: &Lab<'_>, firmware: Firmware, memory: &str, cores: u32) -> Outcome {
    let machine = Machine { cores, memory: memory.into(), ..lab.iso_machine(firmware) };
    let mut session = Session::at_prompt(&machine)?;
    let plural = if cores == 1 { "1 core," } else { "4 cores," };
    contains(&session.run("version")?, &["D3OS", plural])?;
    contains(&session.run("run hello")?, &["Hello from hello"])
}
