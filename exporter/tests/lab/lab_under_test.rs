//! A lab in this process, and what a test asks of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use exporter::app::{InLab, Setup, State};
use exporter::config::{Config, Environment, parse};
use exporter::lab::certificate::{Authority, Certificate, Source, host_names};
use exporter::lab::directory::{Directory, Served};
use exporter::lab::place::Places;
use exporter::lab::server::Lab;
use exporter::lab::store::Database;
use exporter::lab::token::{Bearer, Signer};
use exporter::shutdown::Shutdown;
use exporter::state::StateDir;
use exporter::wire::client::client_service_client::ClientServiceClient;
use exporter::wire::client::{CreateLeaseRequest, GetLeaseRequest, Lease};
use exporter::wire::controller_service_client::ControllerServiceClient;
use exporter::wire::router_service_client::RouterServiceClient;
use exporter::wire::{DialRequest, DialResponse};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate as Trusted, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// The longest that anything may take here.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A running lab.
pub(crate) struct LabUnderTest {
    pub(crate) state: TempDir,
    pub(crate) shutdown: Shutdown,
    /// What there is to say about each exporter.
    benches: BTreeMap<String, String>,
    places: Places,
    port: u16,
    /// The lab has ended in good order.
    over: Shutdown,
    running: JoinSet<()>,
    /// The exporters that run, each with its task.
    exporters: BTreeMap<String, JoinSet<()>>,
}

/// A client of a lab, with the token that it was given.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) channel: Channel,
}

impl LabUnderTest {
    /// Starts a lab with these exporters, each with a power switch: their names, and what else there
    /// is to say about them in YAML.
    pub(crate) async fn start(benches: &[(&str, &str)]) -> Self {
        let benches = benches.iter().map(|(name, body)| ((*name).into(), (*body).into())).collect();
        Self::start_in(tempfile::tempdir().unwrap(), benches).await
    }

    /// Ends it without a word, as a crash does, and starts it again.
    pub(crate) async fn crash_and_restart(self) -> Self {
        let Self { state, benches, mut running, exporters, .. } = self;
        running.shutdown().await;
        drop(exporters);
        Self::start_in(state, benches.into_iter().collect()).await
    }

    async fn start_in(state: TempDir, benches: Vec<(String, String)>) -> Self {
        let places = Places::default();
        let directory = Directory::open(state.path()).unwrap();
        let authority = Authority::open(&directory).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let names = host_names(&[]);
        let served = Served {
            address: format!("127.0.0.1:{port}"),
            names: names.clone(),
            ca: authority.pem().into(),
        };
        let certificate =
            Certificate::new(Source::Own { authority: authority.into(), names }).unwrap();
        let mut lab = Self {
            state,
            shutdown: Shutdown::default(),
            places,
            port,
            over: Shutdown::default(),
            running: JoinSet::new(),
            exporters: BTreeMap::new(),
            benches: benches.into_iter().collect(),
        };
        for name in lab.benches.keys() {
            lab.places.expect(&lab.config(name)).unwrap();
        }
        for name in lab.benches.keys().cloned().collect::<Vec<_>>() {
            lab.run(&name).await;
        }
        let (over, places) = (lab.over.clone(), lab.places.clone());
        let service = Lab::open(&directory).unwrap();
        lab.running.spawn(async move {
            service.serve(listener, certificate, served, places, &over).await.unwrap();
        });
        lab
    }

    fn config(&self, name: &str) -> Config {
        let body = &self.benches[name];
        let yaml = format!(
            "apiVersion: jumpstarter.dev/v1alpha1\n\
             kind: ExporterConfig\n\
             metadata: {{namespace: default, name: {name}}}\n\
             export:\n\
             \x20 power: {{type: jumpstarter_driver_power.driver.MockPower}}\n\
             \x20 echo: {{type: jumpstarter_driver_network.driver.EchoNetwork}}\n\
             {body}"
        );
        let config = parse(Path::new("test.yaml"), yaml.as_bytes(), &Environment::default());
        config.unwrap_or_else(|mistakes| panic!("{mistakes}")).config
    }

