//! Making a unit forget what it knows of tables: by its queue, or where it has none by registers
//! (VT-d, sections 6.5.1 and 6.5.2).

use super::registers::{Capabilities, Command, Registers, offset};
use super::tables::{TableMemory, Writer};
use super::unit::{Doing, UnitError, command, until};

/// Descriptors of 16 bytes in the queue, which is a page.
const DESCRIPTORS: u64 = 256;
const DESCRIPTOR_BYTES: u64 = 16;
/// Context command and translation command: do it; cleared by the unit when it is done.
const GO: u64 = 1 << 63;

/// What to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// All contexts and translations.
    Everything,
    /// One requester's context entry, and all translations of the domain that it had.
    Device {
        /// The requester.
        source: u16,
        /// The domain's number.
        domain: u16,
    },
    /// All entries of the interrupt table.
    Interrupts,
    /// One entry of the interrupt table.
    Interrupt(u16),
}

/// The two pages that a queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePages {
    /// The descriptors.
    pub descriptors: usize,
    /// In its first word the unit writes the number of the last wait that it came to.
    pub status: usize,
}

/// The way to make a unit forget.
#[derive(Debug)]
pub enum Invalidation {
    /// By descriptors in memory.
    Queue {
        /// Where they are.
        pages: QueuePages,
        /// The next descriptor to write.
        tail: u64,
        /// The last wait's number.
        waits: u32,
    },
    /// By two registers.
    Registers,
}

impl Invalidation {
    /// Sets the better way up. A queue that a predecessor left is emptied and stopped first: no state
    /// of it is taken over.
    ///
    /// # Errors
    /// [`UnitError::Unresponsive`].
    pub fn set_up<M: TableMemory + ?Sized>(
        registers: &mut impl Registers,
        capabilities: &Capabilities,
        pages: QueuePages,
        writer: &mut Writer<'_, M>,
    ) -> Result<Self, UnitError> {
        if !capabilities.queue {
            return Ok(Self::Registers);
        }
        stop_queue(registers)?;
        writer.clear(pages.descriptors);
        writer.clear(pages.status);
        registers.write64(offset::QUEUE_TAIL, 0);
        // Descriptors of 128 bits, one page of them.
        registers.write64(offset::QUEUE, writer.memory.bus(pages.descriptors));
        command(registers, Command::QUEUE, Command::empty());
        until(registers, Doing::StartingQueue, |registers| status(registers, Command::QUEUE))?;
        Ok(Self::Queue { pages, tail: 0, waits: 0 })
    }

    /// Makes the unit forget, and returns when it has: also when reads and writes under way that
    /// used what is forgotten have come to their end.
    ///
    /// # Errors
    /// [`UnitError::Unresponsive`]; nothing can be said about what the unit knows then.
    pub fn forget<M: TableMemory + ?Sized>(
        &mut self,
        what: Forget,
        registers: &mut impl Registers,
        capabilities: &Capabilities,
        writer: &mut Writer<'_, M>,
    ) -> Result<(), UnitError> {
        flush_writes(registers, capabilities)?;
        match self {
            Self::Registers => by_registers(what, registers, capabilities),
            Self::Queue { pages, tail, waits } => {
                let (first, second) = descriptors(what, capabilities.drains);
                for descriptor in [Some(first), second].into_iter().flatten() {
                    put(*pages, tail, descriptor, writer);
                }
                *waits = waits.wrapping_add(1).max(1);
                let wait = wait_descriptor(*waits, writer.memory.bus(pages.status));
                put(*pages, tail, wait, writer);
                registers.write64(offset::QUEUE_TAIL, *tail * DESCRIPTOR_BYTES);
                let (page, number) = (pages.status, u64::from(*waits));
                let memory = &*writer.memory;
                until(registers, Doing::Forgetting, |_| {
                    memory.read(page, 0) & 0xffff_ffff == number
                })
            }
        }
    }
}

/// Lets a queue come to its end, and stops it.
fn stop_queue(registers: &mut impl Registers) -> Result<(), UnitError> {
    if !status(registers, Command::QUEUE) {
        return Ok(());
    }
    until(registers, Doing::StoppingQueue, |registers| {
        registers.read64(offset::QUEUE_HEAD) == registers.read64(offset::QUEUE_TAIL)
    })?;
    command(registers, Command::empty(), Command::QUEUE);
    until(registers, Doing::StoppingQueue, |registers| !status(registers, Command::QUEUE))
}

