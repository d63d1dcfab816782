//! `j`, the command-line client. See [`exporter::j`].

use std::process::ExitCode;

fn main() -> ExitCode {
    exporter::j::main()
}
