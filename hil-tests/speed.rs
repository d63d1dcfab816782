//! The benchmark; see [`hil_tests::speed`].

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    hil_tests::speed::main()
}
