//! Puts another config in force: load → check → compile → bind → commit → report. Left of the commit everything may fail
//! and nothing has changed; right of it nothing can fail. Only this room stores a snapshot.

mod certificates;
pub mod changes;
mod endpoints;
mod first;
pub mod history;
mod identity;
mod identity_keys;
mod idle;
mod lives_on;
pub mod load;
mod revocations;
mod short_keys;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::audit::Door;
use shared::config::{Config, Input, Problems, Text};
use shared::control::report::Reloaded;
use shared::control::{ControlError, ErrorCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::certificates::watch as watch_certificates;
pub use self::endpoints::tend as tend_endpoints;
use self::first::headline;
pub use self::first::{First, begin};
use self::history::{History, Kept};
pub use self::identity::tend as tend_identity;
pub use self::identity_keys::KeyFetches;
use self::idle::Idle;
use self::load::Loaded;
pub use self::revocations::tend as tend_revocations;
use crate::daemon::{ConfigSource, Daemon, Life};
use crate::identity::{Around, Identities};
use crate::server;
use crate::snapshot::{Snapshot, Stamp};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::clock::unix_us;

/// How long a change waits for one that is being made.
const TURN: Duration = Duration::from_secs(10);

/// What is to be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The sources that the daemon was started with.
    Started,
    /// This file or directory in place of the one that the daemon was started with.
    Path(PathBuf),
    /// A kept generation's sources, and whether the files are restored too.
    Generation { number: u64, write: bool },
}

/// By whom, and through which door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub door: Door,
    pub actor: String,
}

/// How the newest change went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub time_us: i64,
    pub by: By,
    /// `done`, or the error's code.
    pub outcome: String,
    pub message: String,
}

/// What the generation in force was made from.
#[derive(Debug)]
struct InForce {
    input: Input,
    meaning: [u8; 32],
    /// Whether that is what the files said when they were read.
    from_files: bool,
}

/// The one place that changes the config in force.
pub struct Reload {
    daemon: Arc<Daemon>,
    history: History,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    in_force: Mutex<Arc<InForce>>,
    last: Mutex<Option<Last>>,
    /// How many changes ended in each way.
    outcomes: Mutex<BTreeMap<String, u64>>,
    /// The HTTP door's listener: put in place here, served there.
    admin: watch::Sender<Option<Arc<TcpListener>>>,
}

impl Reload {
    /// For the daemon that was put together from `first`.
    pub fn new(daemon: Arc<Daemon>, first: First, admin: watch::Sender<Option<Arc<TcpListener>>>) -> Self {
        let First { loaded, history, from_files, .. } = first;
        let in_force = InForce { input: loaded.input, meaning: loaded.meaning, from_files };
        Self {
            daemon,
            history,
            turn: tokio::sync::Mutex::default(),
            in_force: Mutex::new(Arc::new(in_force)),
            last: Mutex::default(),
            outcomes: Mutex::default(),
            admin,
        }
    }

