//! The `j` program against an exporter that is not there: what it asks, what it prints, how it ends.
#![cfg(test)]

mod bench;
mod calls;
mod service;
mod storage;
mod streams;
