//! Which program a script becomes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The shell for inline scripts and for files that name no other interpreter.
const SHELL: &str = "/bin/sh";

/// A script, as the `script` field of a hook means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Nothing to run: succeeds at once.
    Blank,
    /// Text for the interpreter.
    Inline(String),
    /// A file for the interpreter.
    File(PathBuf),
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The interpreter: a path, or a name to look up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Script {
    /// Decides whether `text` is a script or the path of one: a single line that is an existing
    /// file is a path, everything else is a script.
    pub fn detect(text: &str) -> Self {
        Self::detect_with(text, Path::is_file)
    }

    fn detect_with(text: &str, is_file: impl Fn(&Path) -> bool) -> Self {
        let stripped = text.trim();
        if stripped.is_empty() {
            return Self::Blank;
        }
        if !stripped.contains('\n') && is_file(Path::new(stripped)) {
            return Self::File(stripped.into());
        }
        Self::Inline(text.to_owned())
    }

    /// The command that runs this script; none for a blank one. `exec` overrides the interpreter,
    /// `python` is the one for `.py` files.
    pub fn invocation(&self, exec: Option<&str>, python: &str) -> Option<Invocation> {
        let (program, args) = match self {
            Self::Blank => return None,
            Self::Inline(text) => (exec.unwrap_or(SHELL), vec!["-c".into(), text.into()]),
            Self::File(path) => {
                let program = exec.unwrap_or_else(|| interpreter_of(path, python));
                (program, vec![path.into()])
            }
        };
        Some(Invocation { program: program.into(), args })
    }
}

fn interpreter_of<'a>(path: &Path, python: &'a str) -> &'a str {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("py") => python,
        Some(_) | None => SHELL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Program and arguments for a script on a host where `/opt/hooks/*` are files.
    fn command(script: &str, exec: Option<&str>) -> Vec<String> {
        let script = Script::detect_with(script, |path| path.starts_with("/opt/hooks"));
        let Some(invocation) = script.invocation(exec, "python3") else { return Vec::new() };
        let words = std::iter::once(invocation.program).chain(invocation.args);
        words.map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn a_script_is_inline_unless_it_is_a_line_that_names_a_file() {
        assert_eq!(command("echo hello", None), ["/bin/sh", "-c", "echo hello"]);
        assert_eq!(command(" j power on\n", None), ["/bin/sh", "-c", " j power on\n"]);
        assert_eq!(command("/opt/missing.sh", None), ["/bin/sh", "-c", "/opt/missing.sh"]);
        assert_eq!(
            command("/opt/hooks/a\n/opt/hooks/b", None),
            ["/bin/sh", "-c", "/opt/hooks/a\n/opt/hooks/b"]
        );
        assert_eq!(command(" /opt/hooks/setup.sh \n", None), ["/bin/sh", "/opt/hooks/setup.sh"]);
    }

    #[test]
    fn the_extension_of_a_file_chooses_the_interpreter() {
        assert_eq!(command("/opt/hooks/a.py", None), ["python3", "/opt/hooks/a.py"]);
        assert_eq!(command("/opt/hooks/a.PY", None), ["python3", "/opt/hooks/a.PY"]);
        assert_eq!(command("/opt/hooks/a.sh", None), ["/bin/sh", "/opt/hooks/a.sh"]);
        assert_eq!(command("/opt/hooks/a.rb", None), ["/bin/sh", "/opt/hooks/a.rb"]);
        assert_eq!(command("/opt/hooks/a", None), ["/bin/sh", "/opt/hooks/a"]);
    }

    #[test]
    fn exec_overrides_everything() {
        assert_eq!(command("[[ 1 ]]", Some("/bin/bash")), ["/bin/bash", "-c", "[[ 1 ]]"]);
        assert_eq!(command("/opt/hooks/a.py", Some("/bin/bash")), ["/bin/bash", "/opt/hooks/a.py"]);
    }

    #[test]
    fn a_blank_script_is_nothing_to_run() {
        assert!(command(" \n\t", Some("/bin/bash")).is_empty());
    }
}
