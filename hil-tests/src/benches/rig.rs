//! A bench that is set up for one case.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::description::{Description, FarEnd, Place};
use super::devices::{Card, Console, Hub};
use crate::bench::Bench;
use crate::emulator::{Board, Device, FIRMWARE_AT, Ftdi, firmware};
use crate::prepared::{Prepared, cache};
use crate::subject::{Exporter, Start, Subject};

/// A bench with its devices. Dropping it ends all that was started on it.
#[derive(Debug)]
pub(crate) struct Rig {
    description: Arc<Description>,
    bench: Bench,
    hub: Option<Hub>,
    console: Option<Console>,
    card: Option<Card>,
    /// What plays the far ends of the devices.
    emulators: JoinSet<Result<()>>,
}

impl Rig {
    /// Brings up what the bench has.
    pub(crate) async fn set_up(description: Arc<Description>, prepared: Prepared) -> Result<Self> {
        let bench = Bench::new(Subject::Hilt, &[], prepared)?;
        let devices = description.content.devices.clone();
        let mut rig = Self {
            description,
            bench,
            hub: None,
            console: None,
            card: None,
            emulators: JoinSet::new(),
        };
        let place = rig.description.content.place;
        if let Some(hub) = devices.hub {
            rig.hub = Some(Hub::new(place, &rig.bench, &hub.serial)?);
        }
        if let Some(card) = devices.card {
            rig.card = Some(Card::new(place, &rig.bench, &card)?);
        }
        match (devices.console, place) {
            (None, _) => {}
            (Some(_), Place::Sim | Place::Lab) => rig.console = Some(Console::terminal()?),
            (Some(console), Place::Kernel) => {
                let (made, adapter, sent) = Console::adapter(&console.serial).await?;
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
        let power = self.hub()?.device().with(|hub| hub.ports());
        let card = self.card()?.file().to_owned();
        self.emulators.spawn(Board { power, console, typed, card }.live());
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

    /// The emulated card.
    pub(crate) fn card(&self) -> Result<&Card> {
        self.card.as_ref().context("the bench has no emulated card")
    }

    /// Starts the bench's exporter, and waits until clients are let in.
    pub(crate) async fn exporter(&self) -> Result<Exporter<'_>> {
        self.exporter_with("").await
    }

    /// The same with more in its configuration; `{j}` there is Hilt's own `j`.
    pub(crate) async fn exporter_with(&self, more: &str) -> Result<Exporter<'_>> {
        ready(self.start_of_exporter(more)?).await
    }

    /// Starts another exporter on the same bench, and waits until clients are let in.
    pub(crate) async fn second_exporter(&self) -> Result<Exporter<'_>> {
        ready(self.start_of_exporter("")?.state(self.bench.path("second"))).await
    }

    fn start_of_exporter(&self, more: &str) -> Result<Start<'_>> {
        let mut config = format!("{}{more}", self.description.content.exporter);
        let j = self.bench.prepared().built.join("j").display().to_string();
        let worn = self.bench.path("worn").display().to_string();
        for (mark, value) in [
            ("{console}", self.console.as_ref().map_or("", |console| console.port())),
            ("{card}", self.card.as_ref().map_or("", |card| card.device())),
            ("{worn}", &worn),
            ("{j}", &j),
        ] {
            config = config.replace(mark, value);
        }
        let mut start = Exporter::with(&self.bench, &config).state(self.bench.path("state"));
        if let Some(testbed) = self.hub.as_ref().and_then(Hub::testbed) {
            start = start.seeing(&preload()?, testbed.directory());
        }
        Ok(start)
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
