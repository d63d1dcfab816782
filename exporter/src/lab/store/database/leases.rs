//! The leases of a lab: those that are not over, and of those that are the newest.

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::{Database, StoreError};
use crate::lab::lease::{Lease, Stage};
use crate::lab::page::Page;

/// How many leases that are over are remembered, and after how many new ones this is looked after.
const HISTORY: u32 = 10_000;
pub(super) const SWEEP: u32 = 1_000;

impl Database {
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

fn text_of(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DAY, at, database};
    use super::*;
    use crate::lab::lease::How;
    use crate::lab::terms::Wanted;

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
}
