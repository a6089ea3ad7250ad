//! What is known of identities, in memory for the workers and on disk for the next start. A change is on disk before it is in
//! force, and in force for every worker before it is answered. Revoked tokens alone hold before the disk has them: no full disk
//! may open a door.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use directory::{BanRow, Directory, DirectoryError, KeyRow, KeyText, NewKey, RevokedRow};
use ipnet::IpNet;
use thiserror::Error;

use super::accounts::Standing;
use super::bans::{self, BanList, NewBan};
use super::jwt::Revocations;
use super::key_file::{self, Unreadable};
use super::keys::KeyRing;
use super::mint::{Mint, MintError};
use super::password::Queues;
use super::revoked::Revoked;

/// Between two sweeps of what has expired, in seconds.
const SWEPT_EVERY_S: i64 = 60;

/// Revocations in one transaction: nobody else has the file meanwhile.
const KEPT_AT_ONCE: usize = 1000;

/// See the module.
pub struct State {
    pub keys: KeyRing,
    pub revoked: Revoked,
    pub bans: BanList,
    /// How accounts stand: whoever changes one in the directory notes it here.
    pub standing: Standing,
    /// For what takes a thread a while, such as passwords: a few at a time in the whole process.
    pub queues: Queues,
    /// Signs tokens of our own, with a key that is kept.
    pub mint: Arc<Mint>,
    session_key: [u8; 32],
    accounts_key: [u8; 32],
    directory: Mutex<Directory>,
    swept_s: AtomicI64,
    /// Whether what another process wrote could not be taken up yet.
    is_stale: AtomicBool,
    /// Whether the last ban that was earned could not be kept, and that was said.
    is_ban_unkept: AtomicBool,
}

