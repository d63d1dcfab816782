//! The conformance suite; see [`hil_tests::conformance`].

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    hil_tests::conformance::main()
}