fn status(registers: &mut impl Registers, bit: Command) -> bool {
    Command::from_bits_retain(registers.read32(offset::STATUS)).contains(bit)
}

/// Old units keep writes to tables in a buffer (section 6.8).
fn flush_writes(
    registers: &mut impl Registers,
    capabilities: &Capabilities,
) -> Result<(), UnitError> {
    if !capabilities.buffers_writes {
        return Ok(());
    }
    command(registers, Command::FLUSH_WRITES, Command::empty());
    until(registers, Doing::Forgetting, |registers| !status(registers, Command::FLUSH_WRITES))
}

/// Writes a descriptor into the queue. There is always room: every one is waited for.
fn put<M: TableMemory + ?Sized>(
    pages: QueuePages,
    tail: &mut u64,
    [low, high]: [u64; 2],
    writer: &mut Writer<'_, M>,
) {
    let word = usize::try_from(*tail).unwrap_or(0) * 2;
    writer.write(pages.descriptors, word, low);
    writer.write(pages.descriptors, word + 1, high);
    *tail = (*tail + 1) % DESCRIPTORS;
}

/// The descriptors that say what to forget (sections 6.5.2.1 to 6.5.2.4). Contexts go first: the
/// unit would find translations anew by an old context.
fn descriptors(what: Forget, drains: bool) -> ([u64; 2], Option<[u64; 2]>) {
    let drain = if drains { 0b11 << 6 } else { 0 };
    match what {
        Forget::Everything => ([0x1 | 1 << 4, 0], Some([0x2 | 1 << 4 | drain, 0])),
        Forget::Device { source, domain } => {
            let number = u64::from(domain) << 16;
            let context = 0x1 | 3 << 4 | number | u64::from(source) << 32;
            ([context, 0], Some([0x2 | 2 << 4 | drain | number, 0]))
        }
        Forget::Interrupts => ([0x4, 0], None),
        Forget::Interrupt(place) => ([0x4 | 1 << 4 | u64::from(place) << 32, 0], None),
    }
}

/// Writes `number` at `address` when all before it is done (section 6.5.2.8).
fn wait_descriptor(number: u32, address: u64) -> [u64; 2] {
    [0x5 | 1 << 5 | u64::from(number) << 32, address]
}

fn by_registers(
    what: Forget,
    registers: &mut impl Registers,
    capabilities: &Capabilities,
) -> Result<(), UnitError> {
    let (context, translations) = match what {
        Forget::Everything => (1 << 61, 1 << 60),
        Forget::Device { source, domain } => {
            let context = 3 << 61 | u64::from(source) << 16 | u64::from(domain);
            (context, 2 << 60 | u64::from(domain) << 32)
        }
        // A unit without a queue cannot remap interrupts.
        Forget::Interrupts | Forget::Interrupt(_) => return Ok(()),
    };
    let drain = if capabilities.drains { 0b11 << 48 } else { 0 };
    ask(registers, offset::CONTEXT_COMMAND, context)?;
    ask(registers, capabilities.translation_offset + 8, translations | drain)
}

fn ask(registers: &mut impl Registers, offset: u32, what: u64) -> Result<(), UnitError> {
    registers.write64(offset, GO | what);
    until(registers, Doing::Forgetting, |registers| registers.read64(offset) & GO == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_as_the_specification_has_them() {
        let device = Forget::Device { source: 0x0028, domain: 0x1234 };
        assert_eq!(
            descriptors(device, true),
            ([0x0028_1234_0031, 0], Some([0x0000_0000_1234_00e2, 0]))
        );
        assert_eq!(descriptors(Forget::Everything, false), ([0x11, 0], Some([0x12, 0])));
        assert_eq!(descriptors(Forget::Interrupts, true), ([0x4, 0], None));
        assert_eq!(descriptors(Forget::Interrupt(7), true), ([0x7_0000_0014, 0], None));
        assert_eq!(wait_descriptor(9, 0x5000), [0x9_0000_0025, 0x5000]);
    }
}
