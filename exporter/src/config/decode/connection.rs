//! `tls` and `grpcOptions`: the way to the controller and its routers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::coerce;
use super::item::Item;
use crate::config::yaml::{Content, Meaning, Scalar};
use crate::config::{GrpcOption, Tls};
use crate::controller::doubt;

/// Reads `tls`.
pub(super) fn tls(item: &Item<'_>) -> Tls {
    let tls = item.section(|keys| Tls {
        ca: keys.get("ca").and_then(|item| certificates(&item, &item.text()?)),
        insecure: keys.get("insecure").and_then(|item| item.boolean()).unwrap_or_default(),
    });
    tls.unwrap_or_default()
}

fn certificates(item: &Item<'_>, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    // The reference passes over everything that isn't base64, such as the newlines of a block.
    let compact: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).collect();
    let pem = STANDARD.decode(compact).unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        let hint = "encode the PEM file once more, as in `base64 -w0 ca.pem`";
        item.error("is not the base64 of certificates in PEM", hint);
    }
    Some(pem.into_owned())
}

/// Reads `grpcOptions`.
pub(super) fn grpc_options(item: &Item<'_>) -> BTreeMap<String, GrpcOption> {
    if item.is_null() {
        return BTreeMap::new();
    }
    let options = item.named();
    let read = |(name, item): (String, Item<'_>)| {
        let option = grpc_option(&item)?;
        if let Some((message, hint)) = doubt(&name, &option) {
            item.key_warning(message, hint);
        }
        Some((name, option))
    };
    options.into_iter().filter_map(read).collect()
}

/// Text stays text, even in digits; what the reference takes for a whole number is one.
fn grpc_option(item: &Item<'_>) -> Option<GrpcOption> {
    if let Content::Scalar(Scalar { meaning: Meaning::Text, text }) = &item.node.content {
        return Some(GrpcOption::Text(text.clone()));
    }
    let value = coerce::integer(item.node).and_then(|value| i64::try_from(value).ok());
    if value.is_none() {
        let message = format!("must be text or a whole number, but is {}", item.shown());
        item.error(message, "write a whole number, or quotes around it");
    }
    value.map(GrpcOption::Integer)
}
