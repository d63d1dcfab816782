//! `hilt lab client`: who may lease exporters.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use super::Which;
use crate::config::Environment;
use crate::lab::certificate::Authority;
use crate::lab::client_file::ClientFile;
use crate::lab::directory::{Directory, Served};
use crate::lab::label;
use crate::lab::store::Database;
use crate::lab::token::{Bearer, Signer, random};

/// How long an invitation is good for.
const INVITATION: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Subcommand)]
pub(super) enum Client {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a client, and write the file that `jmp` needs. A client that is added again begins anew: its
/// old tokens are worth nothing any more.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// Its name.
    name: String,
    /// Where it reaches the lab [default: where `hilt run --lab` has said that it serves].
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// How long its tokens live, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
    /// Write the file here instead of where `jmp` looks.
    #[arg(long, value_name = "FILE", conflicts_with = "invite")]
    output: Option<PathBuf>,
    /// Write no file; print what to type on another host to log in, once and within a day.
    #[arg(long)]
    invite: bool,
    #[command(flatten)]
    which: Which,
}

/// List the clients.
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
}

/// Remove a client: its tokens are worth nothing any more. Its leases run out.
#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Its name.
    name: String,
    #[command(flatten)]
    which: Which,
}

impl Client {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run(),
            Self::List(list) => list.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        ensure!(
            label::is_domain(name),
            "{name:?} can't be a client's name: use lower-case letters, digits, '-' and '.'"
        );
        let directory = self.which.open()?;
        let (endpoint, ca) = self.lab(&directory)?;
        let mut database = Database::open(&directory)?;
        let (now, life) = (Timestamp::now(), SignedDuration::from_hours(24 * i64::from(self.days)));
        let client = database.add_client(name, life, now)?;
        if self.invite {
            let code = URL_SAFE_NO_PAD.encode(random(24).map_err(anyhow::Error::msg)?);
            database.invite(name, &code, now + INVITATION)?;
            writeln!(
                io::stdout(),
                "jmp login {name}@{endpoint} --insecure-tls --nointeractive --unsafe \
                 --username {name} --password {code}"
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        let bearer = Bearer { client: name.clone(), id: client.id, generation: 0 };
        let issuer = format!("https://{endpoint}");
        let token = Signer::open(&directory)?.issue(&bearer, &issuer, life, now)?.token;
        let environment = Environment::of_process();
        let path = self.output.unwrap_or_else(|| ClientFile::place(name, &environment));
        let file = ClientFile { name: name.clone(), endpoint, ca, token };
        file.write(&path).with_context(|| format!("can't write {}", path.display()))?;
        writeln!(io::stdout(), "{}", path.display())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Where the client reaches the lab, and what it trusts.
    fn lab(&self, directory: &Directory) -> anyhow::Result<(String, String)> {
        match (&self.address, directory.served()?) {
            (None, None) => bail!(
                "the lab has not been served yet, so where it is has to be said: give \
                 --address HOST:PORT, or start `hilt run --lab PORT` first"
            ),
            (None, Some(Served { address, ca, .. })) => Ok((address, ca)),
            (Some(address), served) => {
                let host = host(address)?;
                let Some(Served { names, ca, .. }) = served else {
                    return Ok((address.clone(), Authority::open(directory)?.pem().to_owned()));
                };
                ensure!(
                    names.is_empty() || names.contains(&host),
                    "the lab's certificate is not for {host}; start `hilt run --lab` with \
                     --lab-name {host}, or use one of: {}",
                    names.join(", ")
                );
                Ok((address.clone(), ca))
            }
        }
    }
}

fn host(address: &str) -> anyhow::Result<String> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    ensure!(is_port && !host.is_empty(), "'{address}' has to be HOST:PORT");
    Ok(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

impl List {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let clients = Database::open(&self.which.open()?)?.clients()?;
        for client in clients {
            let rotated =
                client.rotated.map_or_else(String::new, |at| format!(", rotated {at:.0}"));
            let days = client.life.as_hours() / 24;
            let (name, added) = (&client.name, client.added);
            writeln!(io::stdout(), "{name}: added {added:.0}{rotated}, tokens of {days} days")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let removed = Database::open(&self.which.open()?)?.remove_client(&self.name)?;
        ensure!(removed, "there is no client '{}'; see `hilt lab client list`", self.name);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(host("lab:8082").unwrap(), "lab");
        assert_eq!(host("[::1]:8082").unwrap(), "::1");
        for bad in ["lab", "lab:", ":1", "lab:0", "lab:x"] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
