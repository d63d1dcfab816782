//! What an exporter tells about its drivers.

use std::collections::HashMap;

use drivers::Tree;
use drivers::tree::Place;

use crate::wire::DriverInstanceReport;

/// The label that names the client class for a driver.
pub const CLIENT_LABEL: &str = "jumpstarter.dev/client";

/// The label that names a driver, or an exporter.
pub const NAME_LABEL: &str = "jumpstarter.dev/name";

/// One report for every place of the tree, in an order from which clients can rebuild it: a parent
/// before its children, and a proxied subtree in one piece.
pub fn reports(tree: &Tree) -> Vec<DriverInstanceReport> {
    tree.walk().into_iter().map(report).collect()
}

fn report(place: Place<'_>) -> DriverInstanceReport {
    let node = place.node;
    let mut labels: HashMap<_, _> = node.labels.clone().into_iter().collect();
    labels.insert(CLIENT_LABEL.into(), node.driver.client().into());
    labels.extend(place.name.map(|name| (NAME_LABEL.into(), name.into())));
    DriverInstanceReport {
        uuid: node.id.to_string(),
        parent_uuid: place.parent.map(|parent| parent.to_string()),
        labels,
        description: node.description.clone().filter(|text| !text.is_empty()),
        methods_description: node.methods_description.clone().into_iter().collect(),
    }
}
