//! `j`.

fn main() {}
