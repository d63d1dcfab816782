//! What a configuration may say, but this version doesn't do yet.
//!
//! Such keys are read and checked like any other, and then refused: passing over a hook that keeps
//! a bench safe would be worse than not starting.

use super::item::Item;

/// Keys at the top of the file and in its `hooks`.
const KEYS: &[&[&str]] = &[
    &["labels"],
    &["hooks", "lifecycle"],
    &["hooks", "repair"],
    &["hooks", "afterLease", "when"],
    &["hooks", "after_lease", "when"],
];

/// Values of an `onFailure`.
const ON_FAILURE: &[&str] = &["quarantine"];

/// Keys of a device.
const DEVICE_KEYS: &[&str] = &["version", "hooks"];

/// Notes an error for each of them.
pub(in crate::config) fn refuse_unsupported(top: &Item<'_>) {
    for path in KEYS {
        refuse(path.iter().try_fold(top.clone(), |item, key| item.find(key)));
    }
    let hooks = top.find("hooks");
    for hook in ["beforeLease", "before_lease", "afterLease", "after_lease"] {
        let hook = hooks.as_ref().and_then(|hooks| hooks.find(hook));
        for key in ["onFailure", "on_failure"] {
            let on_failure = hook.as_ref().and_then(|hook| hook.find(key));
            refuse(on_failure.filter(|item| ON_FAILURE.iter().any(|value| item.is(value))));
        }
    }
    refuse_in_devices(top.find("export"));
}

fn refuse_in_devices(nodes: Option<Item<'_>>) {
    for node in nodes.iter().flat_map(Item::values) {
        if node.find("type").is_some() {
            DEVICE_KEYS.iter().for_each(|key| refuse(node.find(key)));
        }
        refuse_in_devices(node.find("children"));
    }
}

fn refuse(item: Option<Item<'_>>) {
    if let Some(item) = item.filter(|item| !item.is_null()) {
        item.key_error("is not supported by this version of Hilt", "remove it");
    }
}
