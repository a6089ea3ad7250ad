//! What is said of endpoints while the daemon runs, beside the config: what an operator set (drain, down, a weight), and
//! endpoints that registered themselves. It outlives the process in a file of `state_dir`; the config's own text is never
//! touched.
//!
//! Knows nothing of configs, upstreams or workers: whether an upstream or endpoint is there is for those who ask. Times are
//! arguments, on one clock that begins when the daemon does: a step of the wall clock makes nobody's time be over.

mod entries;
mod store;

pub use shared::control::EndpointState as State;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use entries::Entries;

/// Settings and registrations kept, of all upstreams together.
pub const MOST_ENTRIES: usize = 10_000;

/// The file's greatest length.
pub const MOST_BYTES: usize = 1024 * 1024;

/// What holds for one upstream beside its config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// By address. It may name endpoints that are not there now: of the config before, or that registered once.
    pub set: Vec<SetEntry>,
    pub registered: Vec<Registered>,
}

impl Overlay {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.registered.is_empty()
    }
}

/// What an operator set. Nothing is kept of an endpoint that is ready at its own weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEntry {
    /// `host:port`, as in the config's `Endpoint::address`.
    pub address: Arc<str>,
    /// None: ready.
    pub state: Option<State>,
    /// None: the endpoint's own. 0: no traffic.
    pub weight: Option<u32>,
}

/// An endpoint that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub address: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    pub weight: u32,
    pub backup: bool,
    /// When it goes unless it registers again, in microseconds since the daemon started; none: it stays.
    pub expires_us: Option<i64>,
}

/// State and weight of an endpoint as set; none: not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    pub state: Option<State>,
    pub weight: Option<u32>,
}

/// What a setting was, and is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Setting,
    pub after: Setting,
}

/// An endpoint that wants to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub host: Arc<str>,
    pub port: u16,
    pub address: Arc<str>,
    pub weight: u32,
    pub backup: bool,
    pub ttl: Option<Duration>,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// It was registered already, and just so.
    pub renewed: bool,
    /// How it was registered before.
    pub before: Option<Registration>,
    /// When it goes, on the clock of `now_us`.
    pub expires_us: Option<i64>,
}

/// An endpoint whose time was over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    pub upstream: String,
    pub before: Registration,
}

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum RegistryError {
    #[error("this endpoint is not registered")]
    NotRegistered,
    #[error("{MOST_ENTRIES} endpoints are set or registered already; deregister some, or set some ready again")]
    TooMany,
    #[error("what is set and registered would take more than {} KiB in its file", MOST_BYTES / 1024)]
    TooLarge,
    #[error("another process takes over; try again")]
    Elsewhere,
    #[error("{} cannot be written, so that a restart would forget it: {error}", path.display())]
    Write { path: PathBuf, error: std::io::Error },
}

/// See the module.
#[derive(Debug)]
pub struct Registry {
    path: PathBuf,
    /// Held while the file is written, and never for long by anybody who only reads.
    writing: Mutex<Writing>,
    /// Taken after `writing` by whoever takes both; never held over a write.
    state: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Another process has the file.
    is_elsewhere: bool,
    /// The file says more than is so: removing what had expired could not be written.
    is_stale: bool,
}

#[derive(Debug, Default)]
struct Now {
    entries: Entries,
    version: u64,
    /// Made when asked for.
    overlays: HashMap<String, Arc<Overlay>>,
}

