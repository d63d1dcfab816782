//! The tables of a lab.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::directory::Directory;
use super::super::lease::{Lease, Stage};
use super::super::page::Page;

/// How long another process may keep us from writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many leases that are over are remembered, and after how many new ones this is looked after.
const HISTORY: u32 = 10_000;
const SWEEP: u32 = 1_000;

/// The `user_version` of the database.
const VERSION: i64 = 1;

/// Leases are documents: what is asked of them is asked in `lab::timetable`, and here only which
/// of them are over.
const SCHEMA: &str = "
CREATE TABLE client (
    name       TEXT PRIMARY KEY,
    id         TEXT NOT NULL,
    added      INTEGER NOT NULL,         -- seconds since 1970, as all times here
    life       INTEGER NOT NULL,         -- of its tokens, in seconds
    generation INTEGER NOT NULL,
    rotated    INTEGER,
    invitation BLOB,                     -- SHA-256 of what it may log in with, once
    invited    INTEGER,                  -- until when
    renewal    BLOB,                     -- SHA-256 of its refresh token
    spent      BLOB                      -- SHA-256 of the one before
) STRICT;
CREATE TABLE lease (
    name     TEXT PRIMARY KEY,
    ended    INTEGER,                    -- not yet
    document TEXT NOT NULL               -- JSON
) STRICT;
CREATE INDEX lease_live ON lease (name) WHERE ended IS NULL;
CREATE INDEX lease_ended ON lease (ended) WHERE ended IS NOT NULL;
";

/// The database of a lab.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    /// What could not be written yet.
    unsaved: Vec<Lease>,
    /// How many leases have ended since the history was last looked after.
    since_sweep: u32,
}

/// A client of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// Which of that name.
    pub id: Uuid,
    /// Since when it is one.
    pub added: Timestamp,
    /// How long its tokens live.
    pub life: SignedDuration,
    /// How many rotations it has behind it.
    pub generation: u32,
    /// When the last one was.
    pub rotated: Option<Timestamp>,
}

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refuses.
    #[error("{}: {reason}", path.display())]
    Database {
        /// Where it is.
        path: PathBuf,
        /// What it says.
        reason: rusqlite::Error,
    },
    /// A later version of Hilt has been here.
    #[error("{}: written by a newer hilt (schema {found}; this one knows {VERSION}); update hilt", path.display())]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A lease in it can't be read.
    #[error("{}: the lease {name} can't be read: {reason}", path.display())]
    Lease {
        /// Where it is.
        path: PathBuf,
        /// The lease's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// There can be no thread for it.
    #[error("no thread for the lab's database: {0}")]
    NoThread(String),
    /// Its thread has ended.
    #[error("the lab's database no longer works; restart hilt")]
    Gone,
}

impl Database {
    /// Opens the database of a lab; makes it where there is none.
    pub fn open(directory: &Directory) -> Result<Self, StoreError> {
        Self::at(&directory.file("store.sqlite3"))
    }

    fn at(path: &Path) -> Result<Self, StoreError> {
        let refused = |reason| StoreError::Database { path: path.into(), reason };
        let mut connection = Connection::open(path).map_err(refused)?;
        let found = prepare(&mut connection).map_err(refused)?;
        if found > VERSION {
            return Err(StoreError::Newer { path: path.into(), found });
        }
        Ok(Self { connection, path: path.into(), unsaved: Vec::new(), since_sweep: SWEEP })
    }

    /// A client by its name.
    pub fn client(&self, name: &str) -> Result<Option<Client>, StoreError> {
        let sql = "SELECT name, id, added, life, generation, rotated FROM client WHERE name = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([name], client_of).optional());
        self.refused(found)
    }

