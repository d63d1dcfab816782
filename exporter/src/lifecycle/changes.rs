//! What is to be done to get from the drivers in use to those that are wanted.

use std::collections::BTreeMap;

use super::definition::Definition;

/// Something to be done to one driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is not wanted any more.
    Delete(Definition),
    /// It is wanted, and not in use yet.
    Install(Definition),
    /// It is wanted with this definition instead of the one in use.
    Update(Definition),
}

impl Change {
    /// The definition that goes or comes.
    pub fn definition(&self) -> &Definition {
        match self {
            Self::Delete(definition) | Self::Install(definition) | Self::Update(definition) => {
                definition
            }
        }
    }

    /// Which driver it is about.
    pub fn path(&self) -> &str {
        &self.definition().path
    }
}

/// What there is to do, in the order in which to do it: first what makes room, children before
/// their parents; then what is new or changed, in the order of `wanted`.
pub fn plan(applied: &BTreeMap<String, Definition>, wanted: &[Definition]) -> Vec<Change> {
    let is_wanted = |path: &str| wanted.iter().any(|definition| definition.path == path);
    // A path sorts behind that of its parent.
    let gone = applied.iter().rev().filter(|(path, _)| !is_wanted(path));
    let mut changes: Vec<_> = gone.map(|(_, old)| Change::Delete(old.clone())).collect();
    for new in wanted {
        match applied.get(&new.path) {
            None => changes.push(Change::Install(new.clone())),
            Some(old) if old.hash() != new.hash() => changes.push(Change::Update(new.clone())),
            Some(_) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A driver at `path` whose preUpdate hook on Linux is `script`.
    fn definition(path: &str, port: u8, script: &str) -> Definition {
        let script = json!({"platform": "linux", "script": {"text": script}});
        serde_json::from_value(json!({
            "path": path,
            "type": "acme.Relay",
            "config": {"port": port},
            "hooks": {"preUpdate": [script]},
        }))
        .unwrap()
    }

    fn applied(definitions: &[Definition]) -> BTreeMap<String, Definition> {
        definitions.iter().map(|definition| (definition.path.clone(), definition.clone())).collect()
    }

    fn shown(changes: &[Change]) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Delete(_) => "-",
            Change::Install(_) => "+",
            Change::Update(_) => "~",
        };
        changes.iter().map(|change| format!("{}{}", word(change), change.path())).collect()
    }

    #[test]
    fn room_is_made_first_and_children_go_before_their_parents() {
        let old = ["a", "a.b", "a.b.c", "d", "e"].map(|path| definition(path, 1, "x"));
        let new = [definition("new", 1, "x"), definition("d", 2, "x"), definition("e", 1, "x")];
        assert_eq!(shown(&plan(&applied(&old), &new)), ["-a.b.c", "-a.b", "-a", "+new", "~d"]);
    }

    #[test]
    fn another_script_alone_is_a_change() {
        let old = applied(&[definition("a", 1, "echo old")]);
        assert_eq!(shown(&plan(&old, &[definition("a", 1, "echo new")])), ["~a"]);
        assert_eq!(shown(&plan(&old, &[definition("a", 1, "echo old")])), [""; 0]);
    }

    fn drivers() -> impl Strategy<Value = BTreeMap<String, Definition>> {
        let path = prop::sample::select(vec!["a", "a.b", "a.b.c", "b", "c", "c.a"]);
        btree_map(path, (0_u8..3, "x|y"), 0..6).prop_map(|drivers| {
            let definition = |(path, (port, script)): (&str, (u8, String))| {
                (path.to_owned(), definition(path, port, &script))
            };
            drivers.into_iter().map(definition).collect()
        })
    }

    proptest! {
        #[test]
        fn a_plan_carried_out_leaves_nothing_to_do(old in drivers(), new in drivers()) {
            let wanted: Vec<_> = new.values().cloned().collect();
            let changes = plan(&old, &wanted);
            let mut now = old.clone();
            for change in &changes {
                match change {
                    Change::Delete(gone) => prop_assert_eq!(now.remove(&gone.path), Some(gone.clone())),
                    Change::Install(to) => prop_assert!(now.insert(to.path.clone(), to.clone()).is_none()),
                    Change::Update(to) => {
                        prop_assert!(now.insert(to.path.clone(), to.clone()).is_some());
                    }
                }
            }
            prop_assert_eq!(&now, &new);
            prop_assert_eq!(plan(&now, &wanted), []);
        }

        #[test]
        fn what_is_unchanged_is_not_touched(old in drivers(), new in drivers()) {
            let wanted: Vec<_> = new.values().cloned().collect();
            for change in plan(&old, &wanted) {
                prop_assert_ne!(old.get(change.path()), new.get(change.path()));
            }
        }

        #[test]
        fn deletions_come_first_and_no_parent_before_its_child(old in drivers(), new in drivers()) {
            let wanted: Vec<_> = new.values().cloned().collect();
            let changes = plan(&old, &wanted);
            let gone: Vec<_> = changes.iter().take_while(|c| matches!(c, Change::Delete(_))).collect();
            prop_assert!(changes[gone.len()..].iter().all(|c| !matches!(c, Change::Delete(_))));
            for (index, parent) in gone.iter().enumerate() {
                let child = format!("{}.", parent.path());
                prop_assert!(gone[index..].iter().all(|later| !later.path().starts_with(&child)));
            }
        }
    }
}