impl Registry {
    /// Opens the file, which need not be there. One that cannot be read is set aside, since whatever is wrong with it, a
    /// daemon that serves by its config alone is better than none. Whoever is registered gets its whole time anew.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let entries = store::load(&path);
        Self { path, writing: Mutex::default(), state: Mutex::new(Now { entries, ..Now::default() }) }
    }

    /// What holds for an upstream.
    pub fn overlay(&self, upstream: &str) -> Arc<Overlay> {
        let mut now = self.now();
        if let Some(overlay) = now.overlays.get(upstream) {
            return Arc::clone(overlay);
        }
        let overlay = Arc::new(now.entries.overlay(upstream));
        if !overlay.set.is_empty() || !overlay.registered.is_empty() {
            now.overlays.insert(upstream.to_owned(), Arc::clone(&overlay));
        }
        overlay
    }

    /// Counts changes; renewals are none.
    pub fn version(&self) -> u64 {
        self.now().version
    }

    /// Sets an endpoint's state, its weight, or both; what is not given stays. Blocks.
    pub fn set(
        &self,
        upstream: &str,
        address: &str,
        state: Option<State>,
        weight: Option<u32>,
    ) -> Result<Change, RegistryError> {
        self.change(upstream, |entries| Ok(entries.set(upstream, address, state, weight)))
    }

    /// Registers an endpoint, or takes note that it is still there, which costs no writing. Blocks otherwise.
    pub fn register(&self, upstream: &str, wanted: &Registration, now_us: i64) -> Result<Outcome, RegistryError> {
        if let Some(outcome) = self.renew(upstream, wanted, now_us) {
            return Ok(outcome);
        }
        self.change(upstream, |entries| Ok(entries.register(upstream, wanted, now_us)))
    }

    /// Takes a registered endpoint away, and what was set of it: the next at that address is another one. Blocks.
    pub fn deregister(&self, upstream: &str, address: &str) -> Result<Registration, RegistryError> {
        self.change(upstream, |entries| entries.deregister(upstream, address).ok_or(RegistryError::NotRegistered))
    }

    /// Whether [`Registry::expire`] would do anything.
    pub fn is_due(&self, now_us: i64) -> bool {
        self.now().entries.is_due(now_us) || self.writing.try_lock().is_ok_and(|writing| writing.is_stale)
    }

    /// Takes those away whose time is over. What was set of them stays: they may come back. That they are gone holds even
    /// where it cannot be written; it is written as soon as it can. Blocks.
    pub fn expire(&self, now_us: i64) -> Vec<Expired> {
        let mut writing = self.writing();
        if writing.is_elsewhere {
            return Vec::new();
        }
        let (gone, left) = {
            let mut now = self.now();
            let gone = now.entries.expire(now_us);
            for expired in &gone {
                now.overlays.remove(&expired.upstream);
            }
            now.version += u64::from(!gone.is_empty());
            (gone, now.entries.clone())
        };
        if !gone.is_empty() || writing.is_stale {
            let written = store::save(&self.path, &left);
            if let (Err(error), false) = (&written, writing.is_stale) {
                tracing::warn!(%error, "endpoints whose time is over are gone until the next start only");
            }
            writing.is_stale = written.is_err();
        }
        gone
    }

    /// Another process has the file from now on: nothing is changed here any more. Waits for a change under way.
    pub fn let_go(&self) {
        self.writing().is_elsewhere = true;
    }

    /// The other process did not take over after all.
    pub fn take_back(&self) {
        self.writing().is_elsewhere = false;
    }

    fn renew(&self, upstream: &str, wanted: &Registration, now_us: i64) -> Option<Outcome> {
        let mut now = self.now();
        let outcome = now.entries.renew(upstream, wanted, now_us)?;
        now.overlays.remove(upstream);
        Some(outcome)
    }

    /// Makes a change on a copy, writes that, and only then makes it here: what a restart would forget never holds.
    fn change<T>(
        &self,
        upstream: &str,
        make: impl Fn(&mut Entries) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut writing = self.writing();
        if writing.is_elsewhere {
            return Err(RegistryError::Elsewhere);
        }
        let before = self.now().entries.clone();
        let mut after = before.clone();
        let told = make(&mut after)?;
        if after == before && !writing.is_stale {
            return Ok(told);
        }
        if after.count() > MOST_ENTRIES && after.count() > before.count() {
            return Err(RegistryError::TooMany);
        }
        store::save(&self.path, &after)?;
        writing.is_stale = false;
        let mut now = self.now();
        // Made once more, instead of putting the copy in place: renewals may have come meanwhile.
        let told = make(&mut now.entries)?;
        now.version += 1;
        now.overlays.remove(upstream);
        Ok(told)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
