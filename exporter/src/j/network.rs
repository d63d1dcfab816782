//! `forward-tcp`, `forward-unix` and `address`: clients of networks.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use clap::{Arg, ArgMatches, Command, value_parser};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tempfile::TempPath;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tonic::transport::Uri;

use super::client::Client;
use super::command::{argument, flag, option, value};
use super::error::{Error, Result};
use super::output;
use super::report::Driver;
use super::stream::ByteStream;

/// What is read from a local connection at once.
const CHUNK: usize = 64 << 10;

const FORWARD_TCP_HELP: &str = "Forward local TCP port to remote network

PORT is the TCP port to listen on; 0 takes a free one.";

const FORWARD_UNIX_HELP: &str = "Forward local Unix domain socket to remote network

PATH is the path of the Unix domain socket to listen on, defaults to a
random path under $XDG_RUNTIME_DIR.";

/// What to do with a network.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb {
    ForwardTcp { address: String, port: u16 },
    ForwardUnix { path: Option<PathBuf> },
    Address(Part),
}

/// What of an address to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Host,
    Port,
    Both,
}

pub(crate) fn commands(driver: &Driver) -> Vec<Command> {
    vec![
        driver
            .command("forward-tcp", FORWARD_TCP_HELP)
            .arg(option("address", "TEXT").default_value("localhost"))
            .arg(argument("PORT").value_parser(value_parser!(u16))),
        driver
            .command("forward-unix", FORWARD_UNIX_HELP)
            .arg(Arg::new("PATH").value_parser(value_parser!(PathBuf))),
        driver
            .command("address", "Direct TCP connection to remote network")
            .args([flag("host"), flag("port")]),
    ]
}

pub(crate) fn verb(name: &str, matches: &ArgMatches) -> Option<Verb> {
    Some(match name {
        "forward-tcp" => {
            Verb::ForwardTcp { address: value(matches, "address"), port: value(matches, "PORT") }
        }
        "forward-unix" => Verb::ForwardUnix { path: matches.get_one("PATH").cloned() },
        "address" => Verb::Address(match (value(matches, "host"), value(matches, "port")) {
            (true, false) => Part::Host,
            (false, true) => Part::Port,
            (true, true) | (false, false) => Part::Both,
        }),
        _ => return None,
    })
}

pub(crate) async fn perform(client: &Client<'_>, verb: Verb) -> Result<()> {
    match verb {
        Verb::ForwardTcp { address, port } => {
            let failed = |error| Error::local(format!("listening on {address}:{port}"), error);
            let listener = TcpListener::bind((&*address, port)).await.map_err(failed)?;
            output::line(listener.local_addr().map_err(failed)?)?;
            let accept = async || {
                let (local, _) = listener.accept().await?;
                local.set_nodelay(true)?;
                Ok(local)
            };
            serve(client, accept).await
        }
        Verb::ForwardUnix { path: Some(path) } => {
            let listener = bind(&path)?;
            output::line(path.display())?;
            // The socket's name goes with the socket.
            let _name = TempPath::try_from_path(&path).map_err(|error| Error::file(path, error))?;
            serve(client, async || Ok(listener.accept().await?.0)).await
        }
        Verb::ForwardUnix { path: None } => {
            let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let parent = runtime.unwrap_or_else(std::env::temp_dir);
            let directory = tempfile::Builder::new().prefix("jumpstarter-").tempdir_in(&parent);
            let directory = directory.map_err(|error| Error::file(parent, error))?;
            let path = directory.path().join("socket");
            let listener = bind(&path)?;
            output::line(path.display())?;
            serve(client, async || Ok(listener.accept().await?.0)).await
        }
        Verb::Address(part) => {
            let address: String = client.ask("address", vec![], "an address").await?;
            output::line(shown(&address, part))
        }
    }
}

/// Forwards every connection that `accept` returns. One that fails is no reason to give up the
/// others.
async fn serve<L: AsyncRead + AsyncWrite>(
    client: &Client<'_>,
    accept: impl AsyncFn() -> io::Result<L>,
) -> Result<()> {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = accept() => {
                let local = accepted.map_err(|error| Error::local("accepting a connection", error))?;
                connections.push(forward(client, local));
            }
            Some(Err(error)) = connections.next() => output::note(error),
        }
    }
}

/// Listens on a path, in the place of a socket that nobody listens on any more.
fn bind(path: &Path) -> Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|it| it.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        std::fs::remove_file(path).map_err(|error| Error::file(path, error))?;
    }
    UnixListener::bind(path).map_err(|error| Error::file(path, error))
}

/// One local connection is one stream.
async fn forward(client: &Client<'_>, local: impl AsyncRead + AsyncWrite) -> Result<()> {
    let ByteStream { outgoing, mut incoming } = client.connect().await?;
    let (mut reader, mut writer) = tokio::io::split(local);
    let failed = |error| Error::local("forwarding a connection", error);
    let there = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            if reader.read_buf(&mut buffer).await.map_err(failed)? == 0 {
                // A network that takes no more may still have something to say.
                outgoing.finish().await;
                return Ok(());
            }
            if outgoing.send(buffer.split().freeze()).await.is_err() {
                return Ok(());
            }
        }
    };
    let back = async {
        let lost = |status| client.failed("connect", status);
        while let Some(chunk) = incoming.next().await.map_err(lost)? {
            writer.write_all(&chunk).await.map_err(failed)?;
        }
        writer.shutdown().await.map_err(failed)
    };
    tokio::try_join!(there, back).map(|_| ())
}

/// The address without scheme and path. One that is no URL is printed as it is.
fn shown(address: &str, part: Part) -> String {
    let url = if address.contains("://") { address.to_owned() } else { format!("tcp://{address}") };
    let Ok(url) = url.parse::<Uri>() else { return address.to_owned() };
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().map(|port| port.to_string());
    match part {
        Part::Host => host.trim_matches(['[', ']']).to_owned(),
        Part::Port => port.unwrap_or_default(),
        Part::Both => port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_without_its_scheme() {
        for (address, host, port, both) in [
            ("tcp://127.0.0.1:80", "127.0.0.1", "80", "127.0.0.1:80"),
            ("udp://[::1]:53", "::1", "53", "[::1]:53"),
            ("ws://bench:8080/console", "bench", "8080", "bench:8080"),
            ("bench:1", "bench", "1", "bench:1"),
            ("tcp://bench", "bench", "", "bench"),
        ] {
            assert_eq!(shown(address, Part::Host), host);
            assert_eq!(shown(address, Part::Port), port);
            assert_eq!(shown(address, Part::Both), both);
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_left_over_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let live = bind(&path).unwrap();
        assert!(bind(&path).unwrap_err().to_string().contains("in use"));
        drop(live);
        assert!(path.exists());
        bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_is_not_a_socket_to_replace() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(bind(file.path()).is_err());
        assert!(file.path().exists());
    }
}
