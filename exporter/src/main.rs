//! `hilt`.

fn main() {}
