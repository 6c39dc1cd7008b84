//! LMDB, through heed.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use heed::byteorder::NativeEndian;
use heed::types::{Bytes, U64};
use heed::{Database, EnvFlags, EnvOpenOptions, IntegerComparator};

use crate::Outcome;
use crate::records::{asked, first_word, key, value};
use crate::timing::figure;

const MOST_BYTES: usize = 4 << 30;
const BATCH: u64 = 1000;

pub(crate) fn measure(store: &str, flags: EnvFlags, folder: &Path, records: u64) -> Outcome {
    for (name, batch) in [("insert", 1), ("insert in thousands", BATCH)] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MOST_BYTES);
        // SAFETY: of the flags, those that are used leave all of LMDB's promises as they are.
        unsafe { options.flags(flags) };
        // SAFETY: the folder was made for this run, in which it is opened once.
        let environment = unsafe { options.open(&folder) }?;
        let mut transaction = environment.write_txn()?;
        let map: Database<U64<NativeEndian>, Bytes, IntegerComparator> = environment
            .database_options()
            .types::<U64<NativeEndian>, Bytes>()
            .key_comparator::<IntegerComparator>()
            .create(&mut transaction)?;
        transaction.commit()?;
        figure(store, name, records, || {
            for first in (0..records).step_by(usize::try_from(batch)?) {
                let mut transaction = environment.write_txn()?;
                for record in first..records.min(first + batch) {
                    map.put(&mut transaction, &key(record), &value(record))?;
                }
                transaction.commit()?;
            }
            Ok(())
        })?;
        if batch == 1 {
            figure(store, "lookup", records, || {
                let transaction = environment.read_txn()?;
                let mut sum = 0;
                for step in 0..records {
                    let found = map.get(&transaction, &key(asked(step, records)))?;
                    sum ^= first_word(found.ok_or("a record is missing")?);
                }
                Ok(black_box(sum))
            })?;
        }
    }
    Ok(())
}
