//! All that the firmware's tables tell, each on its own: a table that is missing or broken costs
//! what it describes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::acpi::directory::RootError;
use crate::acpi::fadt::Fadt;
use crate::acpi::hpet::Hpet;
use crate::acpi::madt::Madt;
use crate::acpi::mcfg::Mcfg;
use crate::acpi::nfit::Nfit;
use crate::acpi::slit::Slit;
use crate::acpi::spcr::Spcr;
use crate::acpi::srat::Srat;
use crate::acpi::table::name;
use crate::acpi::{Directory, TableError};
use crate::iommu::Dmar;
use crate::memory::PhysicalMemory;

/// A table, as far as it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Found<T> {
    /// The firmware has none.
    #[default]
    Missing,
    /// It cannot be used.
    Broken(TableError),
    /// What it says.
    Sound(T),
}

impl<T> Found<T> {
    fn read(
        directory: &Directory,
        signature: [u8; 4],
        parse: impl Fn(&[u8]) -> Result<T, TableError>,
    ) -> Self {
        let mut found = Self::Missing;
        let named = directory.tables.iter().filter(|table| table.signature() == Some(signature));
        for table in named {
            match table.bytes.as_ref().map_err(|error| *error).and_then(|bytes| parse(bytes)) {
                Ok(sound) => return Self::Sound(sound),
                Err(error) => found = Self::Broken(error),
            }
        }
        found
    }

    /// What it says, if it can be used.
    #[must_use]
    pub const fn sound(&self) -> Option<&T> {
        match self {
            Self::Sound(table) => Some(table),
            Self::Missing | Self::Broken(_) => None,
        }
    }

    /// What the machine lacks without it: `None` where it is sound.
    fn lack(&self, table: &'static str, consequence: &'static str) -> Option<Lack> {
        let error = match self {
            Self::Sound(_) => return None,
            Self::Missing => None,
            Self::Broken(error) => Some(*error),
        };
        Some(Lack { table, error, consequence })
    }
}

/// A table that cannot be used, and what follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Its name.
    pub table: &'static str,
    /// What is wrong with it; `None` where it is not there.
    pub error: Option<TableError>,
    /// What follows.
    pub consequence: &'static str,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, error, consequence } = self;
        match error {
            None => write!(f, "no {table}: {consequence}"),
            Some(error) => write!(f, "{table} cannot be used ({error}): {consequence}"),
        }
    }
}

/// All that the tables tell.
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    /// The tables themselves.
    pub directory: Directory,
    /// Why there are none.
    pub root_error: Option<RootError>,
    /// Power registers.
    pub fadt: Found<Fadt>,
    /// Processors and interrupt controllers.
    pub madt: Found<Madt>,
    /// Where configuration space is in memory.
    pub mcfg: Found<Mcfg>,
    /// The event timer.
    pub hpet: Found<Hpet>,
    /// What belongs to which node.
    pub srat: Found<Srat>,
    /// How far nodes are from each other.
    pub slit: Found<Slit>,
    /// Persistent memory.
    pub nfit: Found<Nfit>,
    /// The IOMMU's units.
    pub dmar: Found<Dmar>,
    /// The firmware's console, if it has one.
    pub spcr: Found<Option<Spcr>>,
}

impl Firmware {
    /// Follows the root pointer, whose bytes the boot loader found.
    #[must_use]
    pub fn read(root: &[u8], memory: &(impl PhysicalMemory + ?Sized)) -> Self {
        let (directory, root_error) = match Directory::read(root, memory) {
            Ok(directory) => (directory, None),
            Err(error) => (Directory::default(), Some(error)),
        };
        let of = &directory;
        Self {
            fadt: Found::read(of, Fadt::SIGNATURE, Fadt::parse),
            madt: Found::read(of, Madt::SIGNATURE, Madt::parse),
            mcfg: Found::read(of, Mcfg::SIGNATURE, Mcfg::parse),
            hpet: Found::read(of, Hpet::SIGNATURE, Hpet::parse),
            srat: Found::read(of, Srat::SIGNATURE, Srat::parse),
            slit: Found::read(of, Slit::SIGNATURE, Slit::parse),
            nfit: Found::read(of, Nfit::SIGNATURE, Nfit::parse),
            dmar: Found::read(of, Dmar::SIGNATURE, Dmar::parse),
            spcr: Found::read(of, Spcr::SIGNATURE, Spcr::parse),
            root_error,
            directory,
        }
    }

    /// What this machine lacks, in words; nothing where there are no tables at all, of which
    /// [`Firmware::problems`] tells.
    #[must_use]
    pub fn lacks(&self) -> Vec<Lack> {
        if self.root_error.is_some() {
            return Vec::new();
        }
        let all = [
            self.mcfg.lack("MCFG", "configuration space is reached by ports, 256 bytes each"),
            self.hpet.lack("HPET", "there is no event timer"),
            self.srat.lack("SRAT", "all processors and memory count as one node"),
            self.slit.lack("SLIT", "how far nodes are from each other is not known"),
            self.nfit.lack("NFIT", "there is no persistent memory"),
            self.dmar.lack("DMAR", "there is no IOMMU, drivers are trusted with DMA"),
            self.spcr.lack("SPCR", "the firmware does not say where its console is"),
            self.madt.lack("MADT", "processors are not known to the tables"),
            self.fadt.lack("FADT", "the power registers are not known"),
        ];
        // Without nodes there are no distances to miss.
        let one_node = self.srat == Found::Missing;
        let is_worth_saying = |lack: &Lack| !(one_node && lack.table == "SLIT");
        all.into_iter().flatten().filter(is_worth_saying).collect()
    }

