//! What the reference's own validator says about the same files.
//!
//! The verdicts were observed: `ExporterConfigV1Alpha1.model_validate(yaml.safe_load(...))` of
//! Jumpstarter after 0.9.0, with pydantic 2.14 and PyYAML 6.0.3, and nothing in the environment.

use exporter::config::{DriverNode, Environment};

use super::{POWER, config, file, lines, lines_in};
use Verdict::{
    Accepts, AcceptsAndLosesADevice, AcceptsAndLosesAValue, Exports, Refuses, RefusesNeedlessly,
};

/// What the reference makes of a file.
enum Verdict {
    Accepts,
    Refuses,
    /// It accepts the file, with these kinds of nodes under `export`.
    Exports(&'static str),
    /// It makes an empty group of a device with a mistake in it. Hilt refuses the file.
    AcceptsAndLosesADevice,
    /// It takes the last of two values for one key. Hilt refuses the file.
    AcceptsAndLosesAValue,
    /// It refuses what can only mean one thing. Hilt accepts the file.
    RefusesNeedlessly,
}

/// Files, and the verdicts on them. `POWER` is the type of a mock; a whole file begins with `!`,
/// the others go after `metadata`.
#[rustfmt::skip]
const VERDICTS: &[(&str, Verdict)] = &[
    ("", Accepts),
    ("!{}", Refuses),
    ("!metadata: {}", Refuses),
    ("!metadata: {namespace: null, name: bench}", Accepts),
    ("!metadata: {namespace: default}", Refuses),
    ("!metadata: {name: bench}", Refuses),
    ("!metadata: {namespace: default, name: 5}", Refuses),
    ("!metadata: {namespace: default, name: bench, labels: {}}", Refuses),
    ("!metadata: null", Refuses),
    ("![]", Refuses),
    ("apiVersion: jumpstarter.dev/v1alpha1\nkind: ExporterConfig", Accepts),
    ("apiVersion: jumpstarter.dev/v1", Refuses),
    ("apiVersion: null", Refuses),
    ("kind: ClientConfig", Refuses),
    ("endpoint: null\ntoken: null", Accepts),
    ("endpoint: 8080", Refuses),
    ("token: 12345", Refuses),
    ("token: on", Refuses),
    ("description: 2024-01-31", Refuses),
    ("description: [bench]", Refuses),
    ("motd: 5", Refuses),
    ("exitOnLeaseEnd: 'yes'", Accepts),
    ("exitOnLeaseEnd: maybe", Refuses),
    ("exitOnLeaseEnd: 2", Refuses),
    ("exit_on_lease_end: maybe", Accepts),
    ("tls: null", Refuses),
    ("tls: {insecure: 'true'}", Accepts),
    ("tls: {insecure: null}", Refuses),
    ("tls: {ca: 5}", Refuses),
    ("tls: {ca: ''}", Accepts),
    ("grpcOptions: null", Accepts),
    ("grpcOptions: {a: 1, b: x, c: true, d: 2.0, e: '5'}", Accepts),
    ("grpcOptions: {a: 1.5}", Refuses),
    ("grpcOptions: {a: null}", Refuses),
    ("grpcOptions: []", Refuses),
    ("grpcOptions: {1: x}", Refuses),
    ("export: null", Refuses),
    ("export: []", Refuses),
    ("export: {a: null}", Refuses),
    ("export: {a: text}", Refuses),
    ("export: {1: {}}", Refuses),
    ("export: {a: {}}", Exports("Group")),
    ("export: {a: {children: {}}}", Exports("Group")),
    ("export: {a: {children: null}}", Refuses),
    ("export: {a: {children: {b: null}}}", Refuses),
    ("export: {a: {description: x}}", Exports("Group")),
    ("export: {a: {type: POWER}}", Exports("Device")),
    ("export: {a: {type: POWER, ref: b}}", Exports("Device")),
    ("export: {a: {type: POWER, config: {}, children: {}}}", Exports("Device")),
    ("export: {a: {type: POWER, config: []}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, config: null}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, config: {1: x}}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, description: 5}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, methods_description: {'on': x}}}", Exports("Device")),
    ("export: {a: {type: POWER, methods_description: {on: x}}}", Exports("Device")),
    ("export: {a: {type: POWER, methods_description: {'on': 5}}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, methods_description: null}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER, children: null}}", Refuses),
    ("export: {a: {type: POWER, children: {b: null}}}", Refuses),
    ("export: {a: {type: 5}}", AcceptsAndLosesADevice),
    ("export: {a: {type: POWER}, b: {ref: a}}", Exports("Device,Proxy")),
    ("export: {a: {}, b: {ref: a, children: {}}}", Exports("Group,Group")),
    ("export: {b: {ref: 5}}", AcceptsAndLosesADevice),
    ("hooks: null", Refuses),
    ("hooks: []", Refuses),
    ("hooks: {beforeLease: null, afterLease: null}", Accepts),
    ("hooks: {beforeLease: {script: 'true'}}", Accepts),
    ("hooks: {before_lease: {script: 'true', exec_: /bin/sh, on_failure: exit}}", Accepts),
    ("hooks: {beforeLease: {}}", Refuses),
    ("hooks: {beforeLease: {script: null}}", Refuses),
    ("hooks: {beforeLease: {script: true}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', timeout: '60'}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', timeout: 1:30}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', timeout: 60.0}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', timeout: 60.5}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', timeout: soon}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', timeout: null}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', timeout: 0}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', timeout: -1}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', exec: null}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', exec: 5}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', onFailure: endLease}}", Accepts),
    ("hooks: {beforeLease: {script: 'true', onFailure: EndLease}}", Refuses),
    ("hooks: {beforeLease: {script: 'true', onFailure: null}}", Refuses),
    ("hooks: {beforeLease: {script: 'true'}, before_lease: 5}", Accepts),
    ("hooks: {beforeLease: {script: 'true', colour: red}}", Accepts),
    ("failureDetection: null", Refuses),
    ("failureDetection: {maxRapidFailures: '3', rapid_failure_window: 1e3}", Refuses),
    ("failureDetection: {maxRapidFailures: '3', rapid_failure_window: 30}", Accepts),
    ("failureDetection: {maxRapidFailures: -1}", Accepts),
    ("failure_detection: {maxRapidFailures: none}", Accepts),
    ("colour: red", Accepts),
    ("alias: other\npath: /tmp/x", Accepts),
    ("alias: 5", RefusesNeedlessly),
    ("endpoint: a\nendpoint: b\ntoken: t", AcceptsAndLosesAValue),
    ("endpoint: &e a\ntoken: *e", Accepts),
    ("x-base: &b {script: 'true'}\nhooks: {beforeLease: {<<: *b, timeout: 5}}", Accepts),
    ("endpoint: !foo a\ntoken: b", Refuses),
    ("endpoint: !!str 8080\ntoken: b", Accepts),
    ("endpoint: a: b", Refuses),
    ("endpoint: *none", Refuses),
    ("!---\nmetadata: {namespace: default, name: bench}\nendpoint: a\ntoken: b", Accepts),
    ("endpoint: a\ntoken: b\n---\n", Refuses),
    ("endpoint: a\ntoken: b\n...\n", Accepts),
    ("endpoint: =\ntoken: b", RefusesNeedlessly),
];

#[test]
fn files_are_accepted_and_refused_as_by_the_reference() {
    for (source, verdict) in VERDICTS {
        let source = source.replace("POWER", POWER);
        let source = source.strip_prefix('!').map_or_else(|| file(&source), str::to_owned);
        let lines = lines(&source);
        let errors = lines.iter().filter(|line| !line.contains(": warning: ")).count();
        match verdict {
            Accepts | RefusesNeedlessly => assert_eq!(errors, 0, "{source}: {lines:?}"),
            Refuses | AcceptsAndLosesADevice | AcceptsAndLosesAValue => {
                assert_ne!(errors, 0, "{source}");
            }
            Exports(kinds) => {
                assert_eq!(errors, 0, "{source}: {lines:?}");
                assert_eq!(exported(&source), *kinds, "{source}");
            }
        }
    }
}

fn exported(source: &str) -> String {
    let kinds: Vec<_> = config(source).export.iter().map(|(_, node)| kind(node)).collect();
    kinds.join(",")
}

fn kind(node: &DriverNode) -> &'static str {
    match node {
        DriverNode::Device(_) => "Device",
        DriverNode::Group(_) => "Group",
        DriverNode::Proxy(_) => "Proxy",
    }
}

/// As observed there: the environment fills in what is missing, in any case; the file wins.
#[test]
fn the_environment_fills_in_metadata() {
    let environment = Environment::from_iter([("jmp_namespace", "lab"), ("JMP_NAME", "bench")]);
    assert_eq!(lines_in("metadata: {}", &environment), Vec::<String>::new());
    assert_eq!(
        lines_in("kind: ExporterConfig", &environment),
        ["bench.yaml:1:1: metadata: is missing; add `metadata:` with `namespace` and `name`",]
    );
    let lines = lines_in("metadata: {name: 5}", &environment);
    assert_eq!(
        lines,
        ["bench.yaml:1:18: metadata.name: must be text, but is a number; write it in quotes"]
    );
}
