//! `mem`: where the memory is.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use libd3os::service::supervisor::{MemoryReport, SystemInfo};

use super::{Argument, Arguments, Background, Command, CommandError, Kind, Presence};
use crate::parser::Place;
use crate::session::Session;
use crate::style::Role;
use crate::table::{Cell, Column, Table};
use crate::units::bytes;

/// Bytes of a page, in which frames are counted.
const PAGE: u64 = 4096;

pub(super) static MEM: Command = Command {
    name: "mem",
    summary: "shows memory, used and free, of each core",
    arguments: &[Argument {
        name: "HOW",
        kind: Kind::Choice(&["exact"]),
        presence: Presence::Optional,
        about: "count what programs hold",
    }],
    flags: &[],
    background: Background::Refused,
    help: "RAM is what belongs to the core, and on a machine with several, what all of them share and \
           have together; kernel is what the kernel instance of the core keeps for \
           itself; untyped is what it handed out at the start, from which init makes every other \
           object. Of that, the part set aside for programs is `programs`, and within it `frames` \
           are the pages (4 KiB) that hold their code, data, heaps and stacks; `shared` is the \
           memory that programs share, with their devices and each other.\n\n\
           `mem exact` counts to the byte what core 0's init holds for programs: whatever ends and \
           is started again, the figures are the same.",
    run,
};

fn run(session: &mut Session<'_>, arguments: &Arguments<'_>, _: Place) -> Result<(), CommandError> {
    match arguments.get("HOW") {
        Some(_) => exact(session),
        None => overview(session),
    }
}

fn exact(session: &mut Session<'_>) -> Result<(), CommandError> {
    let mut table = Table::new([Column::right("AMOUNT"), Column::left("OF WHAT")]);
    for held in session.system.holdings()? {
        table.row([held.amount.to_string().into(), held.what.into()]);
    }
    session.table(&table);
    Ok(())
}

fn overview(session: &mut Session<'_>) -> Result<(), CommandError> {
    let mut table = Table::new([
        Column::right("CORE"),
        Column::left("MEMORY"),
        Column::right("TOTAL"),
        Column::right("USED"),
        Column::right("FREE"),
        Column::elastic("WHAT IT IS"),
    ]);
    let info = session.system.info()?;
    let reports = session.system.memory()?;
    let own = if reports.len() > 1 { "the core's own" } else { "in the machine" };
    for row in reports.iter().flat_map(|report| rows(report, own)).chain(shared(&info)) {
        table.row(row);
    }
    session.table(&table);
    Ok(())
}

/// What is no core's: nothing on a machine with one.
fn shared(info: &SystemInfo) -> impl Iterator<Item = [Cell; 6]> {
    let row = |name, total, about: &str| row("all", name, [Some(total), None, None], about.into());
    let rows = [
        row("pool", info.pool_bytes, "RAM that the cores share"),
        row("RAM", info.ram_bytes, "in the machine"),
    ];
    rows.into_iter().filter(|_| info.pool_bytes > 0)
}

fn rows(report: &MemoryReport, own: &str) -> Vec<[Cell; 6]> {
    let &MemoryReport { core, untyped_total, untyped_free, frames_used, frames_free, .. } = report;
    let core = core.to_string();
    let whole = |name, total, about| row(&core, name, [Some(total), None, None], about);
    let divided = |name, used: u64, free: u64, about| {
        row(&core, name, [Some(used.saturating_add(free)), Some(used), Some(free)], about)
    };
    let untyped_used = untyped_total.saturating_sub(untyped_free);
    let mut rows = alloc::vec![
        whole("RAM", report.ram_bytes, own.into()),
        whole("kernel", report.kernel_bytes, "kept by the kernel".into()),
        divided("untyped", untyped_used, untyped_free, "handed out by the kernel".into()),
        whole("programs", report.programs_bytes, "untyped set aside for programs".into()),
        divided("frames", pages(frames_used), pages(frames_free), frames(frames_used, frames_free)),
    ];
    if report.regions_bytes > 0 {
        rows.push(whole("shared", report.regions_bytes, "memory that programs share".into()));
    }
    rows
}

fn row(core: &str, name: &str, amounts: [Option<u64>; 3], about: String) -> [Cell; 6] {
    let [total, used, free] = amounts.map(|amount| amount.map(bytes).unwrap_or_default());
    let about = Cell::new(Role::Faint, about);
    [core.into(), name.into(), total.into(), used.into(), free.into(), about]
}

fn pages(count: u64) -> u64 {
    count.saturating_mul(PAGE)
}

fn frames(used: u64, free: u64) -> String {
    format!("{used} of {} pages in use", used.saturating_add(free))
}