    /// What is wrong with the tables, in words.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let root = self.root_error.map(|error| error.to_string());
        let directory = &self.directory;
        let list = directory.fell_back.then(|| {
            "the list of ACPI tables (XSDT) is damaged; the older one (RSDT) is used".to_string()
        });
        let cut = directory.cut.then(|| "there are more ACPI tables than are read".to_string());
        let tables = directory.tables.iter().filter_map(|table| {
            let error = table.bytes.as_ref().err()?;
            let name = table.signature().map_or_else(|| "?".to_string(), name);
            Some(format!("the ACPI table {name} at {:#x}: {error}", table.address))
        });
        let contents = self.broken().map(|(name, error)| format!("the ACPI table {name}: {error}"));
        root.into_iter().chain(list).chain(cut).chain(tables).chain(contents).collect()
    }

    /// Tables whose bytes are sound and contradict themselves.
    fn broken(&self) -> impl Iterator<Item = (&'static str, TableError)> {
        let error = |lack: Option<Lack>| lack.and_then(|lack| Some((lack.table, lack.error?)));
        let all = [
            error(self.fadt.lack("FADT", "")),
            error(self.madt.lack("MADT", "")),
            error(self.mcfg.lack("MCFG", "")),
            error(self.hpet.lack("HPET", "")),
            error(self.srat.lack("SRAT", "")),
            error(self.slit.lack("SLIT", "")),
            error(self.nfit.lack("NFIT", "")),
            error(self.spcr.lack("SPCR", "")),
        ];
        let is_listed = |error: &TableError| {
            matches!(error, TableError::Unreadable | TableError::Checksum | TableError::NoRoom)
                || matches!(error, TableError::TooLong(_))
        };
        all.into_iter().flatten().filter(move |(_, error)| !is_listed(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acpi::samples::{Machine, changes};
    use proptest::prelude::*;

    fn read(machine: &Machine) -> Firmware {
        Firmware::read(&machine.root, &machine.memory()[..])
    }

    #[test]
    fn whole_machines_are_read() {
        let q35 = read(&Machine::q35());
        assert!(q35.problems().is_empty());
        let lacks: Vec<_> = q35.lacks().iter().map(ToString::to_string).collect();
        assert_eq!(lacks, ["no SPCR: the firmware does not say where its console is"]);
        let pc = read(&Machine::pc());
        let lacks: Vec<_> = pc.lacks().iter().map(|lack| lack.table).collect();
        assert_eq!((lacks, pc.problems()), (vec!["MCFG", "NFIT", "DMAR", "SPCR"], vec![]));
    }

    #[test]
    fn a_machine_without_tables_says_one_thing() {
        let none = Firmware::read(&[], &Machine::q35().memory()[..]);
        assert_eq!(none.problems(), ["there is no ACPI root pointer"]);
        assert!(none.lacks().is_empty());
    }

    #[test]
    fn damage_is_told_once_with_what_follows() {
        let mut machine = Machine::q35();
        let (hpet, srat) = (machine.find(b"HPET"), machine.find(b"SRAT"));
        machine.tables[hpet + 45] ^= 1;
        // A record's length, with the sum made right.
        machine.tables[srat + 49] = 1;
        machine.tables[srat + 9] = machine.tables[srat + 9].wrapping_add(16 - 1);
        let firmware = read(&machine);
        let lacks: Vec<_> = firmware.lacks().iter().map(ToString::to_string).collect();
        assert_eq!(
            lacks[0],
            "HPET cannot be used (its checksum is wrong): there is no event timer"
        );
        assert!(lacks[1].starts_with("SRAT cannot be used (the structure at byte 48"), "{lacks:?}");
        let problems = firmware.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(firmware.nfit.sound().is_some() && firmware.mcfg.sound().is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Any damage anywhere: every table that is not damaged says what it said before.
        #[test]
        fn damage_costs_the_damaged_tables_only(changes in changes(), is_q35: bool) {
            let sound = if is_q35 { Machine::q35() } else { Machine::pc() };
            let mut machine = sound.clone();
            machine.damage(&changes);
            let (before, after) = (read(&sound), read(&machine));
            if after.root_error.is_some() || after.directory.fell_back {
                return Ok(());
            }
            let same = |name: &[u8; 4]| before.directory.sound(name) == after.directory.sound(name);
            prop_assert!(!same(b"MCFG") || before.mcfg == after.mcfg);
            prop_assert!(!same(b"HPET") || before.hpet == after.hpet);
            prop_assert!(!same(b"SRAT") || before.srat == after.srat);
            prop_assert!(!same(b"NFIT") || before.nfit == after.nfit);
            let broken = after.directory.tables.iter().filter(|table| table.bytes.is_err()).count();
            prop_assert!(after.problems().len() >= broken);
        }
    }
}
