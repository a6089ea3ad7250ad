//! What is known of identities, in memory for the workers and on disk for the next start. A change is on disk before it is in
//! force, and in force for every worker before it is answered. Revoked tokens alone hold before the disk has them: no full disk
//! may open a door.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use directory::{BanRow, Directory, DirectoryError, KeyRow, KeyText, NewKey, RevokedRow};
use ipnet::IpNet;
use thiserror::Error;

use super::accounts::Standing;
use super::bans::{BanList, NewBan};
use super::jwt::Revocations;
use super::key_file::{self, Unreadable};
use super::keys::KeyRing;
use super::mint::{Mint, MintError};
use super::password::Queues;
use super::revoked::Revoked;

/// Between two sweeps of what has expired, in seconds.
const SWEPT_EVERY_S: i64 = 60;

/// Revocations that the disk did not take before, in one tick: nobody else has the file meanwhile.
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
        let is_held = self.revoked.hold(row);
        self.directory(|directory| {
            directory.revoke(row)?;
            if is_held {
                self.revoked.kept(row);
            } else {
                self.revoked.add(row);
            }
            Ok(())
        })
    }

    /// Takes a revocation back. Whether there was one.
    pub fn token_unrevoke(&self, provider: &str, jti: &str) -> Result<bool, DirectoryError> {
        let unrevoke = |directory: &mut Directory| directory.unrevoke(provider, jti);
        self.directory(|directory| unrevoke(directory).inspect(|_| self.revoked.remove(provider, jti)))
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
        self.directory(|directory| directory.ban_put(&row))?;
        self.bans.add(row.clone());
        Ok(row)
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
            if let Err(error) = kept {
                tracing::warn!(network = ban.row.network, %error, "a ban cannot be kept: it ends with this process");
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
    /// sweeps what has expired. At the `end` it writes whatever is not written yet.
    pub fn tick(&self, end: bool, now_s: i64) -> Result<(), DirectoryError> {
        self.directory(|directory| {
            if directory.changed_elsewhere()? || self.is_stale.load(Ordering::Relaxed) {
                self.take_up(directory, now_s)?;
            }
            let used = self.keys.take_used(end, now_s);
            if !used.is_empty() {
                directory.keys_used(&used)?;
            }
            if !end && now_s.saturating_sub(self.swept_s.load(Ordering::Relaxed)) >= SWEPT_EVERY_S {
                self.swept_s.store(now_s, Ordering::Relaxed);
                directory.sweep(now_s)?;
                self.revoked.sweep(now_s);
                let gone = directory.users_lapse(now_s)?;
                if !gone.is_empty() {
                    tracing::info!(accounts = gone.len(), "accounts that nobody verified in time are gone");
                    for id in &gone {
                        self.standing.forget(id);
                    }
                }
            }
            self.bans.sweep(now_s);
            // Last: a table that is full has room once it is swept.
            for row in self.revoked.unkept().iter().take(KEPT_AT_ONCE) {
                directory.revoke(row)?;
                self.revoked.kept(row);
            }
            Ok(())
        })
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::os::unix::fs::PermissionsExt;

    use directory::NewUser;

    use super::super::bans::Terms;
    use super::*;
    use crate::exchange::Denial;

    fn open(folder: &Path, now_s: i64) -> Arc<State> {
        State::open(folder, now_s).unwrap()
    }

    fn key(name: &str) -> NewKey {
        NewKey { name: name.into(), by: "test".into(), ..NewKey::default() }
    }

    fn row(jti: &str) -> RevokedRow {
        RevokedRow { provider: "*".into(), jti: jti.into(), expires_s: 1000, revoked_s: 0, by: "test".into() }
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("identity.db"), "x".repeat(5000)).unwrap();
        let error = State::open(folder.path(), 0).unwrap_err().to_string();
        assert!(error.contains("identity.db is not an SQLite database"), "{error}");
    }

    #[test]
    fn everything_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let banned: IpAddr = "192.0.2.1".parse().unwrap();
        let state = open(folder.path(), 0);
        let (_, text) = state.key_create(key("a"), 0).unwrap();
        let (_, gone) = state.key_create(key("b"), 0).unwrap();
        state.key_revoke("b", 0).unwrap();
        state.token_revoke(&row("a")).unwrap();
        state.ban(banned.into(), 100, "by hand", "test", 0).unwrap();
        state.keys.find(text.reveal().as_bytes(), 50).unwrap();
        assert_eq!(state.key_rows().unwrap()[0].used_s.max(state.key_rows().unwrap()[1].used_s), Some(50));
        state.tick(true, 51).unwrap();
        let kept = (*state.session_key(), *state.accounts_key(), state.mint.jwks().to_owned());
        drop(state);
        for name in ["session.key", "accounts.key", "signing.key", "identity.db"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let state = open(folder.path(), 60);
        assert_eq!((*state.session_key(), *state.accounts_key(), state.mint.jwks().to_owned()), kept);
        assert_ne!(kept.0, kept.1);
        let found = state.keys.find(text.reveal().as_bytes(), 40).unwrap();
        assert_eq!((&*found.name, found.used_s()), ("a", Some(50)));
        assert_eq!(state.keys.find(gone.reveal().as_bytes(), 60).unwrap_err(), Denial::KeyRevoked);
        assert!(state.revoked.is_revoked("jwt.main", "a") && state.token_unrevoke("*", "a").unwrap());
        assert!(!state.revoked.is_revoked("jwt.main", "a"));
        assert_eq!(state.bans.check(banned, 60), Some(100));
        assert!(state.ban_lift(banned.into()).unwrap() && !state.ban_lift(banned.into()).unwrap());
        assert_eq!(open(folder.path(), 60).bans.check(banned, 60), None);
        assert_eq!(format!("{state:?}"), "State { .. }");
    }

    #[test]
    fn another_process_is_heard_of_and_nothing_of_its_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (open(folder.path(), 0), open(folder.path(), 0));
        let (made, text) = old.key_create(key("a"), 0).unwrap();
        let presented = text.reveal().as_bytes();
        assert!(new.keys.find(presented, 1).is_err());
        new.tick(false, 1).unwrap();
        new.keys.find(presented, 70).unwrap();
        old.keys.find(presented, 65).unwrap();
        new.tick(true, 71).unwrap();
        // The one that ends writes last, and nothing goes back.
        old.tick(true, 71).unwrap();
        assert_eq!(new.directory(|directory| directory.key(&made.id, 71)).unwrap().used_s, Some(70));
        new.key_revoke("a", 72).unwrap();
        new.token_revoke(&row("b")).unwrap();
        new.ban("198.51.100.0/24".parse().unwrap(), 1000, "by hand", "test", 72).unwrap();
        old.reload(72).unwrap();
        assert_eq!(old.keys.find(presented, 72).unwrap_err(), Denial::KeyRevoked);
        assert!(old.revoked.is_revoked("x", "b"));
        assert_eq!(old.bans.check("198.51.100.7".parse().unwrap(), 72), Some(1000));
    }

    #[test]
    fn a_ban_that_was_earned_is_kept_unless_it_was_lifted_first() {
        let folder = tempfile::tempdir().unwrap();
        let state = open(folder.path(), 0);
        let config = shared::config::Bans {
            refusals: 1,
            within: std::time::Duration::from_mins(1),
            lasts: std::time::Duration::from_mins(1),
            longest: std::time::Duration::from_mins(1),
            on: vec!["x".into()],
            exempt: Vec::new(),
            ipv6_prefix: 64,
        };
        let terms = Terms { bans: Some(&config), trusted_proxies: &[] };
        let earn = |address: &str| state.bans.note(address.parse().unwrap(), "x", &terms, 0).unwrap();
        let (kept, lifted) = (earn("192.0.2.1"), earn("192.0.2.2"));
        assert!(state.ban_lift("192.0.2.2/32".parse().unwrap()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            state.keep_ban(lifted);
            state.keep_ban(kept.clone());
        });
        // Waits for what was begun.
        drop(runtime);
        assert_eq!(state.directory(|directory| directory.bans(0)).unwrap(), [kept.row]);
        state.reload(0).unwrap();
        assert_eq!(state.bans.active(), 1);
    }

    #[test]
    fn a_revoked_token_holds_though_the_disk_does_not_take_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = open(folder.path(), 0);
        let locked = |now: bool| state.directory(|directory| directory.refuse_writes(now)).unwrap();
        locked(true);
        state.token_revoke(&row("a")).unwrap_err();
        assert!(state.revoked.is_revoked("jwt.main", "a") && state.revoked.is_unkept("*", "a"));
        // Neither what is on disk nor a sweep makes it good again.
        state.reload(1).unwrap();
        state.tick(false, 1).unwrap_err();
        assert!(state.revoked.is_revoked("jwt.main", "a"));
        state.token_revoke(&RevokedRow { jti: "x".repeat(257), ..row("") }).unwrap_err();
        assert_eq!(state.revoked.len(), 1, "nobody takes such a token");
        locked(false);
        state.tick(true, 2).unwrap();
        assert!(!state.revoked.is_unkept("*", "a"));
        drop(state);
        assert!(open(folder.path(), 3).revoked.is_revoked("jwt.main", "a"));
    }

    #[test]
    fn what_has_expired_is_swept() {
        let state = State::in_memory();
        state.token_revoke(&row("a")).unwrap();
        state.tick(false, 999).unwrap();
        assert_eq!(state.revoked.len(), 1);
        // Once a minute.
        state.tick(false, 1000).unwrap();
        assert_eq!(state.revoked.len(), 1);
        state.tick(false, 1059).unwrap();
        assert_eq!((state.revoked.len(), state.directory(|d| d.revoked(0)).unwrap().len()), (0, 0));
        let new = NewUser { name: "ann".into(), lapses_s: Some(2000), ..NewUser::default() };
        let ann = state.directory(|directory| directory.user_add(new, 1100)).unwrap();
        state.standing.note(&ann);
        state.tick(false, 1999).unwrap();
        assert!(state.standing.holds(&ann.id, 0));
        state.tick(false, 2059).unwrap();
        assert!(!state.standing.holds(&ann.id, 0));
    }
}
