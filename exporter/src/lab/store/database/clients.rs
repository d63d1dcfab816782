//! The clients of a lab, and what they prove themselves with.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Database, StoreError};

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

impl Database {
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

fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret).to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{DAY, at, database};

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
