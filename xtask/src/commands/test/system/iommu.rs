//! Devices reach their drivers' memory and nothing else. QEMU's educational device, which does DMA to
//! any address that it is told, is told the kernel's.

use super::lab::Lab;
use super::session::Session;
use super::{Failure, Outcome, Test, contains, unexpected};
use crate::vm::{Iommu, Machine, Platform};

pub(crate) const TESTS: [Test; 4] = [
    ("iommu::a_device_reaches_the_memory_of_its_driver_only", own_memory_only),
    ("iommu::a_restart_of_the_platform_server_changes_nothing", restart),
    ("iommu::without_one_drivers_are_trusted", trusted),
    ("iommu::routes_are_told_or_given_up", routes),
];

/// The kernel, where the device must not come.
const KERNEL: &str = "0x100000";
/// The column of a unit's row that counts what was refused.
const REFUSED: usize = 4;
/// How often the log is looked at.
const LOOKS: u32 = 60;
/// What a driver sees of transfers within its own memory, each announced by a remapped interrupt.
const OWN: [&str; 2] = ["edu brought its own memory back", "edu interrupted 2 times"];

fn session(lab: &Lab<'_>, iommu: Iommu) -> Result<Session, Failure> {
    // Its addresses have 28 bits otherwise, and regions may be above.
    let extra = ["-device", "edu,dma_mask=0xffffffffffffffff"].map(Into::into).to_vec();
    let machine = Machine { iommu, extra, ..lab.machine_with(lab.iommu()?) };
    Ok(Session::at_prompt(&machine)?)
}

/// Aims where it must not, and sees that it was refused and said.
fn aim_at_the_kernel(session: &mut Session) -> Outcome {
    let read = session.run(&format!("run edu --read {KERNEL}"))?;
    contains(&read, &["edu could not read there", "edu interrupted 3 times"])?;
    let refused = session.run("iommu")?;
    contains(&refused, &[&format!("was kept from reading {KERNEL} (no mapping)")])?;
    let write = session.run(&format!("run edu --write {KERNEL}"))?;
    contains(&write, &[&format!("edu was told to write to {KERNEL}")])?;
    let refused = session.run("iommu")?;
    contains(&refused, &[&format!("was kept from writing {KERNEL} (no mapping)")])
}

fn own_memory_only(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, Iommu::Present)?;
    let before = usage(&mut session)?;
    contains(&session.run("run edu")?, &OWN)?;
    aim_at_the_kernel(&mut session)?;
    contains(&session.run("run edu")?, &OWN)?;
    let log = session.run("log -n 60")?;
    contains(&log, &["translates devices' addresses of 39 bits and their interrupts"])?;
    unchanged(&mut session, &before)
}

/// The tables are built anew while the device's driver has it.
fn restart(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, Iommu::Present)?;
    let before = usage(&mut session)?;
    for _ in 0..3 {
        session.run("kill platform")?;
        contains(&session.run("run edu")?, &OWN)?;
        unchanged(&mut session, &before)?;
    }
    aim_at_the_kernel(&mut session)
}

fn trusted(lab: &Lab<'_>) -> Outcome {
    let mut session = session(lab, Iommu::Absent)?;
    contains(&session.run("iommu")?, &["drivers are trusted with DMA"])?;
    contains(&session.run("run edu")?, &OWN)?;
    let log = session.run("log -n 60")?;
    contains(&log, &["no DMAR: there is no IOMMU, drivers are trusted with DMA"])
}

/// On the old chipset the interpreter of the firmware's bytecode dies; the machine is not the worse.
fn routes(lab: &Lab<'_>) -> Outcome {
    let machine = lab.machine_with(lab.iommu()?);
    for (platform, says) in [
        (Platform::Modern, "the firmware's bytecode tells 128 routes of interrupt pins"),
        (Platform::Old, "the firmware's bytecode could not be evaluated to its end"),
    ] {
        let mut session = Session::at_prompt(&Machine { platform, ..machine.clone() })?;
        log_says(&mut session, says)?;
    }
    Ok(())
}

/// Waits until the log has it: some programs start after the shell, and again after a pause.
fn log_says(session: &mut Session, says: &str) -> Outcome {
    for _ in 0..LOOKS {
        if session.run("log -n 60")?.contains(says) {
            return Ok(());
        }
        session.run("sleep 100")?;
    }
    Err(unexpected(format!("no {says:?} in the log"), &session.run("log -n 60")?))
}

/// What the IOMMU's tables hold: the unit's row without what was refused, and the devices.
fn usage(session: &mut Session) -> Result<Vec<String>, Failure> {
    let output = session.run("iommu")?;
    let rows = output.lines().filter(|line| line.starts_with("0x") || line.contains(".0  "));
    let rows: Vec<String> = rows.filter(|line| !line.contains("kept from")).map(row).collect();
    match rows.len() {
        2 => Ok(rows),
        _ => Err(unexpected("not one unit and one device", &output)),
    }
}

/// A row without the column that counts what was refused.
fn row(line: &str) -> String {
    let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    let kept = cells.enumerate().filter(|(number, _)| *number != REFUSED).map(|(_, cell)| cell);
    kept.collect::<Vec<_>>().join(", ")
}

fn unchanged(session: &mut Session, before: &[String]) -> Outcome {
    let now = usage(session)?;
    match now == before {
        true => Ok(()),
        false => Err(unexpected(format!("not {before:?}"), &now.join("\n"))),
    }
}
