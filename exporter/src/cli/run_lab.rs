//! `hilt run --lab`: serves benches to the clients of a lab of this host.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use futures_util::FutureExt as _;

use super::bind::Bind;
use crate::app::{Fleet, InLab, Start};
use crate::lab::certificate::{Authority, Certificate, Source, host_names, own_name};
use crate::lab::directory::{Directory, Served};
use crate::lab::place::Places;
use crate::lab::server::Lab;
use crate::service_manager;
use crate::shutdown::Shutdown;

/// What there is to say about a lab.
#[derive(Debug, Args)]
pub(super) struct LabOptions {
    /// Serve clients on this address, with leases and a queue of this host's own;
    /// `hilt lab client add` says who they are.
    #[arg(long, value_name = "[HOST:]PORT", conflicts_with = "tls_grpc_listener")]
    lab: Option<Bind>,
    /// Another name or address by which clients reach the lab. The first is what they are told;
    /// without one, the host's own.
    #[arg(long, value_name = "NAME", requires = "lab")]
    lab_name: Vec<String>,
    /// The certificate to serve the lab with, in PEM, instead of one of its own.
    #[arg(long, value_name = "FILE", requires_all = ["lab", "lab_key"])]
    lab_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires_all = ["lab", "lab_cert"])]
    lab_key: Option<PathBuf>,
}

impl LabOptions {
    /// Where to serve, if there is to be a lab.
    pub(super) fn bind(&self) -> Option<&Bind> {
        self.lab.as_ref()
    }

    /// Serves exporters until they are told to stop; returns the exit code.
    pub(super) async fn serve(
        &self,
        bind: &Bind,
        fleet: Fleet,
        shutdown: &Shutdown,
    ) -> anyhow::Result<u8> {
        let directory = Directory::open(fleet.state_dir().path())?;
        let lab = Lab::open(&directory)?;
        let (certificate, served) = self.identity(bind, &directory)?;
        // Whoever finds the lab served can add clients.
        directory.tell(&served)?;
        let listener = bind.listen("0.0.0.0").await?;
        let places = Places::default();
        for config in fleet.configs() {
            places.expect(config)?;
        }
        let told = shutdown.of_one();
        let served = lab.serve(listener, certificate, served, places.clone(), &told);
        tokio::pin!(served);
        service_manager::ready();
        let start: Arc<Start> = Arc::new(move |setup, shutdown| {
            let places = places.clone();
            async move {
                let exporter = InLab::new(setup, &shutdown)?;
                places.enter(exporter.place())?;
                exporter.run(&shutdown).await
            }
            .boxed()
        });
        let exporters = fleet.run(start, shutdown);
        tokio::pin!(exporters);
        tokio::select! {
            code = &mut exporters => {
                // Whoever looks at the end of a lease has had the time to.
                told.abort.cancel();
                served.await?;
                Ok(code)
            }
            ended = &mut served => {
                ended?;
                ensure!(shutdown.abort.is_cancelled(), "the lab's port has closed");
                Ok(exporters.await)
            }
        }
    }

    /// What the lab shows to its clients, and what they have to know of it.
    fn identity(
        &self,
        bind: &Bind,
        directory: &Directory,
    ) -> anyhow::Result<(Certificate, Served)> {
        let first = self.lab_name.first().cloned().or_else(|| bind.host().map(ToOwned::to_owned));
        let host = first.or_else(own_name).unwrap_or_else(|| "localhost".into());
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let address = format!("{shown}:{}", bind.port());
        let (source, names, ca) = match (&self.lab_cert, &self.lab_key) {
            (Some(certificate), Some(key)) => {
                let read = || format!("can't read {}", certificate.display());
                let ca = std::fs::read_to_string(certificate).with_context(read)?;
                let (certificate, key) = (certificate.clone(), key.clone());
                (Source::Given { certificate, key }, Vec::new(), ca)
            }
            (None, _) | (_, None) => {
                let authority = Authority::open(directory)?;
                let also: Vec<_> = self.lab_name.iter().cloned().chain([host]).collect();
                let (names, ca) = (host_names(&also), authority.pem().to_owned());
                (Source::Own { authority: authority.into(), names: names.clone() }, names, ca)
            }
        };
        Ok((Certificate::new(source)?, Served { address, names, ca }))
    }
}
