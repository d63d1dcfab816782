//! What the clients of one lease reach.

pub mod authority;