    /// Keeps the config as it is for as long as the value lives.
    pub async fn hold(&self) -> Result<impl Drop + use<'_>, ControlError> {
        let busy = |_| ControlError::new(ErrorCode::Busy, "a change of the config is being made; try again");
        tokio::time::timeout(TURN, self.turn.lock()).await.map_err(busy)
    }

    /// The HTTP door's listener, to be handed to the process that takes over, under its configured address.
    pub fn share_admin(&self) -> std::io::Result<Option<(SocketAddr, OwnedFd)>> {
        let configured = self.daemon.snapshot().checked.config.admin.listen;
        match (configured, &*self.admin.borrow()) {
            (Some(configured), Some(listener)) => Ok(Some((configured, listener.as_fd().try_clone_to_owned()?))),
            _ => Ok(None),
        }
    }

    /// How the newest change went.
    pub fn last(&self) -> Option<Last> {
        lock(&self.last).clone()
    }

    /// How many changes ended in each way.
    pub fn outcomes(&self) -> Vec<(String, u64)> {
        lock(&self.outcomes).iter().map(|(outcome, count)| (outcome.clone(), *count)).collect()
    }

    /// The generations kept.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The address that the HTTP door is bound to.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.borrow().as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Whether the files on disk differ from the generation in force. Files that cannot be read differ.
    pub async fn has_drifted(self: &Arc<Self>) -> bool {
        let reload = Arc::clone(self);
        let differs = move || match load::read_input(&reload.daemon.source, None) {
            Ok(today) => {
                let in_force = Arc::clone(&lock(&reload.in_force));
                today.files != in_force.input.files || today.overlay != in_force.input.overlay
            }
            Err(_) => true,
        };
        tokio::task::spawn_blocking(differs).await.unwrap_or(true)
    }

    /// Puts something in force, or with `dry_run` says what that would change. Must run to its end: on a task of its own.
    pub async fn change(self: &Arc<Self>, what: What, dry_run: bool, by: By) -> Result<Reloaded, ControlError> {
        let started = Instant::now();
        let result = match tokio::time::timeout(TURN, self.turn.lock()).await {
            Ok(_turn) => self.attempt(what, dry_run, &by).await,
            Err(_) => Err(ControlError::new(ErrorCode::Busy, "another change of the config is being made; try again")),
        };
        let result = result.map(|reloaded| Reloaded { took_ms: started.elapsed().as_millis() as u64, ..reloaded });
        if !dry_run {
            self.note(by, &result);
        }
        result
    }

    async fn attempt(self: &Arc<Self>, what: What, dry_run: bool, by: &By) -> Result<Reloaded, ControlError> {
        if matches!(self.daemon.life(), Life::Draining | Life::Stopping) {
            return Err(ControlError::new(ErrorCode::Stopping, "the daemon is stopping; the config stays as it is"));
        }
        let loaded = self.load(&what).await?;
        let before = self.daemon.snapshot();
        let in_force = Arc::clone(&lock(&self.in_force));
        let (previous, next) = (Arc::clone(&before.checked.config), Arc::clone(&loaded.checked.config));
        let is_same = loaded.is_same(&before.checked.hash, &in_force.meaning);
        let changes = if is_same {
            changes::between(&previous, &previous)
        } else {
            let differs = move || changes::between(&previous, &next);
            tokio::task::spawn_blocking(differs).await.map_err(|error| broken(&error))?
        };
        let from_files = match &what {
            What::Started => true,
            What::Path(_) => false,
            What::Generation { write, .. } => *write,
        };
        let mut reloaded = Reloaded {
            generation: before.generation(),
            applied: false,
            dry_run,
            changes,
            warnings: loaded.checked.warnings.clone(),
            overrode_drift: what == What::Started && !in_force.from_files && !is_same,
            audited: true,
            ..Reloaded::default()
        };
        if is_same {
            if !dry_run {
                // The same words may name other certificates by now: they are taken up.
                let _ = loaded.tls.clone().inherit(&before.tls);
                self.restore_files(&what, &loaded).await?;
                *lock(&self.in_force) = Arc::new(InForce {
                    input: loaded.input,
                    meaning: loaded.meaning,
                    from_files: from_files || in_force.from_files,
                });
            }
            return Ok(reloaded);
        }
        refuse_what_is_fixed(&before.checked.config, &loaded.checked.config)?;
        reloaded.generation = before.generation().max(self.newest()) + 1;
        let identities = self.identities(&loaded, &before, reloaded.generation).await?;
        let sections = &mut reloaded.changes.sections;
        for changed in identities.with_other_keys(&before.identities) {
            if !sections.contains(&changed) {
                sections.push(changed);
            }
        }
        let idle = idle::of(&self.daemon, &identities, &before).await?;
        reloaded.warnings.extend(loaded.checked.locate(idle.iter().map(Idle::remark).collect()));
        reloaded.warnings.extend(short_keys::of(&self.daemon, &loaded.checked.config).await);
        if dry_run {
            return Ok(reloaded);
        }
        self.apply(&what, loaded, identities, &before, &reloaded, from_files, by).await?;
        idle.iter().for_each(Idle::tell);
        reloaded.applied = true;
        Ok(reloaded)
    }

    /// Who recognises from the next generation on; files are read.
    async fn identities(
        self: &Arc<Self>,
        loaded: &Loaded,
        before: &Arc<Snapshot>,
        generation: u64,
    ) -> Result<Arc<Identities>, ControlError> {
        let (checked, before, daemon) = (loaded.checked.clone(), Arc::clone(before), Arc::clone(&self.daemon));
        let compile = move || {
            let state = &daemon.amid.identity;
            load::identities(&checked, Around { state, before: Some(&before.identities), generation })
        };
        let made = tokio::task::spawn_blocking(compile).await.map_err(|error| broken(&error))?;
        made.map_err(|problems| invalid(&load::name(&self.daemon.source), problems))
    }

    /// From the last things that may fail to the commit and what follows it.
    #[expect(clippy::too_many_arguments, reason = "what `attempt` made ready, each to its place")]
    async fn apply(
        self: &Arc<Self>,
        what: &What,
        loaded: Loaded,
        identities: Arc<Identities>,
        before: &Arc<Snapshot>,
        reloaded: &Reloaded,
        from_files: bool,
        by: &By,
    ) -> Result<(), ControlError> {
        let (old, new) = (Arc::clone(&before.checked.config), Arc::clone(&loaded.checked.config));
        let prepared = (old.log.access != new.log.access || old.log.format != new.log.format)
            .then(|| AccessLog::prepare(&new.log))
            .transpose()
            .map_err(|error| failed(&error))?;
        let admin = self.bind_admin(&old, &new).await?;
        let is_open = |address| old.server.listen.iter().any(|open| open.address == address);
        let added: Vec<SocketAddr> =
            new.server.listen.iter().map(|listen| listen.address).filter(|address| !is_open(*address)).collect();
        let own: Vec<SocketAddr> = self.daemon.listening().into_iter().map(|(_, real)| real).collect();
        let bound = server::bind(&added, self.daemon.workers.len(), &own).map_err(|error| failed(&error))?;
        let stamp =
            Stamp { generation: reloaded.generation, applied_us: unix_us(), actor: by.actor.clone(), door: by.door };
        let snapshot = {
            let (checked, stamp, before) = (loaded.checked.clone(), stamp.clone(), Arc::clone(before));
            let tls = loaded.tls.clone();
            let daemon = Arc::clone(&self.daemon);
            let compile = move || {
                Snapshot::compile(checked, tls, identities, stamp, Some(&before), &daemon.amid, daemon.now_us())
            };
            tokio::task::spawn_blocking(compile).await.map_err(|error| broken(&error))?
        };
        self.restore_files(what, &loaded).await?;
        let rollback_of = match what {
            What::Generation { number, .. } => Some(*number),
            What::Started | What::Path(_) => None,
        };
        let summary = changes::summary(&reloaded.changes);
        let headline = headline(&stamp, &loaded, summary, rollback_of, from_files);
        self.keep(Kept { headline, input: loaded.input.clone() }).await;

        self.daemon.store(Arc::new(snapshot));

        *lock(&self.in_force) = Arc::new(InForce { input: loaded.input, meaning: loaded.meaning, from_files });
        if let Some(prepared) = prepared {
            self.daemon.access_log.apply(prepared);
        }
        if old.log.level != new.log.level || old.log.format != new.log.format {
            self.daemon.diagnostics.apply(&new.log);
        }
        if old.audit != new.audit {
            self.daemon.audit.reconfigure(&new.audit);
        }
        if let Some(listener) = admin {
            self.admin.send_replace(listener);
        }
        server::hand_out(&self.daemon, bound).await;
        self.daemon.free_retired();
        Ok(())
    }

    async fn load(self: &Arc<Self>, what: &What) -> Result<Loaded, ControlError> {
        let (reload, wanted) = (Arc::clone(self), what.clone());
        let name = match what {
            What::Started => load::name(&self.daemon.source).to_string(),
            What::Path(path) => path.display().to_string(),
            What::Generation { number, .. } => format!("generation {number}"),
        };
        let read = move || match wanted {
            What::Started => load::read(&reload.daemon.source, None).map_err(|problems| invalid(&name, problems)),
            What::Path(path) => {
                load::read(&reload.daemon.source, Some(path)).map_err(|problems| invalid(&name, problems))
            }
            What::Generation { number, .. } => {
                let kept = reload.history.read(number).map_err(|error| failed(&error))?;
                let kept = kept.ok_or_else(|| reload.unknown(number))?;
                let sources = match &reload.daemon.source {
                    ConfigSource::Files(sources) => sources.clone(),
                    ConfigSource::BuiltIn => shared::config::Sources::default(),
                };
                load::check(load::under_today(kept.input, &sources)).map_err(|problems| invalid(&name, problems))
            }
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| broken(&error))?
    }

    /// What to say about a generation that is not kept.
    pub fn unknown(&self, number: u64) -> ControlError {
        let numbers = self.history.numbers().unwrap_or_default();
        let kept = match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => format!("kept are {first} to {last}"),
            _ => "none is kept".to_owned(),
        };
        ControlError::new(ErrorCode::NotFound, format!("generation {number} is not kept; {kept}"))
    }

    /// The HTTP door's next listener, where it is to change: `Some(None)` closes it.
    async fn bind_admin(&self, old: &Config, new: &Config) -> Result<Option<Option<Arc<TcpListener>>>, ControlError> {
        if old.admin.listen == new.admin.listen {
            return Ok(None);
        }
        match new.admin.listen {
            None => Ok(Some(None)),
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Ok(Some(Some(Arc::new(listener)))),
                Err(error) => {
                    Err(ControlError::new(ErrorCode::Failed, format!("admin.listen cannot be {address}: {error}")))
                }
            },
        }
    }

    /// With `rollback --write`: puts the sources back where they were read.
    async fn restore_files(&self, what: &What, loaded: &Loaded) -> Result<(), ControlError> {
        if !matches!(what, What::Generation { write: true, .. }) {
            return Ok(());
        }
        let texts: Vec<Text> = loaded.input.files.iter().chain(&loaded.input.overlay).cloned().collect();
        let write = move || texts.iter().try_for_each(restore);
        tokio::task::spawn_blocking(write).await.map_err(|error| broken(&error))?
    }

    /// Keeps a generation. A disk that is full is no reason to refuse a config that may be the remedy.
    async fn keep(self: &Arc<Self>, kept: Kept) {
        let reload = Arc::clone(self);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || reload.history.keep(&kept)).await {
            tracing::warn!(%error, "the generation could not be kept");
        }
    }

    fn newest(&self) -> u64 {
        self.history.newest().unwrap_or_else(|error| {
            tracing::warn!(%error, "the config history cannot be read");
            0
        })
    }

    fn note(&self, by: By, result: &Result<Reloaded, ControlError>) {
        let (outcome, message) = match result {
            Ok(reloaded) => ("done".to_owned(), changes::summary(&reloaded.changes)),
            Err(error) => (word(error.code), error.message.clone()),
        };
        match result {
            Ok(reloaded) => {
                tracing::info!(
                    generation = reloaded.generation,
                    applied = reloaded.applied,
                    door = by.door.as_str(),
                    actor = by.actor,
                    changes = message,
                    kept = reloaded.changes.kept.join(", "),
                    "config reloaded"
                );
            }
            Err(_) => {
                tracing::error!(
                    outcome,
                    door = by.door.as_str(),
                    actor = by.actor,
                    message,
                    "config not reloaded; the one before still serves"
                );
            }
        }
        *lock(&self.outcomes).entry(outcome.clone()).or_default() += 1;
        *lock(&self.last) = Some(Last { time_us: unix_us(), by, outcome, message });
    }
}

