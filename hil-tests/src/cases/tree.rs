//! The tree of drivers: composites, proxies, descriptions, and how it is reported.

use anyhow::{Result, ensure};
use indoc::indoc;

use super::cases;
use crate::bench::Bench;
use crate::known::Known;
use crate::subject::Exporter;

cases![
    help_shows_the_tree,
    descriptions_are_the_help,
    proxies_are_their_targets,
    report,
    unquoted_on[UnquotedOnDropsTheDriver]
];

const TREE: &str = indoc! {"
    description: a bench for the tree
    export:
      power:
        type: jumpstarter_driver_power.driver.MockPower
        description: mains of the device
        methods_description:
          'on': close the relay
      comp:
        children:
          serial:
            type: jumpstarter_driver_pyserial.driver.PySerial
            config: {url: 'loop://'}
          p2: {ref: power}
          inner:
            children:
              console: {ref: comp.serial}
      shelf: {ref: comp}
"};

async fn help_shows_the_tree(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, TREE).await?;
    let script = indoc! {"
        j --help
        echo -- comp && j comp --help
        echo -- inner && j comp inner --help
        echo -- shelf && j shelf --help
    "};
    let help = exporter.client().shell(script).await?.ok()?.stdout();
    let sections: Vec<_> = help.split("-- ").map(commands).collect();
    let expected: [&[&str]; 4] = [
        &["comp", "power", "shelf"],
        &["inner", "p2", "serial"],
        &["console"],
        &["inner", "p2", "serial"],
    ];
    ensure!(
        sections == expected,
        "the commands of each level should be {expected:?} and are {sections:?}"
    );
    Ok(())
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    let list = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    list.map_while(|line| line.split_whitespace().next()).collect()
}

async fn descriptions_are_the_help(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, TREE).await?;
    let help = exporter.client().shell("j --help; j power --help; j comp p2 --help").await?.ok()?;
    for text in ["a bench for the tree", "mains of the device", "close the relay"] {
        ensure!(help.contains(text), "{text:?} should be in the help");
    }
    Ok(())
}

async fn proxies_are_their_targets(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, TREE).await?;
    let mut logs = exporter.client().start_logs()?;
    let script = indoc! {"
        from jumpstarter.utils.env import env
        with env() as client:
            client.comp.p2.on()
            client.shelf.p2.off()
            assert client.comp.p2.uuid == client.power.uuid == client.shelf.p2.uuid
            consoles = client.comp.serial, client.comp.inner.console, client.shelf.inner.console
            for console in consoles:
                with console.stream() as stream:
                    stream.send(b'hello')
                    assert stream.receive() == b'hello'
    "};
    exporter.client().python(script).await?;
    logs.prints("power on").await?;
    logs.prints("power off").await
}

async fn report(bench: &Bench) -> Result<()> {
    let exporter = Exporter::start(bench, TREE).await?;
    let script = indoc! {r#"
        from uuid import UUID
        from raw import Exporter
        exporter = Exporter()
        report = exporter.report()
        assert report == exporter.report(), "a report should not change"
        UUID(report.uuid)

        def client(entry):
            return entry.labels["jumpstarter.dev/client"].rsplit(".", 1)[1]

        def name(entry):
            return entry.labels.get("jumpstarter.dev/name")

        walk = [(name(entry), client(entry)) for entry in report.reports]
        comp = [
            ("serial", "PySerialClient"),
            ("p2", "PowerClient"),
            ("inner", "CompositeClient"),
            ("console", "PySerialClient"),
        ]
        assert walk == [
            (None, "CompositeClient"),
            ("power", "PowerClient"),
            ("comp", "CompositeClient"),
            *comp,
            ("shelf", "CompositeClient"),
            *comp,
        ], walk

        root, power, comp, serial, p2, inner, console, shelf, *_ = report.reports
        assert not root.HasField("parent_uuid") and root.description == "a bench for the tree", root
        assert power.parent_uuid == comp.parent_uuid == shelf.parent_uuid == root.uuid
        assert serial.parent_uuid == p2.parent_uuid == inner.parent_uuid == comp.uuid
        assert console.parent_uuid == inner.uuid
        assert (power.uuid, serial.uuid, comp.uuid) == (p2.uuid, console.uuid, shelf.uuid)
        assert power.description == p2.description == "mains of the device"
        assert dict(power.methods_description) == {"on": "close the relay"}
        assert power.methods_description == p2.methods_description
        assert not serial.HasField("description") and not serial.methods_description
        assert power.uuid == str(UUID(power.uuid))
    "#};
    exporter.client().python(script).await?;
    Ok(())
}

async fn unquoted_on(bench: &Bench) -> Result<()> {
    let config = indoc! {"
        export:
          power:
            type: jumpstarter_driver_power.driver.MockPower
            methods_description: {on: close the relay, off: open the relay}
    "};
    let exporter = Exporter::start(bench, config).await?;
    let help = exporter.client().j(&["power", "--help"]).await?;
    if bench.differs(Known::UnquotedOnDropsTheDriver) {
        ensure!(
            !help.ok()?.contains("close the relay"),
            "the reference takes it for an empty composite"
        );
        return Ok(());
    }
    let help = help.ok()?;
    ensure!(
        help.contains("close the relay") && help.contains("open the relay"),
        "both descriptions should be the help"
    );
    Ok(())
}
