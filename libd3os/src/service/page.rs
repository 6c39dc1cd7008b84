//! A part of a list that fits in one message.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::call::MAX_BYTES;

/// Bytes that a page's own fields and the result around it take at most.
const OVERHEAD: usize = 32;

/// A part of a list: the server cuts lists so that each part fits in a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next part begins, or `None` after the last.
    pub next: Option<u32>,
}

impl<T: Serialize> Page<T> {
    /// As many of `items`, from number `from` on, as fit in a message. An item that would not
    /// even fit in a message of its own is left out, for no caller could ever receive it.
    #[must_use]
    pub fn fill(from: u32, items: impl IntoIterator<Item = T>) -> Self {
        let mut page = Self { items: Vec::new(), next: None };
        let mut room = MAX_BYTES - OVERHEAD;
        for (number, item) in (0u32..).zip(items).skip(from as usize) {
            let bytes = postcard::experimental::serialized_size(&item).unwrap_or(usize::MAX);
            if bytes > MAX_BYTES - OVERHEAD {
                continue;
            }
            let Some(rest) = room.checked_sub(bytes) else {
                page.next = Some(number);
                break;
            };
            room = rest;
            page.items.push(item);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_fit_and_lose_nothing(lengths in prop::collection::vec(0usize..900, 0..40)) {
            let all: Vec<String> = lengths.iter().map(|len| "x".repeat(*len)).collect();
            let mut seen = Vec::new();
            let mut from = Some(0);
            while let Some(start) = from {
                let page = Page::fill(start, all.iter().cloned());
                let reply: Result<&Page<String>, ()> = Ok(&page);
                prop_assert!(postcard::to_allocvec(&reply).expect("encodes").len() <= MAX_BYTES);
                seen.extend(page.items);
                from = page.next;
            }
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn leaves_out_what_fits_nowhere() {
        let items = [String::from("a"), "x".repeat(MAX_BYTES), String::from("b")];
        let page = Page::fill(0, items);
        assert_eq!(page.items, ["a", "b"]);
        assert_eq!(page.next, None);
    }
}
