//! Addresses that are kept out for a while.

use rusqlite::{Connection, Row, params};

use crate::{Directory, DirectoryError, bounds};

/// For so long at least after its end a ban is remembered, so that the next one is longer: a day.
const REMEMBERED_S: i64 = 86_400;

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanRow {
    /// `192.0.2.1/32`, `2001:db8::/64`.
    pub network: String,
    pub until_s: i64,
    pub since_s: i64,
    /// The code of the refusals that earned it, or what the operator wrote.
    pub reason: String,
    /// How many bans in a row this network has earned.
    pub times: u32,
    /// Who banned it: `proxyd`, or an operator.
    pub by: String,
}

impl BanRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            network: row.get(0)?,
            until_s: row.get(1)?,
            since_s: row.get(2)?,
            reason: row.get(3)?,
            times: row.get(4)?,
            by: row.get(5)?,
        })
    }

    /// Until when it is remembered: for a day after its end, or for as long again as it was.
    pub fn forgotten_s(&self) -> i64 {
        self.until_s.saturating_add(self.until_s.saturating_sub(self.since_s).max(REMEMBERED_S))
    }
}

impl Directory {
    /// The bans in force.
    pub fn bans(&self, now_s: i64) -> Result<Vec<BanRow>, DirectoryError> {
        self.bans_after(now_s)
    }

    /// Those that are over too, as long as they are remembered.
    pub fn bans_remembered(&self) -> Result<Vec<BanRow>, DirectoryError> {
        self.bans_after(i64::MIN)
    }

    fn bans_after(&self, until_s: i64) -> Result<Vec<BanRow>, DirectoryError> {
        self.read(|conn| {
            let mut bans = conn.prepare_cached(
                "SELECT network, until_s, since_s, reason, times, by FROM bans WHERE until_s > ?1 ORDER BY since_s, network",
            )?;
            let rows = bans.query_map([until_s], BanRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Bans a network, in place of what is known of it.
    pub fn ban_put(&mut self, row: &BanRow) -> Result<(), DirectoryError> {
        bounds::text("a network", &row.network, bounds::NAME)?;
        bounds::text("a ban's reason", &row.reason, bounds::TEXT)?;
        bounds::text("the actor", &row.by, bounds::TEXT)?;
        self.write(|tx| {
            // What is there already needs no room.
            if !tx.prepare_cached("SELECT 1 FROM bans WHERE network = ?1")?.exists([&row.network])? {
                bounds::room(tx, "bans", "bans")?;
            }
            tx.prepare_cached(
                "INSERT INTO bans (network, until_s, since_s, reason, times, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT DO UPDATE SET until_s = excluded.until_s, since_s = excluded.since_s, \
                 reason = excluded.reason, times = excluded.times, by = excluded.by",
            )?
            .execute(params![row.network, row.until_s, row.since_s, row.reason, row.times, row.by])?;
            Ok(())
        })
    }

    /// Forgets bans that are over, those that ended first, as far as there are more than `most` in all. How many went.
    pub fn bans_forget(&mut self, most: usize, now_s: i64) -> Result<usize, DirectoryError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.write(|tx| {
            let more = bounds::rows(tx, "bans")?.saturating_sub(most);
            if more <= 0 {
                return Ok(0);
            }
            let sql = "DELETE FROM bans WHERE network IN \
                       (SELECT network FROM bans WHERE until_s <= ?1 ORDER BY until_s, network LIMIT ?2)";
            Ok(tx.prepare_cached(sql)?.execute(params![now_s, more])?)
        })
    }

    /// Lifts a ban, and forgets it. Whether there was one.
    pub fn ban_lift(&mut self, network: &str) -> Result<bool, DirectoryError> {
        self.write(|tx| Ok(tx.prepare_cached("DELETE FROM bans WHERE network = ?1")?.execute([network])? > 0))
    }
}

/// Removes what is forgotten ([`BanRow::forgotten_s`]).
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    let sql = "DELETE FROM bans WHERE until_s + max(until_s - since_s, ?2) <= ?1";
    Ok(conn.prepare_cached(sql)?.execute(params![now_s, REMEMBERED_S])?)
}
