//! The devices of a configuration, tried: every driver is built once, without touching its device.

use std::collections::HashSet;

use drivers::Tree;
use drivers::registry::{self, BuildError, ConfigError};
use drivers::tree::{DeviceSpec, Problem, Spec, TreeError};
use serde_json::{Map, Value};

use super::Config;
use super::decode::Item;
use super::nearest::{closest, nearest};
use super::refusal::Refusal;

/// How many mistakes of one `config:` block are found at most.
const ROUNDS: usize = 20;

/// Notes every mistake in `export` that only building the drivers shows.
///
/// A driver reports the first mistake in its settings; it is built again without that setting to
/// find the next.
pub(super) fn check(top: &Item<'_>, config: &Config) {
    let malformed = top.findings.decoding_errors();
    let mut trial = Trial { top, specs: config.specs(), malformed, noted: HashSet::new() };
    for _ in 0..ROUNDS {
        let Err(errors) = Tree::build(None, &trial.specs) else { return };
        let ways_on = errors.iter().filter(|error| trial.note(error)).count();
        if ways_on == 0 {
            return;
        }
    }
}

struct Trial<'a> {
    top: &'a Item<'a>,
    /// Without the settings that were found wrong.
    specs: Vec<(String, Spec)>,
    /// The paths of what was wrong before any driver was built.
    malformed: Vec<String>,
    /// The paths of what was noted since.
    noted: HashSet<String>,
}

impl Trial<'_> {
    /// Notes a mistake. True if it is out of the way now, so that the next can be found.
    fn note(&mut self, error: &TreeError) -> bool {
        let node = self.top.descend(steps(&error.path));
        if self.is_malformed(&node) {
            return false;
        }
        match &error.problem {
            Problem::UnknownType(name) => {
                self.error(&node.descend(["type"]), unknown_type(name));
            }
            Problem::DanglingProxy { target, .. } => self.note_dangling(&node, target),
            Problem::EndlessProxy { target, .. } => {
                let message = format!("`{target}` leads back to this node");
                let hint = "give the path of a node that isn't above this one".into();
                self.error(&node.descend(["ref"]), (message, hint));
            }
            Problem::Unfit { used, missing } => {
                let message = format!("`{used}` can't be used here: it has no method `{missing}`");
                let hint = format!("give the path of a driver that has `{missing}`");
                self.error(&node, (message, hint));
            }
            Problem::BadUuid(uuid) => {
                let message = format!("`{uuid}` is no UUID, or another node's");
                let hint = "give the node a UUID of its own".into();
                self.error(&node.descend(["config", "uuid"]), (message, hint));
                return self.remove(&error.path, &["uuid".to_owned()]);
            }
            Problem::Build(BuildError::Config(mistake)) => {
                self.note_setting(&node, mistake);
                return self.remove(&error.path, &mistake.path);
            }
            Problem::Build(BuildError::Driver(refusal)) => {
                // It may only miss what was removed.
                let config = node.descend(["config"]);
                if !self.noted.iter().any(|path| is_below(path, &config.path)) {
                    self.error(&config, Refusal::of_driver(&refusal.to_string()));
                }
            }
        }
        false
    }

    fn note_setting(&mut self, node: &Item<'_>, mistake: &ConfigError) {
        let place = ["config"].into_iter().chain(mistake.path.iter().map(String::as_str));
        let setting = node.descend(place);
        match Refusal::of_setting(&mistake.message) {
            Refusal::UnknownKey { hint } => {
                if self.noted.insert(setting.path.clone()) {
                    setting.key_error("unknown key", hint);
                }
            }
            Refusal::Missing { key } => {
                let missing = setting.descend([key.as_str()]);
                self.error(&missing, ("is missing".into(), "add it".into()));
            }
            // The author's `on` or `0123` was meant as text, and only lacks its quotes.
            Refusal::Wrong { hint, .. } if hint.contains("string") && setting.lacks_quotes() => {
                if self.noted.insert(setting.path.clone()) {
                    setting.text();
                }
            }
            Refusal::Wrong { message, hint } => self.error(&setting, (message, hint)),
        }
    }

    fn note_dangling(&mut self, node: &Item<'_>, target: &str) {
        let names: Vec<_> = target.split('.').map(str::to_owned).collect();
        let way: Vec<_> =
            (1..=names.len()).map_while(|length| self.locate(&names[..length])).collect();
        if way.iter().any(|node| self.is_malformed(node)) {
            return;
        }
        if way.len() == names.len() {
            let message = format!("`{target}` leads to no node itself");
            self.error(&node.descend(["ref"]), (message, "refer to a device or a group".into()));
            return;
        }
        let mut known = Vec::new();
        collect_paths(&self.specs, "", &mut known);
        let hint = match nearest(target, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "give the names that lead to it from the top, with dots between them".into(),
        };
        self.error(&node.descend(["ref"]), (format!("there is no node `{target}`"), hint));
    }

    /// Notes one error for each path.
    fn error(&mut self, item: &Item<'_>, (message, hint): (String, String)) {
        if self.noted.insert(item.path.clone()) {
            item.error(message, hint);
        }
    }

    /// Whether that which a node is built from was already wrong before.
    fn is_malformed(&self, node: &Item<'_>) -> bool {
        let parts = ["type", "config", "ref"].map(|key| node.descend([key]).path);
        let children = node.descend(["children"]).path;
        self.malformed.iter().any(|path| {
            *path == node.path || *path == children || parts.iter().any(|part| is_below(path, part))
        })
    }

    /// The node that these names lead to without following proxies.
    fn locate(&self, names: &[String]) -> Option<Item<'_>> {
        steps(names).try_fold(self.top.clone(), |item, step| item.find(step))
    }

    /// Takes a setting out of a node. False if it isn't there.
    fn remove(&mut self, node: &[String], setting: &[String]) -> bool {
        device(&mut self.specs, node).is_some_and(|device| remove(&mut device.config, setting))
    }
}