/// Why what is kept of identities cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    #[error("what is known of API keys and accounts cannot be read: {0}")]
    Directory(#[from] DirectoryError),
    #[error("the system gives no randomness for a key: {0}")]
    Randomness(getrandom::Error),
    #[error(transparent)]
    Key(#[from] Unreadable),
    #[error("there is no key to sign tokens with: {0}")]
    Signing(#[from] MintError),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Opens what the state folder holds, and makes what it lacks.
    pub fn open(state_dir: &Path, now_s: i64) -> Result<Arc<Self>, StateError> {
        let directory = Directory::open(state_dir.join("identity.db"))?;
        let secret = |name: &str| key_file::load(&state_dir.join(name), |key| key.len() == 32, draw);
        let keys = Keys { session: array(&secret("session.key")?), accounts: array(&secret("accounts.key")?) };
        let is_good = |key: &[u8]| Mint::ed_dsa(key).is_ok();
        let make = || Ok::<_, StateError>(Mint::generate()?.into());
        let signing = key_file::load(&state_dir.join("signing.key"), is_good, make)?;
        Self::new(directory, keys, Mint::ed_dsa(&signing)?, now_s)
    }

    /// One that keeps nothing.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Arc<Self> {
        let directory = Directory::open_in_memory().unwrap();
        let mint = Mint::ed_dsa(&Mint::generate().unwrap()).unwrap();
        Self::new(directory, Keys { session: [7; 32], accounts: [8; 32] }, mint, 0).unwrap()
    }

    fn new(directory: Directory, keys: Keys, mint: Mint, now_s: i64) -> Result<Arc<Self>, StateError> {
        Ok(Arc::new(Self {
            keys: KeyRing::of(&directory.keys()?),
            revoked: Revoked::of(&directory.revoked(now_s)?),
            bans: BanList::of(directory.bans_remembered()?, now_s),
            standing: Standing::of(&directory.users()?),
            queues: Queues::default(),
            mint: Arc::new(mint),
            session_key: keys.session,
            accounts_key: keys.accounts,
            directory: Mutex::new(directory),
            swept_s: AtomicI64::new(i64::MIN),
            is_stale: AtomicBool::new(false),
            is_ban_unkept: AtomicBool::new(false),
        }))
    }

    /// The key that session cookies are sealed with where the config has none.
    pub fn session_key(&self) -> &[u8; 32] {
        &self.session_key
    }

    /// The key that the tokens of accounts are signed with where they are signed with a shared one, and the config has none.
    pub fn accounts_key(&self) -> &[u8; 32] {
        &self.accounts_key
    }

    /// Reads or writes the file itself, and waits for the disk: workers call it on a thread for that. What has its copy in memory
    /// is changed by the methods below.
    pub fn directory<T>(
        &self,
        work: impl FnOnce(&mut Directory) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        work(&mut self.directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether somebody works with the file now.
    #[cfg(test)]
    pub(crate) fn is_directory_busy(&self) -> bool {
        self.directory.try_lock().is_err()
    }

    /// Makes an API key.
    pub fn key_create(&self, new: NewKey, now_s: i64) -> Result<(KeyRow, KeyText), DirectoryError> {
        self.directory(|directory| directory.key_create(new, now_s).inspect(|(row, _)| self.keys.put(row)))
    }

    /// Ends an API key.
    pub fn key_revoke(&self, which: &str, now_s: i64) -> Result<KeyRow, DirectoryError> {
        self.directory(|directory| directory.key_revoke(which, now_s).inspect(|row| self.keys.put(row)))
    }

    /// Gives an API key another text; the old one goes on for `overlap_s`.
    pub fn key_rotate(&self, which: &str, overlap_s: u64, now_s: i64) -> Result<(KeyRow, KeyText), DirectoryError> {
        let rotate = |directory: &mut Directory| directory.key_rotate(which, overlap_s, now_s);
        self.directory(|directory| rotate(directory).inspect(|(row, _)| self.keys.put(row)))
    }

    /// All API keys, each with its last use as far as it is known here.
    pub fn key_rows(&self) -> Result<Vec<KeyRow>, DirectoryError> {
        let mut rows = self.directory(|directory| directory.keys())?;
        for row in &mut rows {
            row.used_s = row.used_s.max(self.keys.used_s(&row.id));
        }
        Ok(rows)
    }

    /// Revokes a token. Where the disk does not take it, it holds all the same, and `tick` tries again: `Revoked::is_unkept`.
    pub fn token_revoke(&self, row: &RevokedRow) -> Result<(), DirectoryError> {
        row.check()?;
        // Not under the file's lock: it holds while somebody else works with the file.
        let is_held = self.revoked.hold(row);
        self.directory(|directory| self.keep_revoked(directory, row, is_held))
    }

    /// The same for whoever works with the file already.
    pub fn token_revoke_in(&self, directory: &mut Directory, row: &RevokedRow) -> Result<(), DirectoryError> {
        row.check()?;
        let is_held = self.revoked.hold(row);
        self.keep_revoked(directory, row, is_held)
    }

    /// Revokes tokens that were revoked elsewhere: all of them hold before the first is written. It fails where some are neither
    /// on disk nor wait for it: then they hold for now, and are to be told again.
    pub fn tokens_take_up(&self, rows: &[RevokedRow]) -> Result<(), DirectoryError> {
        rows.iter().try_for_each(RevokedRow::check)?;
        let mut is_all_held = true;
        for row in rows {
            if !self.revoked.hold_told(row) {
                self.revoked.add_told(row);
                is_all_held = false;
            }
        }
        let written = rows.chunks(KEPT_AT_ONCE).try_for_each(|rows| self.keep_all(rows, is_all_held));
        if is_all_held { Ok(()) } else { written }
    }

    fn keep_all(&self, mut rows: &[RevokedRow], is_all_held: bool) -> Result<(), DirectoryError> {
        while !rows.is_empty() {
            let kept = self.directory(|directory| {
                let kept = directory.revoke_all(rows)?;
                for row in rows.iter().take(kept) {
                    if !is_all_held {
                        // A reload in between has forgotten what was neither kept nor held.
                        self.revoked.add_told(row);
                    }
                    self.revoked.kept(row);
                }
                Ok(kept)
            })?;
            rows = rows.get(kept..).unwrap_or_default();
        }
        Ok(())
    }

    fn keep_revoked(&self, directory: &mut Directory, row: &RevokedRow, is_held: bool) -> Result<(), DirectoryError> {
        directory.revoke(row)?;
        if is_held {
            self.revoked.kept(row);
        } else {
            self.revoked.add(row);
        }
        Ok(())
    }

    /// Bans a network.
    pub fn ban(
        &self,
        network: IpNet,
        until_s: i64,
        reason: &str,
        by: &str,
        now_s: i64,
    ) -> Result<BanRow, DirectoryError> {
        let row = BanRow {
            network: network.trunc().to_string(),
            until_s,
            since_s: now_s,
            reason: reason.to_owned(),
            times: 1,
            by: by.to_owned(),
        };
        // Under the file's lock, as whatever changes a ban in both: else one that is to be kept could be written over this one.
        self.directory(|directory| {
            directory.ban_put(&row)?;
            self.bans.add(row.clone());
            Ok(row)
        })
    }

    /// Lifts a ban. Whether there was one, on disk or in memory.
    pub fn ban_lift(&self, network: IpNet) -> Result<bool, DirectoryError> {
        let name = network.trunc().to_string();
        self.directory(|directory| directory.ban_lift(&name).map(|kept| self.bans.lift(&network) || kept))
    }

    /// Keeps a ban that was earned, on a thread that may wait. Within a runtime; nobody waits for it.
    pub fn keep_ban(self: &Arc<Self>, ban: NewBan) {
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let kept = state.directory(|directory| {
                // Lifted in between: then it is to be forgotten.
                let is_there = state.bans.has(&ban.row);
                if is_there { directory.ban_put(&ban.row).inspect(|()| state.bans.kept(&ban.row)) } else { Ok(()) }
            });
            let was_unkept = state.is_ban_unkept.swap(kept.is_err(), Ordering::Relaxed);
            if let Err(error) = kept
                && !was_unkept
            {
                tracing::warn!(network = ban.row.network, %error, "bans cannot be kept now: they end with this process");
            }
        });
    }

    /// Takes up whatever the file says now.
    pub fn reload(&self, now_s: i64) -> Result<(), DirectoryError> {
        self.directory(|directory| {
            directory.changed_elsewhere()?;
            self.take_up(directory, now_s)
        })
    }

    /// What is done from time to time, on a thread that may wait: takes up what another process has changed, writes last uses,
    /// sweeps what has expired. At the `end` it writes whatever is not written yet. Each step is taken whatever became of the ones
    /// before, and others may have the file in between; the first error is told.
    pub fn tick(&self, end: bool, now_s: i64) -> Result<(), DirectoryError> {
        let heard = self.directory(|directory| {
            let changed = directory.changed_elsewhere();
            let is_new = matches!(changed, Ok(true)) || self.is_stale.load(Ordering::Relaxed);
            let taken = if is_new { self.take_up(directory, now_s) } else { Ok(()) };
            changed.and(taken)
        });
        let used = self.write_used(end, now_s);
        let swept = if end { Ok(()) } else { self.sweep(now_s) };
        // Last: a table that is full has room once it is swept.
        let kept = self.write_unkept();
        heard.and(used).and(swept).and(kept)
    }

    fn write_used(&self, all: bool, now_s: i64) -> Result<(), DirectoryError> {
        let used = self.keys.take_used(all, now_s);
        if used.is_empty() {
            return Ok(());
        }
        self.directory(|directory| directory.keys_used(&used)).inspect_err(|_| self.keys.give_back(&used))
    }

    fn sweep(&self, now_s: i64) -> Result<(), DirectoryError> {
        self.bans.sweep(now_s);
        if now_s.saturating_sub(self.swept_s.load(Ordering::Relaxed)) < SWEPT_EVERY_S {
            return Ok(());
        }
        self.swept_s.store(now_s, Ordering::Relaxed);
        self.revoked.sweep(now_s);
        let swept = self.directory(|directory| directory.sweep(now_s));
        let forgotten = self.directory(|directory| directory.bans_forget(bans::MOST, now_s));
        let lapsed = self.directory(|directory| {
            let gone = directory.users_lapse(now_s)?;
            if !gone.is_empty() {
                tracing::info!(accounts = gone.len(), "accounts that nobody verified in time are gone");
                for id in &gone {
                    self.standing.forget(id);
                }
            }
            Ok(())
        });
        swept.and(forgotten).and(lapsed)
    }

    /// Writes what holds and is not on disk yet, many in one transaction.
    fn write_unkept(&self) -> Result<(), DirectoryError> {
        loop {
            let rows = self.revoked.unkept(KEPT_AT_ONCE);
            if rows.is_empty() {
                return Ok(());
            }
            self.keep_all(&rows, true)?;
        }
    }

    fn take_up(&self, directory: &Directory, now_s: i64) -> Result<(), DirectoryError> {
        self.is_stale.store(true, Ordering::Relaxed);
        // Each for itself: a key that cannot be read is no reason not to hear of a revoked token.
        let revoked = directory.revoked(now_s).map(|rows| self.revoked.reload(&rows));
        let bans = directory.bans_remembered().map(|rows| self.bans.reload(rows, now_s));
        let keys = directory.keys().map(|rows| self.keys.reload(&rows));
        let users = directory.users().map(|rows| self.standing.load(&rows));
        keys.and(revoked).and(bans).and(users)?;
        self.is_stale.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Keys of our own.
struct Keys {
    session: [u8; 32],
    accounts: [u8; 32],
}

fn draw() -> Result<Box<[u8]>, StateError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(StateError::Randomness)?;
    Ok(Box::new(key))
}

fn array(key: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    array
}

impl Revocations for State {
    fn epoch(&self) -> u64 {
        self.revoked.epoch()
    }

    fn is_revoked(&self, provider: &str, jti: &str) -> bool {
        self.revoked.is_revoked(provider, jti)
    }
}
