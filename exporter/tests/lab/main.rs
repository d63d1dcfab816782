//! `hilt run --lab`, from outside: a lab of this process on a loopback address, and clients of the
//! wire, friendly and hostile. What the real `jmp` does with it is tried in `hil-tests`.
#![cfg(test)]

mod hostile;
mod lab_under_test;
mod leases;
mod streams;
mod tokens;
