//! The benches; see [`hil_tests::benches`].

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    hil_tests::benches::main()
}
