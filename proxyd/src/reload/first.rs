//! What a start begins with: the generation that it continues or makes.

use shared::audit::Door;
use shared::config::Problems;

use super::history::{Headline, History, Kept};
use super::load::{self, Loaded};
use crate::identity::Around;
use crate::snapshot::{Amid, Snapshot, Stamp};
use crate::telemetry::clock::unix_us;

/// What the daemon begins with.
pub struct First {
    pub stamp: Stamp,
    pub(super) loaded: Loaded,
    pub(super) history: History,
    pub(super) from_files: bool,
    /// Of a generation that is not kept yet.
    new: Option<Headline>,
}

/// The generation that a start continues or makes: the newest kept if its sources are the same, another one otherwise.
/// Blocks, and writes nothing. A history that cannot be read is no reason not to serve; the log says so.
pub fn begin(history: History, loaded: Loaded, actor: &str) -> First {
    let newest = history.newest().unwrap_or_else(|error| {
        tracing::warn!(%error, "the config history cannot be read");
        0
    });
    let kept = history.headline(newest).unwrap_or_else(|error| {
        tracing::warn!(%error, "the newest generation cannot be read");
        None
    });
    if let Some(same) = kept.filter(|kept| *kept.hash == *loaded.checked.hash) {
        let stamp = Stamp { generation: newest, applied_us: same.time_us, actor: same.actor, door: same.door };
        return First { stamp, loaded, history, from_files: same.from_files, new: None };
    }
    let stamp = Stamp { generation: newest + 1, applied_us: unix_us(), actor: actor.to_owned(), door: Door::Start };
    let summary = if newest == 0 { "first config" } else { "started with another config" };
    let new = Some(headline(&stamp, &loaded, summary.to_owned(), None, true));
    First { stamp, loaded, history, from_files: true, new }
}

pub(super) fn headline(
    stamp: &Stamp,
    loaded: &Loaded,
    summary: String,
    rollback_of: Option<u64>,
    from_files: bool,
) -> Headline {
    Headline {
        generation: stamp.generation,
        time_us: stamp.applied_us,
        actor: stamp.actor.clone(),
        door: stamp.door,
        hash: loaded.checked.hash.to_string(),
        summary,
        rollback_of,
        from_files,
    }
}

impl First {
    /// Keeps the generation, where it is a new one. Blocks.
    pub fn keep(&mut self) {
        let Some(headline) = self.new.take() else { return };
        if let Err(error) = self.history.keep(&Kept { headline, input: self.loaded.input.clone() }) {
            tracing::warn!(%error, "the generation could not be kept");
        }
    }

    /// The first snapshot.
    ///
    /// # Errors
    /// Files that `identity` names and that cannot be used.
    pub fn compile(&self, amid: &Amid) -> Result<Snapshot, Problems> {
        let around = Around { state: &amid.identity, before: None, generation: self.stamp.generation };
        let identities = load::identities(&self.loaded.checked, around)?;
        let (checked, tls) = (self.loaded.checked.clone(), self.loaded.tls.clone());
        Ok(Snapshot::compile(checked, tls, identities, self.stamp.clone(), None, amid, 0))
    }
}
