//! What must not work: a clear message and no hang.

use libd3os::image::{MAGIC, PREFIX_BYTES, seal};

use super::lab::Lab;
use super::session::Session;
use super::{Outcome, Test, unexpected};
use crate::vm::Machine;

pub(crate) const TESTS: [Test; 6] = [
    ("damage::a_changed_byte_in_the_archive", changed_byte),
    ("damage::an_archive_cut_short", cut_short),
    ("damage::a_program_missing_in_the_archive", missing_program),
    ("damage::a_module_that_is_no_program", no_program),
    ("damage::no_archive_at_all", no_archive),
    ("damage::a_quarter_of_the_memory", little_memory),
];

/// A quarter of what the README says is needed. Much less, and QEMU itself finds no place for the
/// archive.
const LITTLE_MEMORY: &str = "12M";

fn changed_byte(lab: &Lab<'_>) -> Outcome {
    let mut module = lab.module_bytes()?;
    let archive = archive(&module);
    let middle = usize::midpoint(archive, module.len());
    module[middle] ^= 0x40;
    refused(lab, "changed", &module, &["damaged"])
}

fn cut_short(lab: &Lab<'_>) -> Outcome {
    let mut module = lab.module_bytes()?;
    let archive = archive(&module);
    module.truncate(usize::midpoint(archive, module.len()));
    refused(lab, "cut", &module, &["cut short", "module", "root task"])
}

/// The archive's directory calls `hello` something else, under a correct checksum.
fn missing_program(lab: &Lab<'_>) -> Outcome {
    let mut module = lab.module_bytes()?;
    let archive = archive(&module);
    let bytes = &mut module[archive..];
    let header = &bytes[..PREFIX_BYTES + header_bytes(bytes)];
    let name = header.windows(5).rposition(|window| window == b"hello").unwrap_or(0);
    bytes[name + 4] = b'x';
    seal(bytes);
    refused(lab, "missing", &module, &["`hello`"])
}

/// The header's length, as the archive's prefix tells it.
fn header_bytes(archive: &[u8]) -> usize {
    let field = archive.get(24..32).and_then(|field| field.first_chunk::<8>());
    field.and_then(|field| usize::try_from(u64::from_le_bytes(*field)).ok()).unwrap_or(0)
}

fn no_program(lab: &Lab<'_>) -> Outcome {
    refused(lab, "text", &b"This is no ELF file.\n".repeat(100), &["ELF", "root task", "module"])
}

/// Init without an archive: the bytes of the archive's magic are gone.
fn no_archive(lab: &Lab<'_>) -> Outcome {
    let mut module = lab.module_bytes()?;
    let archive = archive(&module);
    module[archive..archive + MAGIC.len()].fill(0);
    refused(lab, "empty", &module, &["no boot archive"])
}

fn little_memory(lab: &Lab<'_>) -> Outcome {
    let machine = Machine { memory: LITTLE_MEMORY.into(), ..lab.machine() };
    ends_with_word(&machine, &["memory"])
}

fn refused(lab: &Lab<'_>, name: &str, module: &[u8], words: &[&str]) -> Outcome {
    ends_with_word(&lab.machine_with(&lab.write(name, module)?), words)
}

/// The machine says one of the words, whether it ends then or stands still, and never comes to a
/// prompt.
fn ends_with_word(machine: &Machine, words: &[&str]) -> Outcome {
    let mut session = Session::start(machine)?;
    let told = |text: &str| words.iter().any(|word| text.contains(word));
    session.wait(&format!("one of {words:?}"), |screen| told(&screen.text()))?;
    let screen = session.screen().text();
    match screen.contains("d3os>") {
        false => Ok(()),
        true => Err(unexpected("a prompt on a machine that cannot work", &screen)),
    }
}

/// Where the archive begins in the boot module: its last occurrence of the magic, as init's code
/// holds it too.
fn archive(module: &[u8]) -> usize {
    module.windows(MAGIC.len()).rposition(|window| window == MAGIC).unwrap_or(0)
}