    /// Every client, by name.
    pub fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let sql = "SELECT name, id, added, life, generation, rotated FROM client ORDER BY name";
        let all = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.query_map([], client_of)?.collect());
        self.refused(all)
    }

    /// Adds a client, or makes one anew: what it had before is worth nothing any more.
    pub fn add_client(
        &mut self,
        name: &str,
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<Client, StoreError> {
        let client = Client {
            name: name.into(),
            id: Uuid::new_v4(),
            added: now,
            life,
            generation: 0,
            rotated: None,
        };
        let added = self.connection.execute(
            "INSERT OR REPLACE INTO client (name, id, added, life, generation) VALUES (?1, ?2, ?3, ?4, 0)",
            params![name, client.id.to_string(), now.as_second(), life.as_secs()],
        );
        self.refused(added.map(|_| client))
    }

    /// Removes a client; says whether there was one.
    pub fn remove_client(&mut self, name: &str) -> Result<bool, StoreError> {
        let removed = self.connection.execute("DELETE FROM client WHERE name = ?1", [name]);
        self.refused(removed.map(|count| count > 0))
    }

    /// Begins the next generation of a client's tokens, if nobody else has.
    pub fn rotate(&mut self, client: &Client, now: Timestamp) -> Result<bool, StoreError> {
        let rotated = self.connection.execute(
            "UPDATE client SET generation = generation + 1, rotated = ?1 WHERE id = ?2 AND generation = ?3",
            params![now.as_second(), client.id.to_string(), client.generation],
        );
        self.refused(rotated.map(|count| count > 0))
    }

    /// Lets a client log in with this, once, until then.
    pub fn invite(&mut self, name: &str, code: &str, until: Timestamp) -> Result<(), StoreError> {
        let invited = self.connection.execute(
            "UPDATE client SET invitation = ?1, invited = ?2 WHERE name = ?3",
            params![digest(code), until.as_second(), name],
        );
        self.refused(invited.map(drop))
    }

    /// Takes an invitation; it is worth nothing after that. None if it is not this client's.
    pub fn accept(
        &mut self,
        name: &str,
        code: &str,
        renewal: &str,
        now: Timestamp,
    ) -> Result<Option<Client>, StoreError> {
        let taken = self.connection.execute(
            "UPDATE client SET invitation = NULL, invited = NULL, renewal = ?1, spent = NULL
             WHERE name = ?2 AND invitation = ?3 AND invited > ?4",
            params![digest(renewal), name, digest(code), now.as_second()],
        );
        match self.refused(taken)? {
            0 => Ok(None),
            _ => self.client(name),
        }
    }

    /// Exchanges a refresh token for the next. One that was exchanged before has been stolen, by
    /// whoever has come first or by who comes now: its client has to be invited again.
    pub fn renew(&mut self, spent: &str, renewal: &str) -> Result<Option<Client>, StoreError> {
        let (spent, renewal) = (digest(spent), digest(renewal));
        let renewed = self.connection.query_row(
            "UPDATE client SET renewal = ?1, spent = ?2 WHERE renewal = ?2 RETURNING name",
            params![renewal, spent],
            |row| row.get::<_, String>(0),
        );
        if let Some(name) = self.refused(renewed.optional())? {
            return self.client(&name);
        }
        let stolen = self.connection.query_row(
            "UPDATE client SET renewal = NULL, spent = NULL, id = ?1 WHERE spent = ?2 RETURNING name",
            params![Uuid::new_v4().to_string(), spent],
            |row| row.get::<_, String>(0),
        );
        if let Some(name) = self.refused(stolen.optional())? {
            tracing::warn!(
                "a refresh token of {name} was used twice: all of its tokens are revoked; \
                 `hilt lab client add {name}` makes new ones"
            );
        }
        Ok(None)
    }

    /// The leases that are not over.
    pub fn live_leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.leases("SELECT name, document FROM lease WHERE ended IS NULL", &[])
    }

    /// A lease by its name, whether it is over or not.
    pub fn lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        Ok(self.leases("SELECT name, document FROM lease WHERE name = ?1", &[&name])?.pop())
    }

    /// Leases by name, those that are over included, of which `wanted` says that they are: one more
    /// than the page has.
    pub fn page(
        &self,
        page: &Page,
        wanted: impl Fn(&Lease) -> bool,
    ) -> Result<Vec<Lease>, StoreError> {
        let sql = "SELECT name, document FROM lease WHERE name > ?1 ORDER BY name";
        let statement = self.refused(self.connection.prepare_cached(sql));
        let mut statement = statement?;
        let rows = self.refused(statement.query_map([&page.after], text_of))?;
        let mut found = Vec::new();
        for row in rows {
            let (name, document) = self.refused(row)?;
            let lease = self.read(&name, &document)?;
            if wanted(&lease) {
                found.push(lease);
            }
            if found.len() > page.size {
                break;
            }
        }
        Ok(found)
    }

    /// Writes down leases as they are now, all or none. What can't be written is kept in mind and
    /// written with the next: a bench does not stand still for a disk that is full.
    pub fn save(&mut self, leases: Vec<Lease>) -> Result<(), StoreError> {
        let ended = leases.iter().filter(|lease| lease.has_ended()).count();
        self.since_sweep = self.since_sweep.saturating_add(u32::try_from(ended).unwrap_or(SWEEP));
        self.unsaved.extend(leases);
        let saved = write(&mut self.connection, &self.unsaved);
        self.refused(saved)?;
        self.unsaved.clear();
        if self.since_sweep >= SWEEP {
            self.since_sweep = 0;
            let swept = self.connection.execute(
                "DELETE FROM lease WHERE name IN (SELECT name FROM lease WHERE ended IS NOT NULL
                 ORDER BY ended DESC LIMIT -1 OFFSET ?1)",
                [HISTORY],
            );
            self.refused(swept.map(drop))?;
        }
        Ok(())
    }

    fn leases(
        &self,
        sql: &str,
        arguments: &[&dyn rusqlite::ToSql],
    ) -> Result<Vec<Lease>, StoreError> {
        let rows: rusqlite::Result<Vec<_>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(arguments, text_of)?.collect());
        let rows = self.refused(rows)?;
        rows.iter().map(|(name, document)| self.read(name, document)).collect()
    }

    fn read(&self, name: &str, document: &str) -> Result<Lease, StoreError> {
        serde_json::from_str(document).map_err(|error| StoreError::Lease {
            path: self.path.clone(),
            name: name.into(),
            reason: error.to_string(),
        })
    }

    fn refused<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|reason| StoreError::Database { path: self.path.clone(), reason })
    }
}

