//! What a configuration may say, but this version doesn't do yet.
//!
//! Such keys are read and checked like any other, and then refused: passing over what somebody
//! relies on would be worse than not starting.

use super::item::Item;

/// Keys at the top of the file.
const KEYS: &[&str] = &["labels"];

/// Notes an error for each of them.
pub(in crate::config) fn refuse_unsupported(top: &Item<'_>) {
    for item in KEYS.iter().filter_map(|key| top.find(key)).filter(|item| !item.is_null()) {
        item.key_error("is not supported by this version of Hilt", "remove it");
    }
}
