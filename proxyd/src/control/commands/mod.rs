//! The one executor: may the caller, then what the command does, then its row in the audit. Each group of commands has
//! its file; nothing here knows through which door a command came, but for what only the socket may ask.

mod audit;
mod bans;
mod config;
mod endpoints;
mod keys;
mod known;
mod limits;
mod masking;
mod metrics;
mod outside;
mod routes;
mod status;
mod tokens;
mod upstreams;
mod users;

pub(super) use endpoints::facts;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use shared::audit::{ActionFacts, Door};
use shared::config::{Config, Role};
use shared::control::report::{LogLevel, Reloaded, Stopping};
use shared::control::{Access, Command, ControlError, ErrorCode, LogLevelArgs, ReloadArgs, RollbackArgs};
use tokio::sync::{Semaphore, oneshot};

use super::{Caller, Executor, Reply};
use crate::daemon::{Daemon, Life, Wish};
use crate::health;
use crate::reload::{By, Reload, What, word};
use crate::telemetry::clock::{TimeText, unix_us};

/// The daemon, as the doors see it.
#[derive(Clone)]
pub struct Control {
    daemon: Arc<Daemon>,
    reload: Arc<Reload>,
    /// Posted configs that are checked at once: each may take many times its size while it is.
    checks: Arc<Semaphore>,
}

/// How many.
const CHECKS: usize = 2;

impl Executor for Control {
    async fn run(&self, command: Command, caller: &Caller) -> Result<Reply, ControlError> {
        if let Err(refusal) = permit(&command, caller) {
            return Err(self.refuse(&command, caller, refusal).await);
        }
        if !command.is_action() {
            return self.read(command, caller).await;
        }
        // On a task of its own: a caller that leaves does not cut a change in half, nor its row.
        let (control, caller) = (self.clone(), caller.clone());
        let done = tokio::spawn(async move { control.act(command, &caller).await });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a command broke off");
            Err(ControlError::new(ErrorCode::Failed, "the command broke off; the log says more"))
        })
    }

    async fn turned_away(&self, caller: &Caller, asked: &str, error: &ControlError) {
        let arguments = json!({ "request": asked }).to_string();
        self.record("authenticate", arguments, caller, self.daemon.committed(), Err(error)).await;
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.daemon.snapshot().checked.config)
    }

    fn health(&self, rest: &str) -> Option<(u16, String)> {
        health::answer(&self.daemon, rest)
    }

    fn metrics(&self) -> String {
        metrics::page(&self.daemon, &self.reload)
    }
}

/// Whether the caller may give the command.
fn permit(command: &Command, caller: &Caller) -> Result<(), &'static str> {
    let Some(access) = caller.access else {
        return Err("this user may not use the control socket; its owner, root and members of its group may");
    };
    if !access.allows(command) {
        return Err(match access {
            Access::Local if !command.is_action() => {
                "this needs a role: use the control socket, or set admin.auth and log in"
            }
            Access::Local => "this needs an operator: use the control socket, or set admin.auth and log in",
            Access::Role(_) if Access::Role(Role::Registrar).allows(command) => {
                "this needs the role registrar or operator"
            }
            Access::Role(_) => "this needs the role operator",
        });
    }
    let names_a_path = matches!(command, Command::Reload(ReloadArgs { config: Some(_), .. }));
    if names_a_path && (caller.door != Door::Socket || !is_operator(caller)) {
        return Err("a path to load is taken only over the control socket");
    }
    Ok(())
}

fn is_operator(caller: &Caller) -> bool {
    caller.access == Some(Access::Role(Role::Operator))
}

impl Control {
    #[must_use]
    pub fn new(daemon: Arc<Daemon>, reload: Arc<Reload>) -> Self {
        Self { daemon, reload, checks: Arc::new(Semaphore::new(CHECKS)) }
    }

    async fn refuse(&self, command: &Command, caller: &Caller, reason: &str) -> ControlError {
        let mut error = ControlError::new(ErrorCode::NotPermitted, reason);
        let arguments = self.masked(command);
        error.audited = self.record(command.name(), arguments, caller, self.daemon.committed(), Err(&error)).await;
        error
    }

