//! The `hooks` of a driver node: scripts around the driver's own life.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::hooks::{checked, surroundings};
use super::item::Item;
use super::section::Section;
use super::{positive_seconds, seconds, unless_null};
use crate::config::export::{Platform, Stage, StageScript};
use crate::config::hooks::{Form, Script};

/// Seconds that a script may take, unless it says otherwise.
const TIMEOUT: i64 = 300;

/// Reads a driver's `hooks`.
pub(super) fn hooks(item: &Item<'_>) -> BTreeMap<Stage, Vec<StageScript>> {
    let hooks = item.section(|keys| {
        let mut hooks = BTreeMap::new();
        for stage in Stage::ALL {
            if let Some(item) = unless_null(keys, stage.word()) {
                hooks.insert(stage, item.section(scripts).unwrap_or_default());
            }
        }
        hooks
    });
    hooks.unwrap_or_default()
}

fn scripts(keys: &mut Section<'_>) -> Vec<StageScript> {
    let Some(list) = keys.required("scripts", "add `scripts:` with a script for each platform")
    else {
        return Vec::new();
    };
    let mut scripts: Vec<StageScript> = Vec::new();
    for item in list.list() {
        let Some(Some(script)) = item.section(script) else { continue };
        if scripts.iter().any(|other| other.platform == script.platform) {
            item.error("is a second script for its platform", "keep one script for each platform");
        }
        scripts.push(script);
    }
    scripts
}

/// None if its platform isn't known.
fn script(keys: &mut Section<'_>) -> Option<StageScript> {
    let platform =
        keys.required("targetPlatform", "add `targetPlatform: linux`").and_then(|item| {
            item.choice(&[("linux", Platform::Linux), ("windows", Platform::Windows)])
        });
    let timeout = keys.get("timeoutSeconds").and_then(|item| positive_seconds(&item, TIMEOUT));
    let text = match (keys.get("script"), keys.get("run")) {
        (Some(encoded), None) => encoded.text().and_then(|text| decoded(&encoded, &text)),
        (None, Some(plain)) => plain.text(),
        (Some(_), Some(plain)) => {
            plain.key_error("is given beside `script`", "keep one of the two");
            None
        }
        (None, None) => {
            keys.missing("run", "add `run:` with the script, or `script:` with its base64");
            None
        }
    };
    let script = Script {
        text: text.unwrap_or_default(),
        form: Form::Text,
        timeout: timeout.unwrap_or_else(|| seconds(TIMEOUT)),
        ..surroundings(keys)
    };
    Some(StageScript { platform: platform?, script: checked(script, keys.get("run")) })
}

fn decoded(item: &Item<'_>, text: &str) -> Option<String> {
    let compact: String = text.split_whitespace().collect();
    let script = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if script.is_none() {
        item.error("is not the base64 of a text", "put a plain script under `run:` instead");
    }
    script
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::read;
    use super::*;

    #[test]
    fn scripts_are_decoded_for_each_platform() {
        // "#!/bin/bash\n" and "Stop-Service x", the first in lines as `base64` prints them.
        let hooks = read(
            "preInstall:
  scripts:
    - targetPlatform: linux
      script: |
        IyEvYmlu
        L2Jhc2gK
      timeoutSeconds: 5
    - {targetPlatform: windows, script: U3RvcC1TZXJ2aWNlIHg=}
postDelete: {scripts: [{targetPlatform: linux, run: echo gone}]}
preUpdate: {scripts: []}
postUpdate: ~
",
            hooks,
        );
        let stages: Vec<_> = hooks.keys().copied().collect();
        assert_eq!(stages, [Stage::PreInstall, Stage::PreUpdate, Stage::PostDelete]);
        let [linux, windows] = &hooks[&Stage::PreInstall][..] else { panic!("{hooks:?}") };
        assert_eq!((linux.platform, windows.platform), (Platform::Linux, Platform::Windows));
        assert_eq!(linux.script.text, "#!/bin/bash\n");
        assert_eq!(linux.script.timeout, Duration::from_secs(5));
        assert_eq!(windows.script.text, "Stop-Service x");
        assert_eq!(windows.script.timeout, Duration::from_secs(300));
        assert_eq!(hooks[&Stage::PostDelete][0].script.text, "echo gone");
        assert_eq!(hooks[&Stage::PreUpdate], []);
    }
}