/// Writes a text back to its file, whole or not at all, with the permissions that the file has.
fn restore(text: &Text) -> Result<(), ControlError> {
    let path = Path::new(&*text.name);
    let write = || {
        // A link stays one: what it leads to is written.
        let path = std::fs::canonicalize(path)?;
        if std::fs::read(&path)? == text.text.as_bytes() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let unfinished =
            folder.join(format!(".{}.{}", path.file_name().unwrap_or_default().display(), std::process::id()));
        std::fs::write(&unfinished, text.text.as_bytes())?;
        std::fs::set_permissions(&unfinished, std::fs::metadata(&path)?.permissions())?;
        std::fs::File::open(&unfinished)?.sync_all()?;
        std::fs::rename(&unfinished, &path)
    };
    write().map_err(|error: std::io::Error| {
        let message = format!("{} cannot be restored: {error}; the config in force stays as it is", path.display());
        ControlError::new(ErrorCode::Failed, message)
    })
}

fn refuse_what_is_fixed(previous: &Config, next: &Config) -> Result<(), ControlError> {
    let fields = changes::fixed(previous, next);
    match &*fields {
        [] => Ok(()),
        [field] => {
            let message = format!("{field} cannot change while running: restart proxyd, or put its value back");
            Err(ControlError::new(ErrorCode::RestartRequired, message))
        }
        many => {
            let fields = many.join(", ");
            let message = format!("{fields} cannot change while running: restart proxyd, or put their values back");
            Err(ControlError::new(ErrorCode::RestartRequired, message))
        }
    }
}

fn invalid(name: &str, problems: Problems) -> ControlError {
    let message = format!("{problems} in {name}");
    ControlError { problems: problems.0, ..ControlError::new(ErrorCode::ConfigInvalid, message) }
}

fn failed(error: &dyn std::error::Error) -> ControlError {
    ControlError::new(ErrorCode::Failed, error.to_string())
}

/// A step that panicked or was cut off: a fault of ours.
fn broken(error: &tokio::task::JoinError) -> ControlError {
    tracing::error!(%error, "a step of a config change broke off");
    ControlError::new(ErrorCode::Failed, "a step of the change broke off; the log says more")
}

/// A code as the word that goes over the wire.
#[must_use]
pub fn word(code: ErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
