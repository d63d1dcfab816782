//! What a configuration means: defaults, aliases, coercions.

use std::time::Duration;

use exporter::config::hooks::{OnFailure, When};
use exporter::config::{Config, DriverNode, GrpcOption};
use exporter::secret::Secret;
use serde_json::json;

use super::{POWER, config, file, lines};

#[test]
fn the_least_file_has_every_default() {
    let Config {
        metadata,
        endpoint,
        tls,
        token,
        grpc_options,
        description,
        motd,
        export,
        hooks,
        failure_detection,
        exit_on_lease_end,
        labels,
        allow_writable_config,
        python,
    } = config(&file(""));
    assert_eq!((metadata.namespace.as_deref(), metadata.name.as_str()), (Some("default"), "bench"));
    assert_eq!((endpoint, token, description, motd, python), (None, None, None, None, None));
    assert_eq!((tls.ca, tls.insecure), (None, false));
    assert!(grpc_options.is_empty() && export.is_empty() && labels.is_empty());
    assert_eq!(hooks, exporter::config::Hooks::default());
    assert_eq!(failure_detection.max_rapid_failures, 5);
    assert_eq!(failure_detection.rapid_failure_window, Duration::from_secs(60));
    assert!(!exit_on_lease_end && !allow_writable_config);
    assert_eq!(hooks.quarantine_after, 5);
}

#[test]
fn every_key_of_the_top_is_read() {
    // The base64 of "-----BEGIN CERTIFICATE-----", in lines of a block as `base64` prints them.
    let config = config(&file(
        "endpoint: grpc.example.com:443
token: secret
description: A bench
motd: |
  Hello
tls:
  ca: |
    LS0tLS1CRUdJTiBD
    RVJUSUZJQ0FURS0tLS0t
  insecure: 'True'
grpcOptions: {grpc.keepalive_time_ms: 20000, grpc.primary_user_agent: '5', on: yes}
failureDetection: {max_rapid_failures: '3', rapidFailureWindow: 1:30}
exitOnLeaseEnd: on
",
    ));
    assert_eq!(config.endpoint.as_deref(), Some("grpc.example.com:443"));
    assert_eq!(config.token.as_ref().map(Secret::reveal), Some("secret"));
    assert_eq!(config.description.as_deref(), Some("A bench"));
    assert_eq!(config.motd.as_deref(), Some("Hello\n"));
    assert_eq!(config.tls.ca.as_deref(), Some("-----BEGIN CERTIFICATE-----"));
    assert!(config.tls.insecure);
    let options: Vec<_> = config.grpc_options.into_iter().collect();
    assert_eq!(
        options,
        [
            ("grpc.keepalive_time_ms".to_owned(), GrpcOption::Integer(20000)),
            ("grpc.primary_user_agent".to_owned(), GrpcOption::Text("5".into())),
            ("on".to_owned(), GrpcOption::Integer(1)),
        ]
    );
    assert_eq!(config.failure_detection.max_rapid_failures, 3);
    assert_eq!(config.failure_detection.rapid_failure_window, Duration::from_secs(90));
    assert!(config.exit_on_lease_end);
}

#[test]
fn a_token_is_never_printed() {
    let config = config(&file("endpoint: e\ntoken: hush"));
    let printed = format!("{config:?}");
    assert!(printed.contains("token: Some([redacted])") && !printed.contains("hush"), "{printed}");
    let lines = lines(&file("endpoint: e\ntoken: 271828"));
    assert_eq!(lines, ["3:8: token: must be text, but is a number; write it in quotes"]);
}

#[test]
fn lease_hooks_have_both_spellings() {
    let hooks = config(&file(
        "hooks:
  beforeLease: {script: j power on}
  after_lease: {exec_: /bin/sh, script: ' true ', timeout: 30.0, on_failure: endLease}
",
    ))
    .hooks;
    let before = hooks.before_lease.unwrap();
    assert_eq!((before.script.text.as_str(), before.script.exec), ("j power on", None));
    assert_eq!(before.script.timeout, Duration::from_secs(120));
    assert_eq!(before.on_failure, OnFailure::Warn);
    let after = hooks.after_lease.unwrap();
    assert_eq!(after.hook.script.text, " true ");
    assert_eq!(after.hook.script.exec.as_deref(), Some("/bin/sh"));
    assert_eq!(after.hook.script.timeout, Duration::from_secs(30));
    assert_eq!(after.hook.on_failure, OnFailure::EndLease);
    assert_eq!(after.when, When::Ready);
}

#[test]
fn devices_keep_the_order_of_the_file_and_their_settings_mean_what_pyyaml_says() {
    let config = config(&file(&format!(
        "export:
  zone:
    children:
      b: {{ref: power}}
      a: {{}}
  power:
    type: {POWER}
    description: Supply
    methods_description: {{on: Switches on, 'off': Switches off}}
    config:
      default: on
      quoted: 'on'
      port: 010
      hex: 0x1F
      serial: 1e3
      ratio: 1.5
      time: 12:30:00
      since: 2024-01-31
      nothing:
      list: [1, [two]]
      nested: {{1: one, on: {{}}}}
"
    )));
    let names: Vec<_> = config.export.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["zone", "power"]);
    let DriverNode::Group(zone) = &config.export[0].1 else { panic!("{config:?}") };
    assert_eq!(zone[0], ("b".to_owned(), DriverNode::Proxy("power".into())));
    assert_eq!(zone[1], ("a".to_owned(), DriverNode::Group(Vec::new())));
    let DriverNode::Device(power) = &config.export[1].1 else { panic!("{config:?}") };
    assert_eq!(power.type_name, POWER);
    assert_eq!(power.description.as_deref(), Some("Supply"));
    assert_eq!(power.methods_description["on"], "Switches on");
    assert_eq!(power.methods_description["off"], "Switches off");
    let settings = json!({
        "default": true,
        "quoted": "on",
        "port": 8,
        "hex": 31,
        "serial": "1e3",
        "ratio": 1.5,
        "time": 45000,
        "since": "2024-01-31",
        "nothing": null,
        "list": [1, ["two"]],
        "nested": {"1": "one", "on": {}},
    });
    assert_eq!(serde_json::Value::Object(power.config.clone()), settings);
    let tree = drivers::Tree::build(None, &config.specs()).unwrap();
    let walked: Vec<_> = tree.walk().iter().filter_map(|place| place.name).collect();
    assert_eq!(walked, ["zone", "b", "a", "power"]);
}
