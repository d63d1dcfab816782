//! Files on a storage: clients of OpenDAL operators.

use std::path::PathBuf;

use clap::{ArgMatches, Command, value_parser};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::command::{argument, choice, option, value};
use super::error::{Error, Result};
use super::local::{Input, Output};
use super::output;
use super::report::Driver;
use super::resource::{Borrowed, Lent, Source};
use super::signals::Signals;

/// What to do with a storage.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    /// From stdin, if there is no other source.
    Write {
        path: String,
        source: Option<Source>,
    },
    /// To stdout, if there is no other target.
    Read {
        path: String,
        target: Option<PathBuf>,
    },
    Query(Query),
}

/// What needs no transfer.
#[derive(Debug, PartialEq)]
pub(crate) enum Query {
    Stat {
        path: String,
    },
    Hash {
        path: String,
        algo: String,
    },
    Exists {
        path: String,
    },
    /// A method that answers nothing.
    Do {
        method: &'static str,
        args: Vec<Value>,
    },
    /// A method that yields paths.
    Paths {
        method: &'static str,
        path: String,
    },
    Presign {
        method: &'static str,
        path: String,
        seconds: u64,
    },
    Capability,
}

/// What `stat` prints. The wire has other names for the mode.
#[derive(Debug, Deserialize, Serialize)]
struct Metadata {
    content_disposition: Option<String>,
    content_length: u64,
    content_md5: Option<String>,
    content_type: Option<String>,
    etag: Option<String>,
    mode: Mode,
}

#[derive(Debug, Deserialize, Serialize)]
struct Mode {
    #[serde(rename(deserialize = "entry_is_file"))]
    is_file: bool,
    #[serde(rename(deserialize = "entry_is_dir"))]
    is_dir: bool,
}

/// What `presign-*` prints.
#[derive(Debug, Deserialize, Serialize)]
struct PresignedRequest {
    url: String,
    method: String,
    headers: Map<String, Value>,
}

pub(crate) fn commands(driver: &Driver) -> Vec<Command> {
    let verb = |name, help, args: &[&'static str]| {
        driver.command(name, help).args(args.iter().map(|&name| argument(name)))
    };
    let presign = |name, help| {
        let seconds = option("expire-second", "INTEGER").required(true);
        verb(name, help, &["PATH"]).arg(
            seconds.value_parser(value_parser!(u64)).help("For how many seconds it can be used"),
        )
    };
    let algo = choice("algo", &["md5", "sha256"]).default_value("sha256");
    vec![
        verb("write-bytes", "Write stdin to a file", &["PATH"]),
        verb("read-bytes", "Read a file to stdout", &["PATH"]),
        verb("write-from-path", "Write a local file or a URL to the file DST", &["DST", "SRC"]),
        verb("read-into-path", "Read the file SRC into a local file", &["SRC", "DST"]),
        verb("stat", "Show a file's metadata", &["PATH"]),
        verb("hash", "Show a file's hash", &["PATH"]).arg(algo.help("The hash function")),
        verb("copy", "Copy a file", &["SOURCE", "TARGET"]),
        verb("rename", "Rename a file", &["SOURCE", "TARGET"]),
        verb("remove-all", "Remove everything below a path", &["PATH"]),
        verb("create-dir", "Create a directory; PATH ends in /", &["PATH"]),
        verb("delete", "Delete a file", &["PATH"]),
        verb("exists", "Fail if a file does not exist", &["PATH"]),
        verb("list", "List a directory", &["PATH"]),
        verb("scan", "List a directory and all below it", &["PATH"]),
        presign("presign-stat", "Sign a request for a file's metadata"),
        presign("presign-read", "Sign a request for a file's content"),
        presign("presign-write", "Sign a request to write a file"),
        verb("capability", "Show what the storage can do", &[]),
    ]
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    let text = |name| value::<String>(matches, name);
    let path = || text("PATH");
    Some(match name {
        "write-bytes" => Verb::Write { path: path(), source: None },
        "read-bytes" => Verb::Read { path: path(), target: None },
        "write-from-path" => {
            Verb::Write { path: text("DST"), source: Some(Source::parse(text("SRC").as_ref())) }
        }
        "read-into-path" => Verb::Read { path: text("SRC"), target: Some(text("DST").into()) },
        _ => Verb::Query(query(name, matches)?),
    })
}

