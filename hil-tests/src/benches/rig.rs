//! A bench that is set up for one case.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::description::{Ability, Description, Devices, FarEnd, Place, Switch};
use super::devices::{Card, Console, Host, Hub, Outlet};
use crate::bench::Bench;
use crate::emulator::{Board, Device, FIRMWARE_AT, Ftdi, YkushBoard, firmware};
use crate::prepared::{Prepared, cache};
use crate::process::Ended;
use crate::subject::{Exporter, Start, Subject};

/// A bench with its devices. Dropping it ends all that was started on it.
#[derive(Debug)]
pub(crate) struct Rig {
    description: Arc<Description>,
    bench: Bench,
    host: Arc<Host>,
    hub: Option<Hub>,
    console: Option<Console>,
    /// By the names of their drivers.
    cards: BTreeMap<String, Card>,
    outlets: BTreeMap<String, Outlet>,
    /// What plays the far ends of the devices.
    emulators: JoinSet<Result<()>>,
}

/// The driver of the card that a board boots from.
const STORAGE: &str = "storage";

impl Rig {
    /// Brings up what the bench has. Muxes are left out that no `need` is about: in a kernel of one
    /// processor, disks take their time.
    pub(crate) async fn set_up(
        description: Arc<Description>,
        prepared: Prepared,
        needs: &[Ability],
    ) -> Result<Self> {
        let bench = Bench::new(Subject::Hilt, &[], prepared)?;
        let place = description.content.place;
        let host = Arc::new(Host::new(place, &bench)?);
        let mut rig = Self {
            description,
            bench,
            host,
            hub: None,
            console: None,
            cards: BTreeMap::new(),
            outlets: BTreeMap::new(),
            emulators: JoinSet::new(),
        };
        let devices = rig.description.content.devices.clone();
        if let Some(hub) = devices.hub {
            rig.hub = Some(Hub::new(&rig.host, &hub.serial).await?);
        }
        for (name, card) in &devices.cards {
            if name == STORAGE || needs.contains(&Ability::Mux) {
                let card = Card::new(place, &rig.host, &rig.bench, name, card).await?;
                rig.cards.insert(name.clone(), card);
            }
        }
        for (name, switch) in &devices.switches {
            let (hub, card) = (rig.hub.as_ref(), rig.cards.get(STORAGE));
            let outlet = Outlet::new(&rig.host, hub, card, name, switch).await?;
            rig.outlets.insert(name.clone(), outlet);
        }
        match (devices.console, place) {
            (None, _) => {}
            (Some(_), Place::Sim | Place::Lab) => rig.console = Some(Console::terminal()?),
            (Some(console), Place::Kernel) => {
                let (made, adapter, sent) = Console::adapter(&rig.host, &console.serial).await?;
                rig.console = Some(made);
                match console.far_end {
                    FarEnd::Echo => rig.echo(adapter, sent),
                    FarEnd::Board => rig.board(adapter, sent)?,
                }
            }
        }
        Ok(rig)
    }

    fn echo(&mut self, console: Arc<Device<Ftdi>>, mut sent: mpsc::UnboundedReceiver<Vec<u8>>) {
        self.emulators.spawn(async move {
            while let Some(bytes) = sent.recv().await {
                console.with(|ftdi| ftdi.send(&bytes));
            }
            Ok(())
        });
    }

    fn board(
        &mut self,
        console: Arc<Device<Ftdi>>,
        typed: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> Result<()> {
        let power = self.hub()?.ports();
        let (card, side) = (self.card()?.file().to_owned(), self.card()?.sides());
        let control = self.bench.path("board");
        self.emulators.spawn(Board { power, console, typed, card, side, control }.live());
        Ok(())
    }

    /// What stands for itself on this bench: files, processes.
    pub(crate) const fn bench(&self) -> &Bench {
        &self.bench
    }

    /// The emulated hub.
    pub(crate) fn hub(&self) -> Result<&Hub> {
        self.hub.as_ref().context("the bench has no emulated hub")
    }

    /// The emulated console.
    pub(crate) fn console(&self) -> Result<&Console> {
        self.console.as_ref().context("the bench has no emulated console")
    }

    /// The emulated card of `storage`.
    pub(crate) fn card(&self) -> Result<&Card> {
        self.card_of(STORAGE)
    }

    /// The emulated card of a driver.
    pub(crate) fn card_of(&self, driver: &str) -> Result<&Card> {
        let card = self.cards.get(driver);
        card.with_context(|| format!("the bench has no emulated card for {driver}"))
    }

    /// Whether a power switch forgets its position with the exporter.
    pub(crate) fn forgets(&self, switch: &str) -> bool {
        self.description.content.held.iter().any(|held| held == switch)
    }

    /// The drivers that are power switches, each with what is emulated for it.
    pub(crate) fn switches(&self) -> impl Iterator<Item = (&str, Option<&Outlet>)> {
        let names = self.description.content.switches.iter();
        names.map(|name| (name.as_str(), self.outlets.get(name)))
    }

    /// The drivers that are power switches and don't tell their position, each with what is emulated
    /// for it.
    pub(crate) fn blind_switches(&self) -> impl Iterator<Item = (&str, Option<&Outlet>)> {
        let names = self.description.content.blind.iter();
        names.map(|name| (name.as_str(), self.outlets.get(name)))
    }

    /// The drivers that are storages behind a mux, each with what is emulated for it.
    pub(crate) fn muxes(&self) -> impl Iterator<Item = (&str, Option<&Card>)> {
        let names = self.description.content.muxes.iter();
        names.map(|name| (name.as_str(), self.cards.get(name)))
    }

    /// Starts the bench's exporter, and waits until clients are let in.
    pub(crate) async fn exporter(&self) -> Result<Exporter<'_>> {
        self.exporter_with("").await
    }

