//! Pools with few and with many objects, opened after power was lost.

use std::path::Path;

use libd3os_object::ObjectId;
use libd3os_object::control::Slot;
use libd3os_object::medium::Mapped;
use pmem::{Ground, Layout, New, Pool, Principal};

use crate::Outcome;
use crate::ours::machine;
use crate::timing::figure;

/// Objects in the pools; each has the fewest pages that an object can have.
const SIZES: [u64; 3] = [1_000, 10_000, 100_000];
const OBJECT_PAGES: u64 = 3;
/// Creations that the log speaks of when the power is lost.
const RECENT: u64 = 100;
/// Of each log: more than they take, so that nothing is written back before.
const LOG_PAGES: u64 = 64;
/// What a pool has beside its objects.
const SPARE_BYTES: usize = 32 << 20;
/// Openings that are measured.
const TIMES: u64 = 20;

pub(crate) fn measure(folder: &Path) -> Outcome {
    SIZES.into_iter().try_for_each(|objects| opened(folder, objects))
}

fn opened(folder: &Path, objects: u64) -> Outcome {
    let all = objects + RECENT * (TIMES + 1);
    let bytes = usize::try_from(all * OBJECT_PAGES * 4096 * 5 / 4)? + SPARE_BYTES;
    let (medium, file) = machine::map(&folder.join("pool"), bytes)?;
    let layout = Layout { log_pages: LOG_PAGES, ..Layout::usual(1, bytes as u64) };
    let mut pool = Pool::create(medium, layout, Ground::Unknown)?;
    fill(&mut pool, 0, objects)?;
    drop(pool);
    // What is left of filling it.
    let mut pool = Pool::open(medium)?.pool;
    let mut next = objects;
    for time in 0..=TIMES {
        fill(&mut pool, next, RECENT)?;
        next += RECENT;
        begin_sessions(&mut pool)?;
        // Nothing is written back: what was committed last is in the log only.
        drop(pool);
        pool = if time == 0 {
            open(medium)?
        } else {
            figure("pool", &format!("open, {objects} objects"), 1, || open(medium))?
        };
    }
    drop(pool);
    drop(file);
    Ok(())
}

fn fill(pool: &mut Pool<Mapped>, first: u64, objects: u64) -> Outcome {
    for number in first..first + objects {
        let id = ObjectId::new(number.into());
        pool.create_object(New { id, pages: OBJECT_PAGES, owner: Principal::POOL, base: &number })?;
    }
    Ok(())
}

/// So that all logs are looked at when the pool is opened.
fn begin_sessions(pool: &mut Pool<Mapped>) -> Outcome {
    let program = pool.principal("program")?;
    for slot in (1..Slot::COUNT).filter_map(Slot::new) {
        pool.begin_session(slot, program)?;
    }
    Ok(())
}

fn open(medium: Mapped) -> Result<Pool<Mapped>, Box<dyn std::error::Error>> {
    let opened = Pool::open(medium)?;
    let findings = [opened.own.findings, opened.programs.findings].concat();
    if findings.is_empty() && opened.own.applied >= RECENT {
        Ok(opened.pool)
    } else {
        Err(format!("{} changes were recovered, {findings:?}", opened.own.applied).into())
    }
}
