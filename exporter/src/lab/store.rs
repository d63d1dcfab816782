//! What a lab remembers: its clients and its leases, in SQLite.
//!
//! The lab's own process has one thread that reads and writes. `hilt lab client` opens the same file
//! from another process while the lab is served; SQLite lets one in after the other, and since
//! nothing is cached, a client that is removed is gone with the next thing it asks for.

mod database;

use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

pub use self::database::{Client, Database, StoreError};
use super::directory::Directory;

/// Reads and writes in a thread of its own. Clones are the same; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct Store {
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce(&mut Database) + Send>;

impl Store {
    /// Opens the lab's database.
    pub fn open(directory: &Directory) -> Result<Self, StoreError> {
        let mut database = Database::open(directory)?;
        let (work, inbox) = mpsc::channel::<Work>();
        let run = move || inbox.iter().for_each(|work| work(&mut database));
        thread::Builder::new()
            .name("lab-store".into())
            .spawn(run)
            .map_err(|reason| StoreError::NoThread(reason.to_string()))?;
        Ok(Self { work })
    }

    /// Has something done with the database. What it writes is on disk when this returns.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |database| {
            // Who has asked may have gone.
            answer.send(question(database)).ok();
        });
        self.work.send(work).map_err(|_| StoreError::Gone)?;
        answered.await.map_err(|_| StoreError::Gone)?
    }
}
