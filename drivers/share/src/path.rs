//! Paths within the share.

use alloc::vec::Vec;

use libd3os::service::share::{PATH_MOST, ShareError};

/// The names on a path, from the shared directory on. None is empty, `.` or `..`, or has a `/` or a
/// NUL in it.
///
/// # Errors
/// [`ShareError::BadPath`].
pub fn names(path: &str) -> Result<Vec<&str>, ShareError> {
    let names: Vec<&str> =
        path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    let escapes = names.contains(&"..");
    if escapes || path.contains('\0') || path.len() > PATH_MOST {
        return Err(ShareError::BadPath);
    }
    Ok(names)
}

/// The same, cut before the last name, which there has to be.
///
/// # Errors
/// [`ShareError::BadPath`].
pub fn parent_and_name(path: &str) -> Result<(Vec<&str>, &str), ShareError> {
    let mut names = names(path)?;
    let name = names.pop().ok_or(ShareError::BadPath)?;
    Ok((names, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_names() {
        assert_eq!(names("/a/./b//c/"), Ok(vec!["a", "b", "c"]));
        assert_eq!(names(""), Ok(vec![]));
        assert_eq!(parent_and_name("a/b"), Ok((vec!["a"], "b")));
        for bad in ["..", "a/../b", "/..", "a\0b"] {
            assert_eq!(names(bad), Err(ShareError::BadPath), "{bad:?}");
        }
        assert_eq!(parent_and_name("/"), Err(ShareError::BadPath));
        assert_eq!(names(&"x".repeat(PATH_MOST + 1)), Err(ShareError::BadPath));
    }

    proptest! {
        #[test]
        fn nothing_leads_out(path in "[a./\\x00]{0,40}") {
            for name in names(&path).unwrap_or_default() {
                prop_assert!(!["", ".", ".."].contains(&name) && !name.contains(['/', '\0']));
            }
        }
    }
}