fn query(name: &str, matches: &ArgMatches) -> Option<Query> {
    let text = |name| value::<String>(matches, name);
    let path = || text("PATH");
    let act = |method| Query::Do { method, args: vec![path().into()] };
    let both = |method| {
        let args = vec![text("SOURCE").into(), text("TARGET").into()];
        Query::Do { method, args }
    };
    let presign =
        |method| Query::Presign { method, path: path(), seconds: value(matches, "expire-second") };
    Some(match name {
        "stat" => Query::Stat { path: path() },
        "hash" => Query::Hash { path: path(), algo: text("algo") },
        "copy" => both("copy"),
        "rename" => both("rename"),
        "remove-all" => act("remove_all"),
        "create-dir" => act("create_dir"),
        "delete" => act("delete"),
        "exists" => Query::Exists { path: path() },
        "list" => Query::Paths { method: "list", path: path() },
        "scan" => Query::Paths { method: "scan", path: path() },
        "presign-stat" => presign("presign_stat"),
        "presign-read" => presign("presign_read"),
        "presign-write" => presign("presign_write"),
        "capability" => Query::Capability,
        _ => return None,
    })
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb, signals: &mut Signals) -> Result<()> {
    match verb {
        Verb::Write { path, source } => {
            let lent = match source {
                Some(source) => source.open(None)?,
                None => Lent::Input { input: Input::Stdin, compression: None },
            };
            let write = async |fd: Value| {
                let consume = async |handle| client.call("file_write", vec![fd, handle]).await;
                lent.to(client, consume).await.map(drop)
            };
            with_file(client, signals, &path, "wb", write).await
        }
        Verb::Read { path, target } => {
            let borrowed = match target {
                Some(target) => Source::File(target).create(None)?,
                None => Borrowed::Output { output: Output::stdout(), compression: None },
            };
            let read = async |fd: Value| {
                let produce = async |handle| client.call("file_read", vec![fd, handle]).await;
                borrowed.to(client, produce).await.map(drop)
            };
            with_file(client, signals, &path, "rb", read).await
        }
        Verb::Query(query) => signals.guard(ask(client, query)).await,
    }
}

/// Opens a file, does `work` with its descriptor, and closes it whatever happened meanwhile.
async fn with_file(
    client: &Client<'_>,
    signals: &mut Signals,
    path: &str,
    mode: &str,
    work: impl AsyncFnOnce(Value) -> Result<()>,
) -> Result<()> {
    let fd = signals.guard(client.call("open", vec![path.into(), mode.into()])).await?;
    let done = signals.guard(work(fd.clone())).await;
    let closed = signals.guard(client.call("file_close", vec![fd])).await;
    done.and(closed.map(drop))
}

async fn ask(client: &Client<'_>, query: Query) -> Result<()> {
    match query {
        Query::Stat { path } => {
            let stat: Metadata = client.ask("stat", vec![path.into()], "a file's metadata").await?;
            print(&json!(stat))
        }
        Query::Hash { path, algo } => {
            let args = vec![path.into(), algo.into()];
            let hash: String = client.ask("hash", args, "a hash").await?;
            output::line(hash)
        }
        Query::Exists { path } => {
            let args = vec![path.as_str().into()];
            if client.ask("exists", args, "true or false").await? {
                return Ok(());
            }
            Err(Error::Refused(format!("path {path} does not exist")))
        }
        Query::Do { method, args } => client.call(method, args).await.map(drop),
        Query::Paths { method, path } => {
            let mut paths = client.items(method, vec![path.into()]).await?;
            while let Some(path) = paths.next::<String>("a path").await? {
                output::line(path)?;
            }
            Ok(())
        }
        Query::Presign { method, path, seconds } => {
            let args = vec![path.into(), seconds.into()];
            let request: PresignedRequest = client.ask(method, args, "a signed request").await?;
            print(&json!(request))
        }
        Query::Capability => print(&client.call("capability", vec![]).await?),
    }
}

fn print(value: &Value) -> Result<()> {
    output::line(format_args!("{value:#}"))
}
