//! What programs are told of what the pool does not do.

use alloc::string::ToString;

use libd3os::service::pmem::PmemError;
use libd3os_object::TxError;
use libd3os_object::layout::LayoutError;
use libd3os_object::object::OpenError;

use crate::name::NameError;
use crate::pool::PoolError;

/// The error in the interface's terms.
pub(crate) fn told(error: PoolError) -> PmemError {
    match error {
        PoolError::Name(error) => of_name(error),
        PoolError::Full { pages, free } => PmemError::Full { pages, free },
        PoolError::Unknown(_) => PmemError::NotFound,
        PoolError::Exists(_) => PmemError::Exists,
        PoolError::Enclosed(_) => PmemError::Enclosed,
        PoolError::Transaction(TxError::Busy(_) | TxError::Conflict(_)) => PmemError::Busy,
        PoolError::Object(OpenError::Short | OpenError::Layout(LayoutError::Size { .. })) => {
            PmemError::Name(error.to_string())
        }
        PoolError::ReadOnly => PmemError::Unarmed,
        error @ PoolError::Unrecovered { .. } => {
            PmemError::NoPool(alloc::format!("{error}, for which the memory has to be armed"))
        }
        PoolError::Superblock(error) => PmemError::NoPool(error.to_string()),
        error => PmemError::Damaged(error.to_string()),
    }
}

fn of_name(error: NameError) -> PmemError {
    match error {
        NameError::Absent => PmemError::NotFound,
        NameError::Taken => PmemError::Exists,
        NameError::NotDirectory => PmemError::NotDirectory,
        NameError::Directory => PmemError::IsDirectory,
        NameError::NotEmpty => PmemError::NotEmpty,
        error => PmemError::Name(error.to_string()),
    }
}