    /// A command that changes nothing.
    async fn read(&self, command: Command, caller: &Caller) -> Result<Reply, ControlError> {
        match command {
            Command::Status(_) => Reply::one(&status::status(&self.daemon, &self.reload).await),
            Command::Routes(args) => Ok(routes::list(self.daemon.snapshot(), args)),
            Command::Explain(args) => {
                let client = caller.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                routes::explain(&self.daemon.amid.identity, self.daemon.snapshot(), args, client).await
            }
            Command::Validate(args) => config::validate(args, &self.checks).await,
            Command::Config(args) => config::show(self.daemon.snapshot(), args).await,
            Command::History(args) => config::history(&self.daemon, &self.reload, &args, is_operator(caller)).await,
            Command::Audit(query) => audit::rows(Arc::clone(&self.daemon.audit), &query).await,
            Command::AuditHead(_) => Reply::one(&self.daemon.audit.head()),
            Command::AuditVerify(args) => Reply::one(&self.daemon.audit.verify(args.head.as_deref()).await?),
            Command::Upstreams(args) => Ok(upstreams::list(&self.daemon, args)),
            Command::Keys(_) => keys::list(&self.daemon.amid.identity).await,
            Command::Tokens(_) => tokens::list(&self.daemon.amid.identity, &self.config()).await,
            Command::Users(_) => users::list(&self.daemon.amid.identity).await,
            Command::Bans(_) => Ok(bans::list(&self.daemon.amid.identity, &self.config())),
            Command::Limits(args) => limits::list(&self.daemon, &self.daemon.amid.identity, args).await,
            Command::LimitsTop(args) => limits::top(&self.daemon, args).await,
            Command::Reload(_)
            | Command::Rollback(_)
            | Command::UpstreamsSet(_)
            | Command::UpstreamsRegister(_)
            | Command::UpstreamsDeregister(_)
            | Command::KeysCreate(_)
            | Command::KeysRevoke(_)
            | Command::KeysRotate(_)
            | Command::TokensRevoke(_)
            | Command::UsersAdd(_)
            | Command::UsersSet(_)
            | Command::UsersPassword(_)
            | Command::UsersRemove(_)
            | Command::BansAdd(_)
            | Command::BansLift(_)
            | Command::LimitsReset(_)
            | Command::LogLevel(_)
            | Command::Upgrade(_)
            | Command::Shutdown(_) => Err(ControlError::new(ErrorCode::UnknownCommand, "this is not a question")),
        }
    }

    /// A command that changes something: done, then on record, then answered.
    async fn act(&self, command: Command, caller: &Caller) -> Result<Reply, ControlError> {
        if let Command::Upgrade(_) = command {
            return self.upgrade(caller).await;
        }
        let (name, arguments) = (command.name(), self.masked(&command));
        let before = self.daemon.committed();
        let stops = matches!(command, Command::Shutdown(_));
        let mut outcome = self.change(command, caller).await;
        if outcome.as_ref().is_ok_and(|answer| answer.get("renewed").is_some_and(|renewed| renewed == true)) {
            // A sign of life, every few seconds, that changes nothing.
            return outcome.map(Reply::One);
        }
        let audited = self.record(name, arguments, caller, before, outcome.as_ref()).await;
        match &mut outcome {
            Ok(Value::Object(answer)) => {
                answer.insert("audited".to_owned(), Value::Bool(audited));
            }
            Ok(_) => {}
            Err(error) => error.audited = audited,
        }
        if stops && outcome.is_ok() {
            self.daemon.enter(Life::Draining);
        }
        outcome.map(Reply::One)
    }

