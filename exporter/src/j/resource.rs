//! Lending a local file to a driver: it reads or writes the file while one of its methods runs.
//!
//! The protocol's words for it are resource and handle. The client opens a stream, the exporter
//! answers with a handle, and the client passes the handle to a method. The client may go when the
//! method is done *and* the exporter has ended its direction: the last bytes of a download may come
//! after the method has returned.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde_json::{Value, json};
use tonic::Status;

use super::client::Client;
use super::error::{Error, Result};
use super::local::{Input, Output};
use super::progress;
use super::stream::{Incoming, Outgoing};

/// What a driver is to read, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    /// `http://` or `https://`: the exporter fetches it by itself.
    Url(String),
}

/// How a file is compressed. It is passed on as it is; the exporter decompresses an upload and
/// compresses a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Xz,
    Bz2,
    Zstd,
}

/// A source that is there: nothing needs to be switched to find out that it isn't.
#[derive(Debug)]
pub(crate) enum Lent {
    Input { input: Input, compression: Option<Compression> },
    Url(String),
}

/// A target that can be written to.
#[derive(Debug)]
pub(crate) enum Borrowed {
    Output { output: Output, compression: Option<Compression> },
    Url(String),
}

impl Source {
    /// A URL if it looks like one, else a path.
    pub(crate) fn parse(text: &OsStr) -> Self {
        match text.to_str() {
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Self::Url(url.to_owned())
            }
            _ => Self::File(text.into()),
        }
    }

    /// Opens it for reading.
    pub(crate) fn open(self, compression: Option<Compression>) -> Result<Lent> {
        match self {
            Self::File(path) => Ok(Lent::Input { input: Input::open(&path)?, compression }),
            Self::Url(url) => Ok(Lent::Url(without_compression(url, compression)?)),
        }
    }

    /// Opens it for writing.
    pub(crate) fn create(self, compression: Option<Compression>) -> Result<Borrowed> {
        match self {
            Self::File(path) => {
                Ok(Borrowed::Output { output: Output::create(&path)?, compression })
            }
            Self::Url(url) => Ok(Borrowed::Url(without_compression(url, compression)?)),
        }
    }
}

fn without_compression(url: String, compression: Option<Compression>) -> Result<String> {
    match compression {
        None => Ok(url),
        Some(_) => Err(Error::Refused(format!(
            "--compression is for local files only; the exporter transfers {url} by itself"
        ))),
    }
}

impl Compression {
    /// The name on the command line and on the wire.
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bz2 => "bz2",
            Self::Zstd => "zstd",
        }
    }
}

impl ValueEnum for Compression {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Gzip, Self::Xz, Self::Bz2, Self::Zstd]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Lent {
    /// Calls `consume` with a handle that the driver can read this from.
    pub(crate) async fn to<T>(
        self,
        client: &Client<'_>,
        consume: impl AsyncFnOnce(Value) -> Result<T>,
    ) -> Result<T> {
        let (input, compression) = match self {
            Self::Input { input, compression } => (input, compression),
            Self::Url(url) => return consume(presigned(url, "GET")).await,
        };
        let (stream, handle) = client.resource(compression.map(Compression::name)).await?;
        let mut incoming = stream.incoming;
        let consumed = async {
            let outcome = consume(handle).await?;
            // How the stream ends makes no difference: the method has said how it went.
            while let Ok(Some(_)) = incoming.next().await {}
            Ok(outcome)
        };
        // A method that fails cuts the upload off, and a file that can't be read the method. One
        // that is done and has let go of the handle needs no more data, so the rest of it is not
        // waited for.
        tokio::select! {
            outcome = consumed => outcome,
            Err(error) = upload(input, stream.outgoing) => Err(error),
        }
    }
}

impl Borrowed {
    /// Calls `produce` with a handle that the driver can write to.
    pub(crate) async fn to<T>(
        self,
        client: &Client<'_>,
        produce: impl AsyncFnOnce(Value) -> Result<T>,
    ) -> Result<T> {
        let (mut output, compression) = match self {
            Self::Output { output, compression } => (output, compression),
            Self::Url(url) => return produce(presigned(url, "PUT")).await,
        };
        let (stream, handle) = client.resource(compression.map(Compression::name)).await?;
        // A driver that only writes hears at once that there is nothing to read.
        let finished = async {
            stream.outgoing.finish().await;
            Ok(())
        };
        // A broken stream is mostly a failed method, which knows better why.
        let downloaded = async { download(stream.incoming, &mut output).await };
        let (outcome, cut_off, ()) = tokio::try_join!(produce(handle), downloaded, finished)?;
        if let Some(status) = cut_off {
            return Err(client.failed("resource", status));
        }
        output.finish().await?;
        Ok(outcome)
    }
}

async fn upload(input: Input, outgoing: Outgoing) -> Result<()> {
    let bar = progress::bar(input.length());
    let mut chunks = input.chunks();
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        bar.inc(chunk.len() as u64);
        if outgoing.send(chunk).await.is_err() {
            // The exporter has ended the stream. The method says whether it had enough.
            return Ok(());
        }
    }
    outgoing.finish().await;
    Ok(())
}

/// Writes all that comes to `output`. Returns how the stream broke, if it did.
async fn download(mut incoming: Incoming, output: &mut Output) -> Result<Option<Status>> {
    let bar = progress::bar(None);
    loop {
        match incoming.next().await {
            Ok(Some(chunk)) => {
                bar.inc(chunk.len() as u64);
                output.write(chunk).await?;
            }
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(status)),
        }
    }
}

/// Handles of what there may be at these URLs.
pub(crate) fn any_of(urls: Vec<String>) -> Value {
    urls.into_iter().map(|url| presigned(url, "GET")).collect()
}

/// A handle that needs no stream.
fn presigned(url: String, method: &str) -> Value {
    json!({"kind": "presigned_request", "headers": {}, "url": url, "method": method})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_left_to_the_exporter() {
        let url = Source::parse("https://images/a.raw?sig=x%2Fy".as_ref());
        assert_eq!(url, Source::Url("https://images/a.raw?sig=x%2Fy".into()));
        assert_eq!(Source::parse("httpd.img".as_ref()), Source::File("httpd.img".into()));
        assert_eq!(
            presigned("http://h/x".into(), "GET"),
            json!({"kind": "presigned_request", "headers": {}, "url": "http://h/x", "method": "GET"})
        );
    }

    #[test]
    fn compression_is_for_files() {
        let url = Source::Url("http://h/x.zst".into());
        let error = url.open(Some(Compression::Zstd)).unwrap_err().to_string();
        assert!(error.contains("http://h/x.zst"), "{error}");
    }
}
