//! redb.

use std::hint::black_box;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};

use crate::Outcome;
use crate::records::{VALUE_BYTES, asked, first_word, key, value};
use crate::timing::figure;

const TABLE: TableDefinition<'_, u64, [u8; VALUE_BYTES]> = TableDefinition::new("records");
const BATCH: u64 = 1000;

pub(crate) fn measure(folder: &Path, records: u64) -> Outcome {
    let database = Database::create(folder.join("single"))?;
    insert(&database, "insert", records, 1)?;
    lookup(&database, records)?;
    let database = Database::create(folder.join("batched"))?;
    insert(&database, "insert in thousands", records, BATCH)
}

fn insert(database: &Database, name: &str, records: u64, batch: u64) -> Outcome {
    figure("redb", name, records, || {
        for first in (0..records).step_by(usize::try_from(batch)?) {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(TABLE)?;
            for record in first..records.min(first + batch) {
                table.insert(key(record), value(record))?;
            }
            drop(table);
            transaction.commit()?;
        }
        Ok(())
    })
}

fn lookup(database: &Database, records: u64) -> Outcome {
    figure("redb", "lookup", records, || {
        let transaction = database.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        let mut sum = 0;
        for step in 0..records {
            let found = table.get(key(asked(step, records)))?.ok_or("a record is missing")?;
            sum ^= first_word(&found.value());
        }
        Ok(black_box(sum))
    })?;
    Ok(())
}
