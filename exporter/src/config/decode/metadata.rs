//! `metadata`: the only section in which the reference refuses unknown keys, and the only one
//! whose missing keys the environment fills in.

use super::item::Item;
use super::section::Section;
use crate::config::Metadata;

/// Reads `metadata` from the top of the file.
pub(super) fn metadata(keys: &mut Section<'_>) -> Metadata {
    let hint = "add `metadata:` with `namespace` and `name`";
    let section = keys.required("metadata", hint);
    section.and_then(|item| item.closed_section(fields)).unwrap_or_default()
}

fn fields(keys: &mut Section<'_>) -> Metadata {
    Metadata {
        namespace: field(keys, "namespace", "JMP_NAMESPACE", Item::optional_text),
        name: field(keys, "name", "JMP_NAME", Item::text).unwrap_or_default(),
    }
}

fn field<'a>(
    keys: &mut Section<'a>,
    key: &'static str,
    variable: &str,
    read: impl FnOnce(&Item<'a>) -> Option<String>,
) -> Option<String> {
    match keys.get(key) {
        Some(item) => read(&item),
        None => {
            let filled_in = keys.item.findings.environment.get_in_any_case(variable);
            if filled_in.is_none() {
                keys.missing(key, &format!("add it, or set {variable} in the environment"));
            }
            filled_in.map(str::to_owned)
        }
    }
}