    /// Starts an exporter that does not run.
    pub(crate) async fn run(&mut self, name: &str) {
        let directory = StateDir::of(Some(self.state.path())).of_exporter(name);
        // The last process may take a moment to let go.
        let open = async {
            loop {
                match State::open(directory.clone()) {
                    Ok(state) => return state,
                    Err(_) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let state = Some(timeout(DEADLINE, open).await.expect("the state is free"));
        let (config, file) = (self.config(name), "test.yaml".into());
        let setup = Setup { config, file, exit_on_lease_end: false, state };
        let exporter = InLab::new(setup, &self.shutdown).unwrap();
        self.places.enter(exporter.place()).unwrap();
        let (told, mut task) = (self.shutdown.clone(), JoinSet::new());
        task.spawn(async move { exporter.run(&told).await.map(drop).unwrap() });
        self.exporters.insert(name.into(), task);
    }

    /// Has an exporter fail, and nobody else.
    pub(crate) async fn fail(&mut self, name: &str) {
        self.exporters.remove(name).expect("it runs").shutdown().await;
    }

    /// Stops it in good order.
    pub(crate) async fn stop(self) {
        self.shutdown.drain.cancel();
        for exporter in self.exporters.into_values() {
            timeout(DEADLINE, exporter.join_all()).await.expect("it stops");
        }
        self.over.abort.cancel();
        timeout(DEADLINE, self.running.join_all()).await.expect("it stops");
    }

    /// What the lab keeps, as another process would find it.
    pub(crate) fn directory(&self) -> Directory {
        Directory::open(self.state.path()).unwrap()
    }

    /// Adds a client, as `hilt lab client add` does.
    pub(crate) async fn client(&self, name: &str) -> Client {
        self.client_for(name, SignedDuration::from_hours(1)).await
    }

    /// The same, with tokens of this life.
    pub(crate) async fn client_for(&self, name: &str, life: SignedDuration) -> Client {
        let directory = self.directory();
        let now = Timestamp::now();
        let added = Database::open(&directory).unwrap().add_client(name, life, now).unwrap();
        let bearer = Bearer { client: name.into(), id: added.id, generation: 0 };
        let issued = Signer::open(&directory).unwrap().issue(&bearer, "https://lab", life, now);
        let token = issued.unwrap().token.reveal().to_owned();
        Client { name: name.into(), token, channel: self.channel().await }
    }

    /// A connection of its own.
    pub(crate) async fn channel(&self) -> Channel {
        let ca = Authority::open(&self.directory()).unwrap().pem().to_owned();
        let tls = ClientTlsConfig::new().ca_certificate(Trusted::from_pem(ca));
        let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", self.port)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await.unwrap()
    }
}

impl Client {
    /// A request that says who it is from.
    pub(crate) fn says<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        metadata.insert("jumpstarter-kind", "Client".parse().unwrap());
        metadata.insert("jumpstarter-namespace", "default".parse().unwrap());
        metadata.insert("jumpstarter-name", self.name.parse().unwrap());
        request
    }

    pub(crate) fn service(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.channel.clone())
    }

    pub(crate) fn router(&self) -> RouterServiceClient<Channel> {
        RouterServiceClient::new(self.channel.clone())
    }

    /// Asks for a lease of this many seconds.
    pub(crate) async fn lease(
        &self,
        name: &str,
        selector: &str,
        seconds: i64,
    ) -> Result<Lease, Status> {
        let duration = Some(prost_types::Duration { seconds, nanos: 0 });
        let lease = Lease { selector: selector.into(), duration, ..Lease::default() };
        self.create(name, lease).await
    }

    pub(crate) async fn create(&self, name: &str, lease: Lease) -> Result<Lease, Status> {
        let request = CreateLeaseRequest {
            parent: "namespaces/default".into(),
            lease_id: name.into(),
            lease: Some(lease),
        };
        Ok(self.service().create_lease(self.says(request)).await?.into_inner())
    }

    /// The lease as it is now.
    pub(crate) async fn see(&self, name: &str) -> Result<Lease, Status> {
        let request = GetLeaseRequest { name: whole(name) };
        Ok(self.service().get_lease(self.says(request)).await?.into_inner())
    }

    /// Waits until a lease's condition is this one, such as `Ready True Ready`.
    pub(crate) async fn waits_for(&self, name: &str, wanted: &str) -> Lease {
        let poll = async {
            loop {
                let lease = self.see(name).await.unwrap();
                if condition(&lease) == wanted {
                    return lease;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, poll).await.unwrap_or_else(|_| panic!("{name} never was {wanted}"))
    }

    pub(crate) async fn dial(&self, lease: &str) -> Result<DialResponse, Status> {
        let request = self.says(DialRequest { lease_name: lease.into() });
        let mut controller = ControllerServiceClient::new(self.channel.clone());
        Ok(controller.dial(request).await?.into_inner())
    }
}

/// The last condition of a lease, in three words.
pub(crate) fn condition(lease: &Lease) -> String {
    lease
        .conditions
        .last()
        .map_or_else(String::new, |it| format!("{} {} {}", it.r#type(), it.status(), it.reason()))
}

pub(crate) fn whole(lease: &str) -> String {
    format!("namespaces/default/leases/{lease}")
}
