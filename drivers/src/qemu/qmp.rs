//! QMP, QEMU's machine protocol: a line of JSON a message.
//!
//! QEMU greets, is told which capabilities are wanted, and from then on answers commands by their id.
//! In between it tells of events. Source: `docs/interop/qmp-spec.rst` of QEMU.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{DriverError, Result};

/// How long QEMU may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How many answers may wait that nobody has taken: those of calls that were given up.
const ANSWERS: usize = 16;

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub(super) struct Qmp {
    link: Mutex<Link>,
    /// Ends the reader.
    _reader: DropGuard,
}

#[derive(Debug)]
struct Link {
    writer: OwnedWriteHalf,
    answers: mpsc::Receiver<Value>,
    /// The id of the latest command.
    latest: u64,
}

impl Qmp {
    /// Takes a connection that QEMU has just made.
    pub(super) async fn greet(stream: UnixStream) -> Result<Self> {
        let (reader, writer) = stream.into_split();
        let (heard, answers) = mpsc::channel(ANSWERS);
        let end = CancellationToken::new();
        let ended = end.clone();
        let read = async move {
            let listen = listen(BufReader::new(reader).lines(), heard);
            ended.run_until_cancelled(listen).await;
        };
        tokio::runtime::Handle::current().spawn(read);
        let link = Mutex::new(Link { writer, answers, latest: 0 });
        let qmp = Self { link, _reader: end.drop_guard() };
        // The greeting is no answer, and so is passed over.
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command, and returns what it gives.
    ///
    /// # Errors
    ///
    /// What QEMU says, or that it says nothing.
    pub(super) async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let gone = || DriverError::Disconnected(format!("QEMU has gone instead of {command}"));
        let mut link = self.link.lock().await;
        link.latest += 1;
        let id = link.latest;
        let mut line = json!({"execute": command, "arguments": arguments, "id": id}).to_string();
        line.push('\n');
        let asked = async {
            link.writer.write_all(line.as_bytes()).await.map_err(|_| gone())?;
            loop {
                let answer = link.answers.recv().await.ok_or_else(gone)?;
                if answer["id"] == id {
                    return Ok(answer);
                }
            }
        };
        let answer: Result<Value> = timeout(LIMIT, asked).await.unwrap_or_else(|_| {
            Err(DriverError::Timeout(format!("QEMU did not answer to {command} within {LIMIT:?}")))
        });
        let mut answer = answer?;
        match answer["error"]["desc"].as_str() {
            Some(error) => Err(DriverError::Device(format!("QEMU: {command}: {error}"))),
            None => Ok(answer["return"].take()),
        }
    }
}

/// Passes answers on and notes events, until QEMU or the owner hangs up.
async fn listen(mut lines: Lines<BufReader<OwnedReadHalf>>, answers: mpsc::Sender<Value>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let message: Value = match serde_json::from_str(&line) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!("QEMU said something that is no JSON: {error}");
                continue;
            }
        };
        if let Some(event) = message["event"].as_str() {
            tracing::debug!("QEMU: {event} {}", message["data"]);
        } else if message.get("id").is_some() && answers.send(message).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A QEMU that answers each command with the next of these lines, where ID is the command's id.
    fn qemu(mut stream: UnixStream, answers: &[&str]) -> impl Future<Output = UnixStream> + use<> {
        let answers: Vec<String> = answers.iter().map(|&line| line.to_owned()).collect();
        async move {
            stream
                .write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n")
                .await
                .unwrap();
            for answer in answers {
                let mut line = Vec::new();
                while line.last() != Some(&b'\n') {
                    line.push(stream.read_u8().await.unwrap());
                }
                let command: Value = serde_json::from_slice(&line).unwrap();
                let answer = answer.replace("ID", &command["id"].to_string());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.write_all(b"\r\n").await.unwrap();
            }
            stream
        }
    }

    #[tokio::test]
    async fn answers_are_told_from_events_and_from_those_of_others() {
        let (near, far) = UnixStream::pair().unwrap();
        let script = qemu(
            far,
            &[
                r#"{"return": {}, "id": ID}"#,
                "{\"event\": \"RESUME\", \"data\": {}}\r\n{\"return\": 7, \"id\": 99}\r\n\
                 garbage\r\n{\"return\": {\"status\": \"running\"}, \"id\": ID}",
                r#"{"error": {"class": "GenericError", "desc": "no node 'root'"}, "id": ID}"#,
            ],
        );
        let talk = async {
            let qmp = Qmp::greet(near).await.unwrap();
            let status = qmp.execute("query-status", json!({})).await.unwrap();
            assert_eq!(status["status"], "running");
            let error = qmp.execute("block_resize", json!({"size": 1})).await.unwrap_err();
            assert_eq!(error.to_string(), "QEMU: block_resize: no node 'root'");
        };
        tokio::join!(script, talk);
    }

    #[tokio::test]
    async fn a_qemu_that_hangs_up_is_gone() {
        let (near, far) = UnixStream::pair().unwrap();
        let script = async { drop(qemu(far, &[r#"{"return": {}, "id": ID}"#]).await) };
        let talk = async {
            let qmp = Qmp::greet(near).await.unwrap();
            let error = qmp.execute("quit", json!({})).await.unwrap_err();
            assert!(matches!(error, DriverError::Disconnected(_)), "{error}");
        };
        tokio::join!(script, talk);
    }

    #[tokio::test(start_paused = true)]
    async fn a_qemu_that_is_silent_is_given_up() {
        let (near, _far) = UnixStream::pair().unwrap();
        let error = Qmp::greet(near).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU did not answer to qmp_capabilities within 10s");
    }
}
