//! Every file under `configs/` loads, without a warning.

use std::fs;
use std::path::Path;

use exporter::config::{Environment, parse};

#[test]
fn every_sample_loads() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut samples = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let environment = Environment::from_iter([("PATH", "/bin:/usr/bin")]);
            let source = fs::read(&path).unwrap();
            // Not loaded, as the modes of a working copy are its owner's business.
            let loaded = parse(&path, &source, &environment);
            let loaded = loaded.unwrap_or_else(|found| panic!("{found}"));
            assert_eq!(loaded.warnings.to_string(), "");
            samples += 1;
        }
    }
    assert!(samples > 0);
}
