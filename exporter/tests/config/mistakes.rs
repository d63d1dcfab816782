//! Every kind of mistake, with its whole line.

use std::path::Path;

use exporter::config::{Environment, load, parse};

use super::{POWER, file, lines};

/// Checks blocks with a blank line between them: what comes after `metadata` (which is on line 1)
/// behind bars, then every line about it. `POWER` is the type of a mock.
#[track_caller]
fn check(blocks: &str) {
    for block in blocks.replace("POWER", POWER).split("\n\n") {
        let (mut source, mut expected) = (Vec::new(), Vec::new());
        for line in block.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
            match line.strip_prefix('|') {
                Some(line) => source.push(line.strip_prefix(' ').unwrap_or(line)),
                None => expected.push(line),
            }
        }
        let source = file(&source.join("\n"));
        assert_eq!(lines(&source), expected, "{source}");
    }
}

#[test]
fn what_is_no_yaml() {
    check(
        r#"
        | motd: a: b
        2:8: is not YAML: mapping values are not allowed in this context; put text with a colon in quotes

        | motd: @home
        2:7: is not YAML: unexpected character: `@'; put the text in quotes

        | motd: *none
        2:7: is not YAML: while parsing node, found unknown anchor; define it earlier in the file with `&`

        | export:
        | 	- a
        3:2: is not YAML: tabs disallowed within this context (block indentation); indent with spaces

        | export: {a: {}
        2:9: is not YAML: unclosed bracket '{'; close it

        | motd: 'a
        2:7: is not YAML: unclosed quote; close the quotes on this line or indent the next

        | ---
        | motd: b
        |
        2:1: a second document begins here; keep one configuration in a file

        | motd: &a [*a]
        2:11: motd[0]: the alias is inside of what it repeats; an alias can only repeat what is complete before it
        "#,
    );
}

#[test]
fn keys() {
    check(
        r#"
        | motd: a
        | motd: b
        3:1: the key `motd` is given twice, first at line 2, column 1; keep one of the two

        | export:
        |   a: {}
        |   b: {}
        |   'a': {}
        3:6: warning: export.a: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`
        4:6: warning: export.b: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`
        5:3: export: the key `a` is given twice, first at line 3, column 3; keep one of the two

        | export: {a: {type: POWER, config: {x: 1, y: [{z: 1, z: 2}]}}}
        2:89: export.a.config.y[0]: the key `z` is given twice, first at line 2, column 83; keep one of the two

        | tls: {[a]: b}
        2:7: tls: a key must be text, but this is a list; give it a short name

        | grpcOptions: {1: a}
        2:15: grpcOptions.1: a key must be text, but is a number; write it in quotes

        | grpcOptions: {~: a, 2024-01-31: b}
        2:15: grpcOptions.~: a key must be text, but is empty; write it in quotes
        2:21: grpcOptions.2024-01-31: a key must be text, but is a date; write it in quotes

        | tls: {<<: 5}
        2:11: tls: `<<` merges mappings, but this is a number; give the alias of a mapping, or a list of such aliases

        | tls: {<<: [{insecure: on}, x]}
        2:28: tls: `<<` merges mappings, but this is text; give the alias of a mapping, or a list of such aliases
        "#,
    );
}

#[test]
fn tags() {
    check(
        r#"
        | motd: !secret x
        2:15: motd: the tag `!secret` doesn't fit here; remove it

        | motd: !!int x
        2:13: motd: the tag `!!int` doesn't fit here; remove it

        | motd: !!set {a}
        2:13: motd: the tag `!!set` doesn't fit here; remove it
        2:13: motd: must be text, but is a mapping; write it as one text

        | export: {a: {type: POWER, config: {x: !!python/name:os.system ''}}}
        2:99: export.a.config.x: the tag `!!python/name:os.system` doesn't fit here; remove it
        "#,
    );
}

#[test]
fn values_of_the_wrong_kind() {
    check(
        r#"
        | motd: 5
        2:7: motd: must be text, but is a number; write it in quotes

        | motd: on
        2:7: motd: must be text, but is a boolean; write it in quotes

        | motd: 2024-01-31
        2:7: motd: must be text, but is a date; write it in quotes

        | motd: []
        2:7: motd: must be text, but is a list; write it as one text

        | motd: {}
        2:7: motd: must be text, but is a mapping; write it as one text

        | tls: []
        2:6: tls: must be a mapping, but is a list; write its keys below it, or `{}` for none

        | tls:
        2:4: tls: must be a mapping, but is empty; write its keys below it, or `{}` for none

        | export:
        |
        2:7: export: must be a mapping, but is empty; write its keys below it, or `{}` for none

        | hooks: text
        2:8: hooks: must be a mapping, but is text; write its keys below it, or `{}` for none

        | tls: {insecure: maybe}
        2:17: tls.insecure: must be a boolean, but is `maybe`; write true or false

        | tls: {insecure: 2}
        2:17: tls.insecure: must be a boolean, but is `2`; write true or false

        | tls: {insecure: }
        2:15: tls.insecure: must be a boolean, but is empty; write true or false

        | tls: {insecure: []}
        2:17: tls.insecure: must be a boolean, but is a list; write true or false

        | failureDetection: {maxRapidFailures: many}
        2:38: failureDetection.maxRapidFailures: must be a whole number, but is `many`; write a number such as 5

        | failureDetection: {maxRapidFailures: 1.5}
        2:38: failureDetection.maxRapidFailures: must be a whole number, but is `1.5`; write a number such as 5

        | failureDetection: {rapidFailureWindow: ~}
        2:40: failureDetection.rapidFailureWindow: must be a whole number, but is empty; write a number such as 60

        | grpcOptions: {a: 1.5, b: [], c: ~, d: 99999999999999999999}
        2:18: grpcOptions.a: must be text or a whole number, but is `1.5`; write a whole number, or quotes around it
        2:26: grpcOptions.b: must be text or a whole number, but is a list; write a whole number, or quotes around it
        2:33: grpcOptions.c: must be text or a whole number, but is empty; write a whole number, or quotes around it
        2:39: grpcOptions.d: must be text or a whole number, but is `99999999999999999999`; write a whole number, or quotes around it

        | apiVersion: v1
        | kind: Exporter
        2:13: apiVersion: can't be `v1`; write jumpstarter.dev/v1alpha1
        3:7: kind: can't be `Exporter`; write ExporterConfig

        | kind: ~
        2:7: kind: can't be empty; write ExporterConfig

        | hooks: {beforeLease: {script: true, exec: 5, timeout: soon, onFailure: explode}}
        2:31: hooks.beforeLease.script: must be text, but is a boolean; write it in quotes
        2:43: hooks.beforeLease.exec: must be text, but is a number; write it in quotes
        2:55: hooks.beforeLease.timeout: must be a whole number, but is `soon`; write a number such as 120
        2:72: hooks.beforeLease.onFailure: can't be `explode`; write warn, endLease, exit or quarantine

        | hooks: {lifecycle: {run: x}}
        2:20: hooks.lifecycle: must be a list, but is a mapping; put each item on a line of its own, after `- `
        "#,
    );
}

#[test]
fn missing_keys() {
    check(
        r#"
        | hooks: {beforeLease: {timeout: 5}}
        2:22: hooks.beforeLease.script: is missing; add `script:` with what to run

        | hooks: {lifecycle: [{events: [stop]}], repair: {}}
        2:21: hooks.lifecycle[0].run: is missing; add `run:` with what to run
        2:48: hooks.repair.script: is missing; add `script:` with what to run
        "#,
    );
}

#[test]
fn keys_that_nobody_reads() {
    check(
        r#"
        | colour: red
        2:1: warning: colour: unknown key; known here: apiVersion, kind, alias, path, metadata, endpoint, tls, token, grpcOptions, description, motd, export, hooks, failureDetection, exitOnLeaseEnd, labels, allowWritableConfig, python

        | exit_on_lease_end: true
        | grpcConfig: {}
        | failure_detection: {}
        | hook: {}
        2:1: warning: exit_on_lease_end: unknown key; did you mean `exitOnLeaseEnd`?
        3:1: warning: grpcConfig: unknown key; known here: apiVersion, kind, alias, path, metadata, endpoint, tls, token, grpcOptions, description, motd, export, hooks, failureDetection, exitOnLeaseEnd, labels, allowWritableConfig, python
        4:1: warning: failure_detection: unknown key; did you mean `failureDetection`?
        5:1: warning: hook: unknown key; did you mean `hooks`?

        | grpcOptions: {grpc.keepalive_time_ms: often, grpc.lb_policy_name: round_robin}
        2:15: warning: grpcOptions."grpc.keepalive_time_ms": can't be used, and the default counts; give a whole number, 1 or more
        2:46: warning: grpcOptions."grpc.lb_policy_name": has no meaning for Hilt, whose gRPC is not gRPC core; known here: grpc.default_authority, grpc.initial_reconnect_backoff_ms, grpc.keepalive_permit_without_calls, grpc.keepalive_time_ms, grpc.keepalive_timeout_ms, grpc.max_receive_message_length, grpc.max_reconnect_backoff_ms, grpc.ssl_target_name_override

        | tls: {certificate: x, ins: y}
        2:7: warning: tls.certificate: unknown key; known here: ca, insecure
        2:23: warning: tls.ins: unknown key; known here: ca, insecure

        | hooks: {beforeLease: {script: 'true', on-failure: exit, when: always, Timeout: 1}}
        2:39: warning: hooks.beforeLease.on-failure: unknown key; did you mean `onFailure`?
        2:57: warning: hooks.beforeLease.when: unknown key; known here: onFailure, script, timeout, exec, env, user, workdir
        2:71: warning: hooks.beforeLease.Timeout: unknown key; did you mean `timeout`?

        | alias: other
        | path: /tmp
        2:1: warning: alias: is ignored: the file's own name and place count; remove it
        3:1: warning: path: is ignored: the file's own name and place count; remove it

        | hooks: {beforeLease: {script: 'true', timeout: 5}, before_lease: {}}
        2:52: warning: hooks.before_lease: is ignored beside `beforeLease`; keep one of the two
        "#,
    );
}

#[test]
fn nodes_of_the_tree() {
    check(
        r#"
        | export: {a: ~, b: text, c: []}
        2:13: export.a: must be a mapping, but is empty; write its keys below it, or `{}` for none
        2:19: export.b: must be a mapping, but is text; write its keys below it, or `{}` for none
        2:28: export.c: must be a mapping, but is a list; write its keys below it, or `{}` for none

        | export: {a: {}}
        2:13: warning: export.a: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`

        | export: {a: {typ: POWER, description: x}}
        2:13: warning: export.a: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`
        2:14: warning: export.a.typ: unknown key; did you mean `type`?
        2:62: warning: export.a.description: is ignored without `type`; give the node a `type`, or remove it

        | export: {a: {type: POWER, ref: b, children: {}}}
        2:63: warning: export.a.ref: is ignored beside `type`; keep one of the two

        | export: {a: {children: {}, ref: b, config: {}}}
        2:28: warning: export.a.ref: is ignored beside `children`; keep one of the two
        2:36: warning: export.a.config: is ignored without `type`; give the node a `type`, or remove it

        | export: {a: {type: POWER, config: [], methods_description: {a: 5, 7: b}, description: 1, children: ~}}
        2:71: export.a.config: must be a mapping, but is a list; write its keys below it, or `{}` for none
        2:100: export.a.methods_description.a: must be text, but is a number; write it in quotes
        2:103: export.a.methods_description.7: a key must be text, but is a number; write it in quotes
        2:123: export.a.description: must be text, but is a number; write it in quotes
        2:136: export.a.children: must be a mapping, but is empty; write its keys below it, or `{}` for none

        | export: {a: {ref: 5, version: 1}}
        2:19: export.a.ref: must be text, but is a number; write it in quotes
        2:22: warning: export.a.version: is ignored without `type`; give the node a `type`, or remove it

        | export: {a: {type: ~}, 5: {}}
        2:20: export.a.type: must be text, but is empty; give it a value
        2:24: export.5: a key must be text, but is a number; write it in quotes

        | export:
        |   a:
        |     type: POWER
        |     children:
        |       b:
        |         colour: red
        7:9: warning: export.a.children.b: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`
        7:9: warning: export.a.children.b.colour: unknown key; known here: type, children, ref, description, methods_description, config, version, hooks
        "#,
    );
}

