//! The ISO image on machines that nobody has tried: every pair of what differs between them.
//!
//! Which machines, a covering array says ([`super::covering`]). Without `--all` the first dozen are
//! started, which hold most of the pairs; with it, as many as every triple takes.

use super::covering::{Row, covering};
use super::lab::Lab;
use super::session::Session;
use super::sight::{Sight, has_line};
use super::{Case, Outcome, Scope, contains};
use crate::vm::{Firmware, Machine, Medium, Network, NicChoice, Platform, SerialLine};

/// Machines that are started without `--all`.
const REPRESENTATIVE: usize = 12;

const CORES: [u32; 3] = [1, 2, 8];
const MEMORY_MIB: [u32; 3] = [512, 3 << 10, 8 << 10];
const MEDIA: [(&str, Medium); 3] =
    [("cd", Medium::Cd), ("usb", Medium::Usb), ("disk", Medium::Disk)];
const NICS: [(&str, NicChoice); 4] = [
    ("virtio", NicChoice::Virtio),
    ("e1000e", NicChoice::E1000e),
    ("both", NicChoice::Both),
    ("no-nic", NicChoice::None),
];
const PLATFORMS: [(&str, Platform); 2] = [("q35", Platform::Modern), ("pc", Platform::Old)];
/// MiB of the NVDIMM.
const NVDIMM_MIB: u32 = 128;

/// Levels of the factors, in the order in which [`Setting::from_row`] reads them.
const LEVELS: [usize; 11] = [2, 3, 3, 3, 2, 4, 2, 2, 2, 2, 2];
/// The factors whose level 1 is that there is none. A machine with neither of them cannot be seen.
const SCREEN: usize = 7;
const SERIAL: usize = 10;

/// What differs between machines.
#[derive(Clone, Copy, Debug)]
struct Setting {
    uefi: bool,
    medium: usize,
    cores: usize,
    memory: usize,
    two_nodes: bool,
    nics: usize,
    hpet: bool,
    screen: bool,
    nvdimm: bool,
    platform: usize,
    serial: bool,
}

/// The machines, each a test.
pub(super) fn cases(scope: Scope) -> impl Iterator<Item = Case> {
    let (strength, most) = match scope {
        Scope::Representative => (2, REPRESENTATIVE),
        Scope::All => (3, usize::MAX),
    };
    covering(&LEVELS, strength, can_be_seen).into_iter().take(most).map(|row| {
        let setting = Setting::from_row(&row);
        Case::new(setting.name(), move |lab| setting.boots(lab))
    })
}

fn can_be_seen(row: &[Option<usize>]) -> bool {
    (row[SCREEN], row[SERIAL]) != (Some(1), Some(1))
}

impl Setting {
    fn from_row(row: &Row) -> Self {
        Self {
            uefi: row[0] == 1,
            medium: row[1],
            cores: row[2],
            memory: row[3],
            two_nodes: row[4] == 1,
            nics: row[5],
            hpet: row[6] == 0,
            screen: row[SCREEN] == 0,
            nvdimm: row[8] == 1,
            platform: row[9],
            serial: row[SERIAL] == 0,
        }
    }

    fn name(self) -> String {
        let parts = [
            if self.uefi { "uefi" } else { "bios" }.to_owned(),
            MEDIA[self.medium].0.to_owned(),
            PLATFORMS[self.platform].0.to_owned(),
            format!("{}cpu", CORES[self.cores]),
            format!("{}M", MEMORY_MIB[self.memory]),
            if self.two_nodes { "2nodes" } else { "1node" }.to_owned(),
            NICS[self.nics].0.to_owned(),
            if self.hpet { "hpet" } else { "no-hpet" }.to_owned(),
            if self.screen { "screen" } else { "no-screen" }.to_owned(),
            if self.nvdimm { "nvdimm" } else { "no-nvdimm" }.to_owned(),
            if self.serial { "serial" } else { "no-serial" }.to_owned(),
        ];
        format!("matrix::{}", parts.join("_"))
    }

    fn boots(self, lab: &Lab<'_>) -> Outcome {
        match self.serial {
            true => self.answers_on_the_line(lab),
            false => self.answers_on_the_screen(lab),
        }
    }