/// Makes the tables where there are none; returns the version that was found.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(found)
}

fn write(connection: &mut Connection, leases: &[Lease]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for lease in leases {
        let ended = match &lease.stage {
            Stage::Scheduled | Stage::Waiting | Stage::Held(_) => None,
            Stage::Ended { at, .. } => Some(at.as_second()),
        };
        let document = serde_json::to_string(lease)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO lease (name, ended, document) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![lease.name, ended, document])?;
    }
    transaction.commit()
}

fn client_of(row: &Row<'_>) -> rusqlite::Result<Client> {
    let time = |second: i64| Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    let id: String = row.get(1)?;
    Ok(Client {
        name: row.get(0)?,
        // What is no id is nobody's.
        id: Uuid::parse_str(&id).unwrap_or_else(|_| Uuid::new_v4()),
        added: time(row.get(2)?),
        life: SignedDuration::from_secs(row.get(3)?),
        generation: row.get(4)?,
        rotated: row.get::<_, Option<i64>>(5)?.map(time),
    })
}

fn text_of(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::lab::lease::How;
    use crate::lab::terms::Wanted;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn database() -> (TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::at(&dir.path().join("store.sqlite3")).unwrap();
        (dir, database)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lease(name: &str) -> Lease {
        Lease {
            name: name.into(),
            client: "ann".into(),
            selector: "board=x, site notin (a, b)".parse().unwrap(),
            exporter_name: None,
            allow_disabled: false,
            terms: Wanted { duration: Some(DAY), ..Wanted::default() }.complete().unwrap(),
            tags: [("ci".to_owned(), "7".to_owned())].into(),
            context: [].into(),
            created: at(1),
            stage: Stage::Waiting,
            deleted: false,
        }
    }

    fn over(name: &str, second: i64) -> Lease {
        let stage = Stage::Ended { hold: None, at: at(second), how: How::Released };
        Lease { stage, ..lease(name) }
    }

    #[test]
    fn leases_come_back_as_they_were() {
        let (dir, mut database) = database();
        database.save(vec![lease("one"), over("two", 5)]).unwrap();
        drop(database);
        let database = Database::at(&dir.path().join("store.sqlite3")).unwrap();
        assert_eq!(database.live_leases().unwrap(), [lease("one")]);
        assert_eq!(database.lease("two").unwrap(), Some(over("two", 5)));
        let page = Page { after: "one".into(), size: 1 };
        assert_eq!(database.page(&page, |_| true).unwrap(), [over("two", 5)]);
        assert_eq!(database.page(&page, |lease| !lease.has_ended()).unwrap(), []);
    }

    #[test]
    fn the_history_is_bounded() {
        let (_dir, mut database) = database();
        let many = (0..HISTORY + 5).map(|n| over(&format!("lease-{n}"), n.into())).collect();
        database.save(many).unwrap();
        assert_eq!(database.lease("lease-4").unwrap(), None, "the oldest are forgotten");
        assert!(database.lease("lease-5").unwrap().is_some());
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let (_dir, mut database) = database();
        database.connection.pragma_update(None, "query_only", true).unwrap();
        database.save(vec![lease("one")]).unwrap_err();
        database.connection.pragma_update(None, "query_only", false).unwrap();
        database.save(vec![lease("two")]).unwrap();
        assert_eq!(database.live_leases().unwrap().len(), 2);
    }

    #[test]
    fn a_client_that_is_added_again_is_another_one() {
        let (_dir, mut database) = database();
        let first = database.add_client("ann", DAY, at(1)).unwrap();
        assert_eq!(database.client("ann").unwrap(), Some(first.clone()));
        let second = database.add_client("ann", DAY, at(2)).unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(database.clients().unwrap(), [second]);
        assert!(database.remove_client("ann").unwrap());
        assert!(!database.remove_client("ann").unwrap());
    }

    #[test]
    fn of_two_rotations_of_one_generation_one_counts() {
        let (_dir, mut database) = database();
        let client = database.add_client("ann", DAY, at(1)).unwrap();
        assert!(database.rotate(&client, at(2)).unwrap());
        assert!(!database.rotate(&client, at(3)).unwrap());
        let client = database.client("ann").unwrap().unwrap();
        assert_eq!((client.generation, client.rotated), (1, Some(at(2))));
    }

    #[test]
    fn an_invitation_is_for_one_client_once_and_for_a_while() {
        let (_dir, mut database) = database();
        for name in ["ann", "bob"] {
            database.add_client(name, DAY, at(1)).unwrap();
        }
        database.invite("ann", "code", at(10)).unwrap();
        assert_eq!(database.accept("bob", "code", "r", at(5)).unwrap(), None);
        assert_eq!(database.accept("ann", "other", "r", at(5)).unwrap(), None);
        assert_eq!(database.accept("ann", "code", "r", at(10)).unwrap(), None, "too late");
        assert_eq!(database.accept("ann", "code", "r", at(9)).unwrap().unwrap().name, "ann");
        assert_eq!(database.accept("ann", "code", "r", at(9)).unwrap(), None, "a second time");
    }

    #[test]
    fn a_refresh_token_that_is_used_twice_revokes_everything() {
        let (_dir, mut database) = database();
        let client = database.add_client("ann", DAY, at(1)).unwrap();
        database.invite("ann", "code", at(10)).unwrap();
        database.accept("ann", "code", "first", at(5)).unwrap();
        let renewed = database.renew("first", "second").unwrap().unwrap();
        assert_eq!(renewed.id, client.id);
        assert_eq!(database.renew("first", "third").unwrap(), None);
        assert_ne!(database.client("ann").unwrap().unwrap().id, client.id);
        assert_eq!(
            database.renew("second", "third").unwrap(),
            None,
            "the thief has nothing either"
        );
    }
}