    /// Lets another process take over. On record before the store changes hands, as begun; that it went well is the new
    /// process's own row, and only a failure is a second one of ours.
    async fn upgrade(&self, caller: &Caller) -> Result<Reply, ControlError> {
        let (name, arguments, generation) = ("upgrade", "{}".to_owned(), self.daemon.committed());
        let begun = self.facts(name, arguments.clone(), caller, generation, "begun".to_owned());
        let (told, outcome) = oneshot::channel();
        let outcome = match self.daemon.wish(Wish { begun, told }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| {
                Err(ControlError::new(ErrorCode::Stopping, "the daemon is stopping; nothing takes over from it"))
            }),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(upgraded) => answer(&upgraded).map(Reply::One),
            Err(mut error) => {
                error.audited = self.record(name, arguments, caller, generation, Err(&error)).await;
                Err(error)
            }
        }
    }

    async fn change(&self, command: Command, caller: &Caller) -> Result<Value, ControlError> {
        let by = By { door: caller.door, actor: caller.actor.clone() };
        let known = &self.daemon.amid.identity;
        match command {
            Command::Reload(ReloadArgs { dry_run, config }) => {
                let what = config.map_or(Ok(What::Started), |path| absolute(&path).map(What::Path))?;
                answer(&self.reloaded(what, dry_run, by, caller).await?)
            }
            Command::Rollback(RollbackArgs { generation, write }) => {
                let what = What::Generation { number: generation, write };
                answer(&self.reloaded(what, false, by, caller).await?)
            }
            Command::UpstreamsSet(args) => answer(&endpoints::set(&self.daemon, args).await?),
            Command::UpstreamsRegister(args) => answer(&endpoints::register(&self.daemon, args).await?),
            Command::UpstreamsDeregister(args) => answer(&endpoints::deregister(&self.daemon, args).await?),
            Command::KeysCreate(args) => {
                answer(&keys::create(known, &self.daemon.snapshot(), args, &caller.actor).await?)
            }
            Command::KeysRevoke(args) => answer(&keys::revoke(known, args).await?),
            Command::KeysRotate(args) => answer(&keys::rotate(known, args).await?),
            Command::TokensRevoke(args) => {
                answer(&tokens::revoke(known, &self.daemon.snapshot(), args, &caller.actor).await?)
            }
            Command::UsersAdd(args) => answer(&users::add(known, &self.config(), args).await?),
            Command::UsersSet(args) => answer(&users::set(known, args).await?),
            Command::UsersPassword(args) => answer(&users::password(known, &self.config(), args).await?),
            Command::UsersRemove(args) => answer(&users::remove(known, args).await?),
            Command::BansAdd(args) => answer(&bans::add(known, &self.config(), args, &caller.actor).await?),
            Command::BansLift(args) => answer(&bans::lift(known, args).await?),
            Command::LimitsReset(args) => {
                answer(&limits::reset(&self.daemon, &self.daemon.amid.identity, &args).await?)
            }
            Command::LogLevel(LogLevelArgs { level }) => {
                let before = self.daemon.diagnostics.set_level(level);
                let (level, before) = (level.as_str().to_owned(), before.as_str().to_owned());
                answer(&LogLevel { level, before, audited: true })
            }
            Command::Shutdown(_) => answer(&Stopping {
                drain: self.daemon.snapshot().checked.config.server.timeouts.drain.as_secs(),
                in_flight: self.daemon.metrics.totals().in_flight,
                audited: true,
            }),
            Command::Status(_)
            | Command::Routes(_)
            | Command::Explain(_)
            | Command::Validate(_)
            | Command::Config(_)
            | Command::History(_)
            | Command::Audit(_)
            | Command::AuditHead(_)
            | Command::AuditVerify(_)
            | Command::Upstreams(_)
            | Command::Keys(_)
            | Command::Tokens(_)
            | Command::Users(_)
            | Command::Bans(_)
            | Command::Limits(_)
            | Command::LimitsTop(_)
            | Command::Upgrade(_) => Err(ControlError::new(ErrorCode::UnknownCommand, "this changes nothing here")),
        }
    }

    /// The files' lines are quoted only to those who may read the files.
    async fn reloaded(&self, what: What, dry_run: bool, by: By, caller: &Caller) -> Result<Reloaded, ControlError> {
        let mut result = self.reload.change(what, dry_run, by).await;
        if !is_operator(caller) {
            let problems = match &mut result {
                Ok(reloaded) => &mut reloaded.warnings,
                Err(error) => &mut error.problems,
            };
            for problem in problems {
                problem.excerpt = None;
            }
        }
        result
    }

    /// Puts an action or a refusal on record. Whether its row is on disk.
    async fn record(
        &self,
        command: &str,
        arguments: String,
        caller: &Caller,
        generation_before: u64,
        outcome: Result<&Value, &ControlError>,
    ) -> bool {
        let changes = outcome.ok().filter(|answer| answer.get("applied").is_none_or(|applied| applied == true));
        let changes = changes.and_then(|answer| answer.get("changes").or(answer.get("before")).or(answer.get("reset")));
        let word = outcome.map_or_else(|error| word(error.code), |_| "done".to_owned());
        let facts = ActionFacts {
            message: outcome.err().map(|error| error.message.clone()).unwrap_or_default(),
            changes: changes.map(Value::to_string).unwrap_or_default(),
            ..self.facts(command, arguments, caller, generation_before, word)
        };
        let audited = self.daemon.audit.act(facts).await.is_ok();
        if !audited {
            tracing::warn!(
                command,
                actor = caller.actor,
                "the action's audit row is kept aside: the store cannot be written"
            );
        }
        audited
    }

    fn facts(
        &self,
        command: &str,
        arguments: String,
        caller: &Caller,
        generation_before: u64,
        outcome: String,
    ) -> ActionFacts {
        ActionFacts {
            time_us: unix_us(),
            door: caller.door,
            actor: caller.actor.clone(),
            command: command.to_owned(),
            arguments,
            outcome,
            message: String::new(),
            generation_before,
            generation_after: self.daemon.committed(),
            changes: String::new(),
        }
    }

    fn masked(&self, command: &Command) -> String {
        masking::arguments(command, &self.daemon.snapshot().mask)
    }
}

fn answer(report: &impl serde::Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(report)
        .map_err(|error| ControlError::new(ErrorCode::Failed, format!("the answer cannot be written as JSON: {error}")))
}

/// Work that may wait for a disk or take its time, off the control thread.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a command's work broke off");
        ControlError::new(ErrorCode::Failed, "the command broke off; the log says more")
    })
}

fn absolute(path: &str) -> Result<PathBuf, ControlError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let message = format!("{} is not absolute: the daemon does not know where it is relative to", path.display());
    Err(ControlError::new(ErrorCode::InvalidArguments, message))
}

/// A time as people and programs read it: RFC 3339, UTC.
fn rfc3339(unix_us: i64) -> String {
    let mut text = Vec::new();
    TimeText::default().rfc3339(unix_us, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