fn unknown_type(name: &str) -> (String, String) {
    let hint = match (nearest(name, registry::types()), closest(name, registry::types())) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, Some((some, _))) => format!("name a driver that Hilt has, such as `{some}`"),
        (None, None) => "name a driver that Hilt has".into(),
    };
    (format!("driver `{name}` is not installed"), hint)
}

/// The keys from the top of the file to the node with this path.
fn steps(names: &[String]) -> impl Iterator<Item = &str> {
    let above = std::iter::once("export").chain(std::iter::repeat("children"));
    above.zip(names).flat_map(|(above, name)| [above, name.as_str()])
}

/// Whether a path is this one or leads on from it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What a proxy can refer to.
fn collect_paths(nodes: &[(String, Spec)], above: &str, paths: &mut Vec<String>) {
    for (name, node) in nodes {
        let path = format!("{above}{name}");
        match node {
            Spec::Proxy(_) => {}
            Spec::Group(children) | Spec::Device(DeviceSpec { children, .. }) => {
                collect_paths(children, &format!("{path}."), paths);
                paths.push(path);
            }
        }
    }
}

fn device<'s>(nodes: &'s mut [(String, Spec)], names: &[String]) -> Option<&'s mut DeviceSpec> {
    let (first, below) = names.split_first()?;
    match &mut nodes.iter_mut().find(|(name, _)| name == first)?.1 {
        Spec::Proxy(_) => None,
        Spec::Group(children) => device(children, below),
        Spec::Device(found) => match below {
            [] => Some(found),
            below => device(&mut found.children, below),
        },
    }
}

/// Takes the key at the end of the path out of the mapping that it is in. An item of a list takes
/// its list with it, as the other items are only right beside it.
fn remove(settings: &mut Map<String, Value>, path: &[String]) -> bool {
    let Some((first, below)) = path.split_first() else { return false };
    match settings.get_mut(first) {
        Some(Value::Object(settings)) if !below.is_empty() => remove(settings, below),
        Some(_) => settings.remove(first).is_some(),
        None => false,
    }
}
