//! Who a name and a password are (`identity.basic`).

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use shared::config::identity::Basic;

use super::hash::{examine, verify};
use super::htpasswd;
use super::turns::Turns;
use crate::exchange::{Denial, Made};
use crate::identity::cache::Cache;

/// Between two looks at the file.
const LOOKED_EVERY: Duration = Duration::from_secs(2);

/// What an unknown name is computed against where nobody is known at all: nobody knows its password.
pub(super) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

/// Somebody whose password was right.
#[derive(Debug, Default)]
pub struct User {
    pub name: Box<str>,
    pub roles: Box<[Box<str>]>,
    pub scopes: Box<[Box<str>]>,
    pub made: Made,
}

/// Why nobody was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Denied(Denial),
    /// Too many wait for their turn.
    Unavailable,
}

/// See the module.
#[derive(Debug)]
pub struct Verifier {
    config: Arc<Basic>,
    turns: Arc<Turns>,
    /// Passwords that were right, by a keyed hash of name, password and what it was checked with, until when they need not be
    /// computed again.
    cache: Option<Cache<Instant>>,
    known: ArcSwap<Known>,
    /// Chooses whom an unknown name is computed against: always the same for one name.
    hasher: RandomState,
    started: Instant,
    /// When the file was looked at last, in milliseconds after `started`.
    looked_ms: AtomicU64,
    /// What the file was when it was read, or tried to be; whoever reads it holds this.
    file: Mutex<Option<Stamp>>,
}

/// Whoever is known now.
#[derive(Debug, Default)]
struct Known {
    users: htpasswd::Users,
    /// The same hashes in a row.
    hashes: Vec<Arc<str>>,
}

/// What a file that has changed differs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl Verifier {
    /// Reads the users: of the config, and of its file. The one before goes on where the config says the same.
    pub fn compile(config: &Arc<Basic>, before: Option<&Arc<Self>>, turns: &Arc<Turns>) -> Result<Arc<Self>, String> {
        let stamp = config.users_file.as_deref().and_then(stamp);
        let known = known(config)?;
        if let Some(before) = before.filter(|before| *before.config == **config) {
            before.known.store(Arc::new(known));
            *before.file.lock().unwrap_or_else(PoisonError::into_inner) = stamp;
            return Ok(Arc::clone(before));
        }
        Ok(Arc::new(Self {
            config: Arc::clone(config),
            turns: Arc::clone(turns),
            cache: if config.cache.is_zero() { None } else { Cache::new().ok() },
            known: ArcSwap::from_pointee(known),
            hasher: RandomState::new(),
            started: Instant::now(),
            looked_ms: AtomicU64::new(0),
            file: Mutex::new(stamp),
        }))
    }

    /// What `WWW-Authenticate` calls the place.
    pub fn realm(&self) -> &str {
        &self.config.realm
    }

    /// Who it is, if that was found out a moment ago. Nobody where it is time to look at the file: who was removed there is not let
    /// in once more.
    pub fn remembered(&self, user: &str, password: &[u8]) -> Option<Arc<User>> {
        let now = Instant::now();
        let cache = self.cache.as_ref()?;
        if self.is_time_to_look(now).is_some() {
            return None;
        }
        let known = self.known.load();
        let (found, hash) = known.users.get(user)?;
        let right = cache.hash_of([user.as_bytes(), password, hash.as_bytes()]);
        cache.find(right, |until| *until > now).map(|_| Arc::clone(found))
    }

    /// Who it is, asked from a network. An unknown name takes the same work as a wrong password, and a right one.
    pub async fn check(
        self: Arc<Self>,
        user: String,
        password: Vec<u8>,
        from: Option<IpAddr>,
    ) -> Result<Arc<User>, Refusal> {
        if self.is_to_look(Instant::now()) {
            let verifier = Arc::clone(&self);
            // Where it cannot, whoever was known goes on to be.
            let _ = tokio::task::spawn_blocking(move || verifier.look()).await;
        }
        if let Some(user) = self.remembered(&user, &password) {
            return Ok(user);
        }
        let turns = Arc::clone(&self.turns);
        let outcome = turns.run(from, move || self.compute(&user, &password)).await;
        outcome.ok_or(Refusal::Unavailable)?.ok_or(Refusal::Denied(Denial::PasswordWrong))
    }

    /// On a thread that may take its time.
    fn compute(&self, user: &str, password: &[u8]) -> Option<Arc<User>> {
        if self.is_to_look(Instant::now()) {
            self.look();
        }
        let known = self.known.load_full();
        let found = known.users.get(user);
        // Somebody's hash in any case: where kinds and costs differ, unknown names are spread over them as known ones are.
        let decoy = self.hasher.hash_one(user) as usize % known.hashes.len().max(1);
        let decoy = known.hashes.get(decoy).map_or(NOBODY, |hash| &**hash);
        let is_right = verify(found.map_or(decoy, |(_, hash)| hash), password);
        let (found, hash) = found.filter(|_| is_right)?;
        if let Some(cache) = &self.cache {
            let right = cache.hash_of([user.as_bytes(), password, hash.as_bytes()]);
            cache.keep(right, Instant::now() + self.config.cache);
        }
        Some(Arc::clone(found))
    }

    /// When the file was looked at last and what time it is now, in milliseconds, where it is time to look again.
    fn is_time_to_look(&self, now: Instant) -> Option<(u64, u64)> {
        let now_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let is_late = now_ms.saturating_sub(looked_ms) >= LOOKED_EVERY.as_millis() as u64;
        (is_late && self.config.users_file.is_some()).then_some((looked_ms, now_ms))
    }

    /// Whether it is time to look at the file; says so to one.
    fn is_to_look(&self, now: Instant) -> bool {
        let late = self.is_time_to_look(now);
        late.is_some_and(|(looked_ms, now_ms)| {
            self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Reads the file again where it has changed. One that cannot be used changes nothing, and is told of once.
    fn look(&self) {
        let Some(path) = self.config.users_file.as_deref() else { return };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(path);
        if *file == now {
            return;
        }
        *file = now;
        match known(&self.config) {
            Ok(known) => {
                tracing::info!(path = %path.display(), users = known.users.len(), "users were read again");
                self.known.store(Arc::new(known));
            }
            Err(error) => tracing::error!(%error, "changed users cannot be used; those before stay"),
        }
    }
}

fn known(config: &Basic) -> Result<Known, String> {
    let mut users = config.users_file.as_deref().map(htpasswd::read).transpose()?.unwrap_or_default();
    for written in &config.users {
        let boxed = |texts: &[Arc<str>]| texts.iter().map(|text| (**text).into()).collect();
        let hash = written.password_hash.reveal();
        examine(hash).map_err(|problem| format!("identity.basic: user {}: {problem}", written.user))?;
        let user = User {
            name: (*written.user).into(),
            roles: written.roles.iter().map(|role| (**role).into()).collect(),
            scopes: boxed(&written.scopes),
            made: Made::default(),
        };
        let name: Arc<str> = (*written.user).into();
        if users.insert(name, (Arc::new(user), hash.into())).is_some() {
            return Err(format!("identity.basic: user {} is there twice, or in users_file too", written.user));
        }
    }
    let hashes = users.values().map(|(_, hash)| Arc::clone(hash)).collect();
    Ok(Known { users, hashes })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some(Stamp { modified: (found.mtime(), found.mtime_nsec()), bytes: found.len(), inode: found.ino() })
}