    /// The same with more in its configuration; `{j}` there is Hilt's own `j`.
    pub(crate) async fn exporter_with(&self, more: &str) -> Result<Exporter<'_>> {
        ready(self.start_of_exporter(more)?).await
    }

    /// Starts another exporter on the same bench, which has only one of its drivers, and waits until
    /// clients are let in.
    pub(crate) async fn exporter_of(&self, driver: &str) -> Result<Exporter<'_>> {
        let whole = self.placed(&self.description.content.exporter);
        let mut whole: Value = serde_yaml::from_str(&whole).context("the exporter's drivers")?;
        let config = json!({ driver: whole["export"][driver].take() });
        let start = self.start(&format!("export: {config}"))?;
        ready(start.state(self.bench.path("second"))).await
    }

    fn start_of_exporter(&self, more: &str) -> Result<Start<'_>> {
        self.start(&self.placed(&format!("{}{more}", self.description.content.exporter)))
    }

    fn start(&self, config: &str) -> Result<Start<'_>> {
        let mut start = Exporter::with(&self.bench, config).state(self.bench.path("state"));
        if let Some(testbed) = self.host.testbed() {
            start = start.seeing(&preload()?, testbed);
        }
        Ok(start)
    }

    /// A configuration with where everything is.
    fn placed(&self, config: &str) -> String {
        let mut config = config.to_owned();
        let j = self.bench.prepared().built.join("j").display().to_string();
        let worn = self.bench.path("worn").display().to_string();
        let console = self.console.as_ref().map_or("", |console| console.path());
        let cards = self.cards.iter().map(|(name, card)| (name.as_str(), card.device()));
        let outlets = self.outlets.iter().map(|(name, outlet)| (name.as_str(), &*outlet.place));
        let own = [("console", console), ("worn", &*worn), ("j", &*j)];
        for (name, place) in own.into_iter().chain(cards).chain(outlets) {
            config = config.replace(&format!("{{{name}}}"), place);
            if let Some((_, port)) = place.rsplit_once(':') {
                config = config.replace(&format!("{{{name}.port}}"), port);
            }
        }
        config
    }

    /// Asks the program what is plugged in.
    pub(crate) async fn discover(&self) -> Result<Ended> {
        let mut command = self.bench.command(self.bench.prepared().built.join("hilt"));
        command.arg("discover");
        self.bench.start("hilt discover", command)?.ends().await
    }

    /// The serial numbers of what is emulated on USB, and the drivers for it.
    pub(crate) fn plugged_in(&self) -> Vec<(&str, &'static str)> {
        let Devices { hub, cards, switches, .. } = &self.description.content.devices;
        let hub = hub.iter().map(|hub| (&*hub.serial, YkushBoard::Ykush.driver()));
        let cards = cards.values().filter_map(|card| Some((&*card.serial, card.holder.driver()?)));
        let switches = switches.values().filter_map(|switch| match switch {
            Switch::Yepkit { board, serial, .. } => Some((&**serial, board.driver())),
            Switch::UsbHub { serial, .. } | Switch::Usb3Hub { serial, .. } => {
                Some((&**serial, "hilt.power.UsbHub"))
            }
            Switch::Hub { .. }
            | Switch::Gpio
            | Switch::Dutlink
            | Switch::UsbRelay
            | Switch::HidRelays
            | Switch::SerialRelays
            | Switch::EnergenieUsb
            | Switch::Energenie
            | Switch::Shelly
            | Switch::FirstShelly
            | Switch::Tasmota
            | Switch::TasmotaWithWeb
            | Switch::Pdu
            | Switch::Program => None,
        });
        hub.chain(cards).chain(switches).collect()
    }

    /// The image that the bench's board boots, and what it says then.
    pub(crate) fn image(&self) -> Result<(PathBuf, &str)> {
        let board = self.description.content.board.as_ref().context("the bench has no board")?;
        let image = match &board.image {
            Some(image) => image.clone(),
            None => {
                let mut image = vec![0; FIRMWARE_AT];
                image.extend(firmware()?);
                self.bench.write("board.img", image)?
            }
        };
        Ok((image, &board.says))
    }

    /// What plays the far ends has not failed.
    pub(crate) fn emulators_are_well(&mut self) -> Result<()> {
        while let Some(ended) = self.emulators.try_join_next() {
            ended.context("an emulator panicked")?.context("an emulator")?;
        }
        Ok(())
    }

    /// What every process of the bench printed.
    pub(crate) fn report(&self) -> String {
        self.bench.report()
    }
}

async fn ready(start: Start<'_>) -> Result<Exporter<'_>> {
    let mut exporter = start.start().await?;
    exporter.is_ready().await?;
    Ok(exporter)
}

/// The library that shows emulated devices to a program.
pub(crate) fn preload() -> Result<PathBuf> {
    let library = cache()?.join("sim-1/usr/lib/x86_64-linux-gnu/libumockdev-preload.so.0");
    ensure!(library.is_file(), "no umockdev: run hil-tests/run, which fetches it");
    Ok(library)
}
