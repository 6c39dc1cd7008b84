//! One store under the work that all of them do: `libd3os-object-bench STORE FOLDER RECORDS`.
//!
//! A line per figure is printed: store, work, nanoseconds of this thread's CPU time per operation,
//! separated by tabs. Work is the same for all: records of 64 bytes (a key of 8, a value of 56) are
//! inserted, each in a durable transaction of its own, then looked up in another order. A file in the
//! memory of the host stands for persistent memory, so that no store waits for a disk.
//! `cargo xtask bench pmem` runs this, and its like in C for libpmemobj, and makes a table.

#[expect(unsafe_code, reason = "nobody else may change the file that is mapped")]
mod lmdb;
mod ours;
mod plain;
mod pool;
mod records;
mod redb_store;
mod search;
mod timing;

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let mut arguments = env::args().skip(1);
    let (Some(store), Some(folder), Some(records)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: libd3os-object-bench STORE FOLDER RECORDS".into());
    };
    let (folder, records) = (Path::new(&folder), records.parse()?);
    fs::create_dir_all(folder)?;
    match &*store {
        "ours" => ours::measure(folder, records),
        "pool" => pool::measure(folder),
        "search" => search::measure(),
        "plain" => plain::measure(records),
        "lmdb" => lmdb::measure(&store, heed::EnvFlags::empty(), folder, records),
        "lmdb-writemap" => lmdb::measure(&store, heed::EnvFlags::WRITE_MAP, folder, records),
        "redb" => redb_store::measure(folder, records),
        other => Err(format!("no store {other:?}").into()),
    }
}
