//! What the system knows of machines: functions behind bridges, nodes, persistent memory, tables.

use super::lab::Lab;
use super::script::output_of;
use super::{Outcome, Test, contains, unexpected};
use crate::vm::{Machine, Platform};

pub(crate) const TESTS: [Test; 3] = [
    ("platform::a_server_with_two_nodes", two_nodes),
    ("platform::a_machine_without_express", without_express),
    ("platform::a_restart_of_the_server_disturbs_nobody", restart),
];

/// A card behind a root port; two nodes, of which one has an NVDIMM.
fn two_nodes(lab: &Lab<'_>) -> Outcome {
    let lines = "lspci; lspci -v; acpi; acpi NFIT; numa; log";
    let machine = Machine {
        cores: 4,
        memory: "512M,slots=2,maxmem=1G".into(),
        chipset_options: vec!["nvdimm=on".into(), "nvdimm-persistence=mem-ctrl".into()],
        extra: arguments(
            "-object memory-backend-ram,id=ram0,size=256M \
             -object memory-backend-ram,id=ram1,size=256M \
             -numa node,nodeid=0,memdev=ram0,cpus=0-1 -numa node,nodeid=1,memdev=ram1,cpus=2-3 \
             -numa dist,src=0,dst=1,val=21 \
             -object memory-backend-ram,id=pmem,size=64M -device nvdimm,memdev=pmem,node=1 \
             -device pcie-root-port,id=downstream,chassis=1,slot=1 -device e1000e,bus=downstream",
        ),
        ..lab.script("two-nodes", lines)?
    };
    let output = output_of(&machine)?;
    contains(&output, &["PCI bridge", "1b36:000c", "01:00.0  Ethernet controller", "8086:10d3"])?;
    contains(&output, &["Buses behind it: 01 to 01", "[size=128K]", "MSI-X, 5 vectors"])?;
    contains(&output, &["MCFG", "SRAT", "SLIT", "NFIT", "sound"])?;
    contains(&output, &["persistent memory 0x", "node 1", "the memory controllers"])?;
    contains(&output, &["   0  0-1", "   1  2-3", "       1    21    10", "64 MiB", "armed"])?;
    contains(&output, &["2 node(s)", "no SPCR: "])?;
    match output.contains("no MCFG") || output.contains("cannot be used") {
        false => Ok(()),
        true => Err(unexpected("a table is missed that is there", &output)),
    }
}

/// Configuration space by ports.
fn without_express(lab: &Lab<'_>) -> Outcome {
    let machine = Machine {
        platform: Platform::Old,
        chipset_options: vec!["hpet=off".into()],
        extra: arguments("-device pci-bridge,chassis_nr=1,id=bridge -device edu,bus=bridge,addr=3"),
        ..lab.script("without-express", "lspci; acpi; numa; log")?
    };
    let output = output_of(&machine)?;
    contains(&output, &["8086:1237", "8086:7000", "IDE controller", "01:03.0", "1234:11e8"])?;
    contains(&output, &["no MCFG: configuration space is reached by ports", "no HPET: "])?;
    contains(&output, &["no NFIT: there is no persistent memory", "PROCESSORS"])
}

/// Its second instance finds the same machine.
fn restart(lab: &Lab<'_>) -> Outcome {
    let output = output_of(&lab.script("platform-restart", "lspci; kill platform; lspci; ps")?)?;
    let output = output.replace('\r', "");
    let list = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("00:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (before, after) = output.split_once("`platform` was ended").unwrap_or((&output, ""));
    match list(before) == list(after) && !list(after).is_empty() {
        true => Ok(()),
        false => Err(unexpected("another machine after the restart", &output)),
    }
}

fn arguments(words: &str) -> Vec<std::ffi::OsString> {
    words.split_whitespace().map(Into::into).collect()
}