    fn answers_on_the_line(self, lab: &Lab<'_>) -> Outcome {
        let mut session = Session::at_prompt(&self.machine(lab))?;
        contains(&session.run("version")?, &["D3OS", &self.cores()])?;
        contains(&session.run("run hello")?, &["Hello from hello"])
    }

    /// Without a serial line: keys are pressed, and the answers are read off the screen.
    fn answers_on_the_screen(self, lab: &Lab<'_>) -> Outcome {
        let mut machine = self.machine(lab);
        Sight::prepare(lab, "matrix", &mut machine);
        let _running = Session::start(&machine)?;
        let mut screen = Sight::of(lab, "matrix")?;
        let text = screen.wait("the prompt", |text| has_line(text, "d3os>"))?;
        contains(&text, &["there is no serial port"])?;
        screen.enter("version")?;
        screen.wait("the version", |text| text.contains(&self.cores()))?;
        screen.enter("run hello")?;
        screen.wait("a program's output", |text| text.contains("Hello from hello"))?;
        Ok(())
    }

    /// What `version` says of them.
    fn cores(self) -> String {
        let cores = CORES[self.cores];
        format!("{cores} {},", if cores == 1 { "core" } else { "cores" })
    }

    fn machine(self, lab: &Lab<'_>) -> Machine {
        let firmware = if self.uefi { lab.uefi() } else { Firmware::Bios };
        let network = Network::new(NICS[self.nics].1);
        let off = |is_on: bool, option: &str| (!is_on).then(|| option.to_owned());
        let on = |is_on: bool, option: &str| is_on.then(|| option.to_owned());
        let options = [off(self.hpet, "hpet=off"), on(self.nvdimm, "nvdimm=on")];
        Machine {
            platform: PLATFORMS[self.platform].1,
            cores: CORES[self.cores],
            memory: self.memory(),
            network,
            serial: if self.serial { SerialLine::Terminal } else { SerialLine::Absent },
            chipset_options: options.into_iter().flatten().collect(),
            extra: self.extra().into_iter().map(Into::into).collect(),
            ..lab.iso_machine(firmware, MEDIA[self.medium].1)
        }
    }

    /// RAM, and room for the NVDIMM.
    fn memory(self) -> String {
        let mib = MEMORY_MIB[self.memory];
        match self.nvdimm {
            true => format!("{mib}M,slots=2,maxmem={}M", mib + 1024),
            false => format!("{mib}M"),
        }
    }

    fn extra(self) -> Vec<String> {
        let mut extra = Vec::new();
        let mut add = |option: &str, value: String| extra.extend([option.to_owned(), value]);
        if !self.screen {
            add("-vga", "none".into());
        }
        if self.two_nodes {
            let half = MEMORY_MIB[self.memory] / 2;
            for node in 0..2 {
                add("-object", format!("memory-backend-ram,id=ram{node},size={half}M"));
                add("-numa", format!("node,nodeid={node},memdev=ram{node}"));
            }
        }
        if self.nvdimm {
            add("-object", format!("memory-backend-ram,id=pmem,size={NVDIMM_MIB}M"));
            add("-device", "nvdimm,memdev=pmem".into());
        }
        extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_dozen_machines_without_all_and_each_once() {
        let names: BTreeSet<_> = cases(Scope::Representative).map(|case| case.name).collect();
        assert_eq!(names.len(), REPRESENTATIVE);
        let all: BTreeSet<_> = cases(Scope::All).map(|case| case.name).collect();
        assert!((40..120).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn the_dozen_has_every_level() {
        let rows: Vec<Row> =
            covering(&LEVELS, 2, can_be_seen).into_iter().take(REPRESENTATIVE).collect();
        for (factor, levels) in LEVELS.into_iter().enumerate() {
            let seen: BTreeSet<_> = rows.iter().map(|row| row[factor]).collect();
            assert_eq!(seen.len(), levels, "factor {factor}");
        }
        assert!(rows.iter().all(|row| (row[SCREEN], row[SERIAL]) != (1, 1)), "it cannot be seen");
    }
}