#[test]
fn devices() {
    check(
        r#"
        | export: {a: {type: acme_driver_power.driver.Mock}}
        2:20: export.a.type: driver `acme_driver_power.driver.Mock` is not installed; name a driver that Hilt has, such as `POWER`

        | export: {a: {type: jumpstarter_driver_power.driver.MockPowr}}
        2:20: export.a.type: driver `jumpstarter_driver_power.driver.MockPowr` is not installed; did you mean `POWER`?

        | export: {a: {ref: b}, bb: {children: {c: {}}}}
        2:19: export.a.ref: there is no node `b`; give the names that lead to it from the top, with dots between them
        2:42: warning: export.bb.children.c: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`

        | export: {a: {ref: bb.d}, bb: {children: {c: {}}}}
        2:19: export.a.ref: there is no node `bb.d`; did you mean `bb.c`?
        2:45: warning: export.bb.children.c: has none of `type`, `children` and `ref`, which makes it an empty group; give it a `type`

        | export: {a: {ref: b}, b: {ref: a}}
        2:19: export.a.ref: `b` leads to no node itself; refer to a device or a group
        2:32: export.b.ref: `a` leads to no node itself; refer to a device or a group

        | export: {a: {children: {b: {ref: a}}}}
        2:34: export.a.children.b.ref: `a` leads back to this node; give the path of a node that isn't above this one

        | export: {a: {type: POWER, config: {uuid: x, labels: {rack: 7}}}}
        2:78: export.a.config.uuid: `x` is no UUID, or another node's; give the node a UUID of its own
        2:96: export.a.config.labels.rack: must be text, but is a number; write it in quotes

        | export: {a: {type: POWER, config: {labels: [a]}}}
        2:80: export.a.config.labels: can't be sequence; expected a map

        | export:
        |   a: {type: POWER, config: {uuid: 5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d}}
        |   b: {type: POWER, config: {uuid: 5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d}}
        4:71: export.b.config.uuid: `5d3cb0d1-2a0f-4c0e-9a3c-0f0d6a1b2c3d` is no UUID, or another node's; give the node a UUID of its own

        | export: {a: {type: POWER, config: {x: .nan, y: -.inf, z: 99999999999999999999}}}
        2:75: export.a.config.x: is no finite number; use a finite number, or write it in quotes
        2:84: export.a.config.y: is no finite number; use a finite number, or write it in quotes
        2:94: export.a.config.z: is more than 64 bits can hold; use a smaller number, or write it in quotes

        | export:
        |   a: {type: 5}
        |   b: {ref: a}
        |   c: {type: acme_driver_power.driver.Mock}
        |   d: {ref: c}
        3:13: export.a.type: must be text, but is a number; write it in quotes
        5:13: export.c.type: driver `acme_driver_power.driver.Mock` is not installed; name a driver that Hilt has, such as `POWER`

        | export: {a: {type: POWER, config: {uuid: x}, children: {b: {type: acme_driver_power.driver.Mock}}}}
        2:78: export.a.config.uuid: `x` is no UUID, or another node's; give the node a UUID of its own
        2:103: export.a.children.b.type: driver `acme_driver_power.driver.Mock` is not installed; name a driver that Hilt has, such as `POWER`
        "#,
    );
}

#[test]
fn the_way_to_the_controller() {
    check(
        r#"
        | endpoint: a
        2:1: warning: endpoint: is of no use without `token`; give both to be scheduled by a controller, or neither

        | token: a
        2:1: warning: token: is of no use without `endpoint`; give both to be scheduled by a controller, or neither

        | endpoint: a
        | token: ~
        2:1: warning: endpoint: is of no use without `token`; give both to be scheduled by a controller, or neither

        | tls: {ca: '%%%'}
        2:11: tls.ca: is not the base64 of certificates in PEM; encode the PEM file once more, as in `base64 -w0 ca.pem`

        | tls: {ca: aGVsbG8=}
        2:11: tls.ca: is not the base64 of certificates in PEM; encode the PEM file once more, as in `base64 -w0 ca.pem`
        "#,
    );
}

#[test]
fn lease_hooks() {
    check(
        r#"
        | hooks: {beforeLease: {script: '  '}}
        2:31: warning: hooks.beforeLease.script: is blank, so that nothing is run; write a script, or remove the hook

        | hooks: {beforeLease: {script: x, timeout: 0}, afterLease: {script: x, timeout: -1}}
        2:43: warning: hooks.beforeLease.timeout: is 0, so that the hook times out at once; write at least 1 second
        2:80: warning: hooks.afterLease.timeout: is -1, so that the hook times out at once; write at least 1 second

        | hooks: {beforeLease: {script: /nonexistent/prepare.sh}}
        2:31: warning: hooks.beforeLease.script: `/nonexistent/prepare.sh` is no file here, so that it would run as a command; check the path

        | hooks: {beforeLease: {script: x, exec: /nonexistent/bash}}
        2:40: warning: hooks.beforeLease.exec: there is no program `/nonexistent/bash` here; install it, or give the path of an interpreter

        | hooks: {beforeLease: {script: x, exec: no-such-shell}}
        2:40: warning: hooks.beforeLease.exec: there is no program `no-such-shell` here; install it, or give the path of an interpreter
        "#,
    );
}

#[test]
fn labels_that_no_selector_could_ask_for() {
    check(
        r#"
        | labels: {board: demo, example.com/site: ""}

        | labels: {"a b": x, board: "r p i"}
        2:10: labels."a b": the key "a b" is not one to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; write a key such as `board` or `example.com/board`
        2:27: labels.board: the value "r p i" is not up to 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit; write a value such as `rpi5`

        | labels: ~
        | python: ~
        | hooks: {lifecycle: ~, repair: ~}
        "#,
    );
}

#[test]
fn sections_of_hilts_own() {
    check(
        r#"
        | hooks: {lifecycle: [{run: x, events: [start, 5], timeout: 0}, {run: x, events: []}, 5]}
        2:39: hooks.lifecycle[0].events[0]: can't be `start`; write stop, preemption or down
        2:46: hooks.lifecycle[0].events[1]: can't be `5`; write stop, preemption or down
        2:59: hooks.lifecycle[0].timeout: must be at least 1, but is 0; write a number of seconds, such as 3600
        2:80: hooks.lifecycle[1].events: names no event; name one of stop, preemption and down, or leave it out
        2:85: hooks.lifecycle[2]: must be a mapping, but is a number; write its keys below it, or `{}` for none

        | hooks: {repair: {script: x, interval: 0}}
        2:39: hooks.repair.interval: must be at least 1, but is 0; write a number of seconds, such as 60

        | hooks: {afterLease: {script: x, when: never}}
        2:39: hooks.afterLease.when: can't be `never`; write ready or always

        | hooks: {quarantineAfter: -1}
        | allowWritableConfig: perhaps
        2:26: hooks.quarantineAfter: must be at least 0, but is -1; write how many failures in a row are too many, or 0 for never
        3:22: allowWritableConfig: must be a boolean, but is `perhaps`; write true or false

        | hooks: {quarantineAfter: often, lifecycle: [{run: x, timeout: soon}]}
        2:26: hooks.quarantineAfter: must be a whole number, but is `often`; write a number such as 5
        2:63: hooks.lifecycle[0].timeout: must be a whole number, but is `soon`; write a number such as 3600

        | labels: {board: 7}
        | python: 3
        2:17: labels.board: must be text, but is a number; write it in quotes
        3:9: python: must be text, but is a number; write it in quotes

        | export:
        |   a:
        |     type: POWER
        |     version: 1.4
        |     hooks:
        |       preInstall: {}
        |       preinstall: {}
        |       postInstall:
        |         scripts:
        |         - {targetPlatform: linux, run: x, timeoutSeconds: 0}
        |         - {targetPlatform: linux, script: '!'}
        |         - {targetPlatform: darwin, script: aGk=, run: x}
        |         - {}
        |         - {targetPlatform: windows, script: /w==}
        5:14: export.a.version: must be text, but is a number; write it in quotes
        7:19: export.a.hooks.preInstall.scripts: is missing; add `scripts:` with a script for each platform
        8:7: warning: export.a.hooks.preinstall: unknown key; did you mean `preInstall`?
        11:59: export.a.hooks.postInstall.scripts[0].timeoutSeconds: must be at least 1, but is 0; write a number of seconds, such as 300
        12:11: export.a.hooks.postInstall.scripts[1]: is a second script for its platform; keep one script for each platform
        12:43: export.a.hooks.postInstall.scripts[1].script: is not the base64 of a text; put a plain script under `run:` instead
        13:28: export.a.hooks.postInstall.scripts[2].targetPlatform: can't be `darwin`; write linux or windows
        13:50: export.a.hooks.postInstall.scripts[2].run: is given beside `script`; keep one of the two
        14:11: export.a.hooks.postInstall.scripts[3].targetPlatform: is missing; add `targetPlatform: linux`
        14:11: export.a.hooks.postInstall.scripts[3].run: is missing; add `run:` with the script, or `script:` with its base64
        15:45: export.a.hooks.postInstall.scripts[4].script: is not the base64 of a text; put a plain script under `run:` instead
        "#,
    );
}

#[test]
fn what_a_hook_runs_in() {
    check(
        r#"
        | hooks:
        |   beforeLease: {script: x, env: all, user: 0, workdir: hooks}
        |   afterLease: {script: x, env: {inherit: some, set: [a]}}
        |   repair: {script: x, env: {inherit: [A, 5, ''], set: {B: 1, 'C=D': x}, clear: true}}
        |   lifecycle: [{run: x, user: no-such-user, workdir: /nonexistent}]
        3:33: hooks.beforeLease.env: must be a mapping, but is text; write its keys below it, or `{}` for none
        3:44: hooks.beforeLease.user: must be text, but is a number; write it in quotes
        3:56: hooks.beforeLease.workdir: must be an absolute path, but is `hooks`; write the path from `/` on
        4:42: hooks.afterLease.env.inherit: must be `all` or a list of names, but is `some`; write `all`, or names as in [HOME, LANG]
        4:53: hooks.afterLease.env.set: must be a mapping, but is a list; write its keys below it, or `{}` for none
        5:42: hooks.repair.env.inherit[1]: must be text, but is a number; write it in quotes
        5:45: hooks.repair.env.inherit[2]: `` can't be the name of a variable; write a name without `=`
        5:59: hooks.repair.env.set.B: must be text, but is a number; write it in quotes
        5:62: hooks.repair.env.set.C=D: `C=D` can't be the name of a variable; write a name without `=`
        5:73: warning: hooks.repair.env.clear: unknown key; known here: set, inherit
        6:30: warning: hooks.lifecycle[0].user: there is no user `no-such-user` here; create the user, or check the name
        6:53: warning: hooks.lifecycle[0].workdir: there is no directory `/nonexistent` here; create it, or check the path
        "#,
    );
}

#[test]
fn metadata() {
    for (source, expected) in [
        (
            "kind: ExporterConfig",
            "1:1: metadata: is missing; add `metadata:` with `namespace` and `name`",
        ),
        (
            "metadata: {namespace: ~}",
            "1:11: metadata.name: is missing; add it, or set JMP_NAME in the environment",
        ),
        (
            "metadata: {name: a}",
            "1:11: metadata.namespace: is missing; add it, or set JMP_NAMESPACE in the environment",
        ),
        (
            "metadata: {namespace: a, name: 5}",
            "1:32: metadata.name: must be text, but is a number; write it in quotes",
        ),
        (
            "metadata: {namespace: a, name: b, Names: c}",
            "1:35: metadata.Names: unknown key; did you mean `name`?",
        ),
    ] {
        assert_eq!(lines(source), [expected]);
    }
}

#[test]
fn whole_files() {
    let large = format!("{}#{}", file(""), "x".repeat(1024 * 1024));
    let deep = format!("{}{}", "[".repeat(102), "]".repeat(102));
    for (source, expected) in [
        ("", "1:1: is empty; begin with `apiVersion: jumpstarter.dev/v1alpha1`"),
        ("# nothing\n", "1:1: is empty; begin with `apiVersion: jumpstarter.dev/v1alpha1`"),
        ("text", "1:1: must be a mapping, but is text; write its keys below it, or `{}` for none"),
        (
            "\u{feff}text",
            "1:1: must be a mapping, but is text; write its keys below it, or `{}` for none",
        ),
        (&large, "1:1: is larger than 1024 KiB; keep one exporter's configuration in a file"),
    ] {
        assert_eq!(lines(source), [expected]);
    }
    let path = "[0]".repeat(101);
    assert_eq!(
        lines(&deep),
        [format!("1:102: {path}: is nested more than 100 deep; make it flatter")]
    );
}

#[test]
fn aliases_can_not_become_millions_of_values() {
    let mut laughs = "x0: &x0 [ha]\n".to_owned();
    for line in 1..20 {
        let aliases = vec![format!("*x{}", line - 1); 10].join(", ");
        laughs += &format!("x{line}: &x{line} [{aliases}]\n");
    }
    let lines = lines(&laughs);
    assert_eq!(lines.len(), 1);
    let expected = "has more than 20000 values, counting copies by aliases; make it smaller";
    assert!(lines[0].ends_with(expected), "{lines:?}");
}

#[test]
fn bytes_that_are_no_text() {
    let found = parse(Path::new("x"), b"kind: a\nb: \xc3\xa4\xff", &Environment::default());
    let expected = "x:2:5: is not UTF-8; save the file as UTF-8";
    assert_eq!(found.unwrap_err().to_string(), expected);
}

#[test]
fn files_that_can_not_be_read() {
    let found = load(Path::new("/nonexistent/bench.yaml"), &Environment::default());
    assert_eq!(
        found.unwrap_err().to_string(),
        "/nonexistent/bench.yaml:1:1: can't be read: No such file or directory (os error 2); \
         give the path of a readable file"
    );
    assert!(load(Path::new("/"), &Environment::default()).is_err());
}

#[test]
fn programs_are_looked_for_on_the_path() {
    let source = file("hooks: {beforeLease: {script: x, exec: sh}}");
    let warnings = |path: &str| {
        let environment = Environment::from_iter([("PATH", path)]);
        super::lines_in(&source, &environment).len()
    };
    assert_eq!(warnings("/nonexistent:/bin"), 0);
    assert_eq!(warnings("/nonexistent"), 1);
}
