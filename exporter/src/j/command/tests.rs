//! What command lines mean.

use std::collections::{BTreeMap, HashMap};

use clap::error::ErrorKind;

use super::super::error::Error;
use super::*;

const CLASSES: [(&str, Class); 13] = [
    ("composite", Class::Composite),
    ("button", Class::DigitalInput),
    ("flasher", Class::Flasher),
    ("fs", Class::Opendal),
    ("led", Class::DigitalOutput),
    ("mux", Class::StorageMux),
    ("net", Class::Network),
    ("odd", Class::Unknown),
    ("power", Class::Power),
    ("sd", Class::StorageMuxFlasher),
    ("serial", Class::Serial),
    ("shell", Class::Shell),
    ("vm", Class::VirtualPower),
];

fn driver(name: &str, class: Class) -> Driver {
    Driver {
        uuid: name.into(),
        path: vec![name.into()],
        class,
        description: None,
        methods: HashMap::new(),
        children: BTreeMap::new(),
    }
}

/// One driver of each class, and a board with a power switch.
fn bench() -> (Driver, Scripts) {
    let mut root = driver("root", Class::Composite);
    root.path.clear();
    for (name, class) in CLASSES {
        root.children.insert(name.into(), driver(name, class));
    }
    let mut board = driver("board", Class::Unknown);
    board.children.insert("power".into(), driver("power", Class::Power));
    root.children.insert("board".into(), board);
    let mut card = driver("card", Class::StorageMuxFlasher);
    card.methods.insert("write --bmap".into(), "The block map".into());
    root.children.insert("card".into(), card);
    (root, Scripts::from([("shell".into(), vec!["hello".into(), "call".into()])]))
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// The driver's uuid and the verb.
fn parsed(line: &str) -> (String, String) {
    let (root, scripts) = bench();
    let plan = parse(&root, &scripts, &words(line)).unwrap();
    (plan.driver.uuid.clone(), format!("{:?}", plan.verb))
}

fn refused(line: &str) -> (ErrorKind, String) {
    let (root, scripts) = bench();
    let Error::Usage(usage) = parse(&root, &scripts, &words(line)).unwrap_err() else {
        panic!("not an error of usage")
    };
    (usage.kind(), usage.render().to_string())
}

#[test]
fn every_command_is_one_that_clap_accepts() {
    let (root, scripts) = bench();
    let names: Vec<OsString> = root.children.keys().map(OsString::from).collect();
    group(&root, "j", "j", &Words { args: &names, scripts: &scripts }).debug_assert();
}

#[test]
fn every_verb_of_every_class_is_understood() {
    let (root, scripts) = bench();
    for driver in root.children.values() {
        for command in verbs(driver, &scripts) {
            let name = command.get_name().to_owned();
            let mut line = vec![name.clone()];
            for argument in command.get_arguments().filter(|it| it.is_required_set()) {
                line.extend(argument.get_long().map(|long| format!("--{long}")));
                let choices = argument.get_possible_values();
                line.push(choices.first().map_or("1", |choice| choice.get_name()).into());
            }
            if command.get_arguments().any(|it| it.get_id() == "image") {
                line.push("--image=x".into());
            } else if name == "flash" && driver.class == Class::Flasher {
                line.push("x".into());
            }
            let matches = command.try_get_matches_from(line).unwrap();
            assert!(verb(driver, &scripts, &name, &matches).is_some(), "{driver:?} {name}");
        }
    }
}

#[test]
fn a_line_is_a_driver_and_a_verb() {
    assert_eq!(parsed("power on"), ("power".into(), "Power(On)".into()));
    assert_eq!(parsed("board power off").1, "Power(Off { destroy: None })");
    assert_eq!(parsed("vm off").1, "Power(Off { destroy: Some(false) })");
    assert_eq!(parsed("vm off --destroy").1, "Power(Off { destroy: Some(true) })");
    assert_eq!(parsed("--log-level DEBUG power cycle").1, "Power(Cycle { wait: 2 })");
    assert_eq!(parsed("power read -n 0 -i .5").1, "Power(Read { count: 0, interval: 0.5 })");
    assert_eq!(parsed("power read --count=3").1, "Power(Read { count: 3, interval: 1.0 })");
}

#[test]
fn a_line_of_gpio_is_switched_read_or_waited_for() {
    assert_eq!(parsed("led cycle -w 1").1, "Gpio(Switch(Cycle { wait: 1 }))");
    assert_eq!(parsed("led read").1, "Gpio(Read)");
    assert_eq!(
        parsed("button wait-for-edge rising -t 2.5").1,
        "Gpio(Wait { method: \"wait_for_edge\", edge: Some(\"rising\"), timeout: 2.5 })"
    );
    assert_eq!(
        parsed("button wait-for-active").1,
        "Gpio(Wait { method: \"wait_for_active\", edge: None, timeout: 3600.0 })"
    );
    assert_eq!(refused("button on").0, ErrorKind::InvalidSubcommand);
    assert_eq!(refused("button wait-for-edge up").0, ErrorKind::InvalidValue);
}

#[test]
fn an_image_has_many_spellings() {
    let written = parsed("sd write --image a.img");
    for line in ["sd write a.img", "sd flash a.img"] {
        assert_eq!(parsed(line), written);
    }
    assert_eq!(parsed("mux write a.img").1, written.1);
    assert_eq!(
        parsed("sd flash a.img --bmap a.bmap").1,
        "Storage(Write { image: Image { source: File(\"a.img\"), compression: None }, \
         bmap: Given(File(\"a.bmap\")) })"
    );
    assert!(parsed("sd flash a.img").1.ends_with("bmap: None })"));
    for (line, bmap) in [
        ("card flash a.img", "Beside"),
        ("card write --no-bmap a.img", "None"),
        ("card write a.img --bmap b", "Given(File(\"b\"))"),
    ] {
        assert!(parsed(line).1.ends_with(&format!("bmap: {bmap} }})")), "{line}");
    }
    assert_eq!(refused("sd flash a.img --no-bmap").0, ErrorKind::UnknownArgument);
    let (_, flashed) = parsed("flasher flash -t boot:a.img -t root:http://h/b --compression xz");
    assert_eq!(
        flashed,
        "Flasher(Flash([\
         (Some(\"boot\"), Image { source: File(\"a.img\"), compression: Some(Xz) }), \
         (Some(\"root\"), Image { source: Url(\"http://h/b\"), compression: Some(Xz) })]))"
    );
}

#[test]
fn a_scripts_arguments_are_its_own() {
    for (line, arguments) in [
        ("shell hello a -b --help", r#"["a", "-b", "--help"]"#),
        ("shell hello -x --env", r#"["-x", "--env"]"#),
        ("shell hello -- -e x", r#"["-e", "x"]"#),
        ("shell hello a -- b", r#"["a", "--", "b"]"#),
    ] {
        let (_, verb) = parsed(line);
        assert!(verb.contains(&format!("args: {arguments}")), "{line}: {verb}");
    }
    let (_, verb) = parsed("shell hello -e A=1 --env B=x=y c");
    assert!(verb.contains(r#"{"A": String("1"), "B": String("x=y")}, args: ["c"]"#), "{verb}");
}

#[test]
fn a_serial_port_can_be_borrowed_and_only_a_recorded_one_has_a_log() {
    let (_, verb) = parsed("serial borrow -- esptool.py --port {} -b 921600 write_flash");
    let program = r#"["esptool.py", "--port", "{}", "-b", "921600", "write_flash"]"#;
    assert_eq!(verb, format!("Serial(Borrow(Errand {{ program: {program} }}))"));
    assert_eq!(refused("serial borrow").0, ErrorKind::MissingRequiredArgument);
    assert_eq!(refused("serial log").0, ErrorKind::InvalidSubcommand);
    assert_eq!(
        refused("serial start-console --read-only --take-over").0,
        ErrorKind::ArgumentConflict
    );

    let (mut root, scripts) = bench();
    let serial = root.children.get_mut("serial").unwrap();
    serial.methods.insert("log".into(), "Print it".into());
    let plan = parse(&root, &scripts, &words("serial log --since boot -f -t")).unwrap();
    let wish = r#"since: String("boot"), follow: true, timestamps: true"#;
    assert!(format!("{:?}", plan.verb).contains(wish), "{:?}", plan.verb);
}

#[test]
fn every_driver_can_be_called() {
    let called = r#"Call(Verb { method: "m", args: [Number(-1), String("x"), Null] })"#;
    for name in ["odd", "power", "composite"] {
        assert_eq!(parsed(&format!(r#"{name} call m -1 "x" null"#)).1, called);
    }
    assert_eq!(parsed("call m").0, "root");
    assert!(parsed("shell call m").1.starts_with("Shell"), "a script of that name comes first");
    let (kind, text) = refused("power call m x");
    assert_eq!(kind, ErrorKind::ValueValidation);
    assert!(text.contains(r#"'"x"'"#), "{text}");
}

#[test]
fn a_mistake_comes_with_a_suggestion() {
    let (kind, text) = refused("powr on");
    assert_eq!(kind, ErrorKind::InvalidSubcommand);
    assert!(text.contains("'power'"), "{text}");
    assert!(refused("power cycle --wat").1.contains("'--wait'"));
    assert!(refused("power on x").1.contains("Usage: j power on"));
    for line in ["power cycle -w -1", "power read -i nan", "flasher flash -t boot", "nope"] {
        assert!(refused(line).0 != ErrorKind::DisplayHelp, "{line}");
    }
}

#[test]
fn help_has_the_shape_that_users_know() {
    let (mut root, scripts) = bench();
    let power = root.children.get_mut("power").unwrap();
    power.description = Some("main supply\n\nof the bench".into());
    power.methods.insert("on".into(), "Give it juice".into());
    let help = |line| parse(&root, &scripts, &words(line)).unwrap_err().to_string();
    let expected = "\
Usage: j power [OPTIONS] COMMAND [ARGS]...

  main supply

  of the bench

Options:
      --help  Show this message and exit.

Commands:
  call    Call a method by its name
  cycle   Power cycle
  off     Power off
  on      Give it juice
  read    Read power measurements
  rescue  Power on into the rescue mode
  status  Tell whether it is on, off or partial
";
    assert_eq!(help("power --help"), expected);
    assert_eq!(help("power"), expected);
    assert!(help("--help").contains("\n  power      main supply\n"));
    assert!(help("power on --help").starts_with("Usage: j power on\n\n  Give it juice\n"));
}

#[test]
fn only_groups_of_drivers_take_a_log_level() {
    assert_eq!(refused("power --log-level DEBUG on").0, ErrorKind::UnknownArgument);
    assert_eq!(refused("--log-level LOUD power on").0, ErrorKind::InvalidValue);
}
