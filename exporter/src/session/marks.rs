//! What recordings are told of a bench: whose it is, and when it is switched on.

use drivers::recording::Mark;
use drivers::tree::Node;

use crate::lease::Lease;

/// From here on, what a device says is for this lease.
pub(super) fn of_lease(lease: &Lease) -> Mark {
    let client = if lease.client.is_empty() { "nobody in particular" } else { &lease.client };
    Mark::Part { key: lease.id.to_string(), text: format!("lease {} of {client}", lease.name) }
}

/// From here on, what a device says is for no lease.
pub fn of_nobody() -> Mark {
    Mark::Part { key: String::new(), text: "no lease".into() }
}

/// What a call is about to do to the bench, if that is worth a mark.
pub(super) fn of_call(node: &Node, method: &str) -> Option<Mark> {
    match (node.driver.category(), method) {
        ("power", "on") => Some(Mark::PowerOn(node.path.clone())),
        ("power", "off") => Some(Mark::PowerOff(node.path.clone())),
        _ => None,
    }
}
