//! What answers look like to people. Pure: values and a look in, text out; the screen writes it.

pub(crate) mod audit;
mod config;
mod explain;
mod history;
mod identity;
mod limits;
pub(crate) mod problems;
mod reload;
mod routes;
mod status;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod time;
mod upstreams;

use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::control::report;
use shared::control::{Command, ErrorCode};

use crate::failure::Failure;
use crate::screen::Look;

pub(crate) use config::shown as config;
pub(crate) use explain::explanation;

/// A whole reply as text.
pub(crate) fn document(command: &Command, reply: Value, look: &Look) -> Result<String, Failure> {
    Ok(match command {
        Command::Status(_) => status::status(&read(command, reply)?, look),
        Command::Explain(_) => explain::explanation(&read(command, reply)?, look),
        Command::Reload(_) | Command::Rollback(_) => reload::reloaded(&read(command, reply)?, look),
        Command::Validate(_) => problems::validated(&read(command, reply)?, look),
        Command::Config(_) => config::shown(&read(command, reply)?),
        Command::AuditHead(_) => {
            let head: report::AuditHead = read(command, reply)?;
            format!("{}\n", text::plain(&head.head))
        }
        Command::AuditVerify(_) => audit::verified(&read(command, reply)?, look),
        Command::UpstreamsSet(_) => upstreams::set(&read(command, reply)?),
        Command::UpstreamsRegister(_) => upstreams::registered(&read(command, reply)?, look),
        Command::UpstreamsDeregister(_) => upstreams::gone(&read(command, reply)?),
        Command::KeysCreate(_) | Command::KeysRotate(_) => identity::key_made(&read(command, reply)?, look),
        Command::KeysRevoke(_) => identity::key_revoked(&read(command, reply)?),
        Command::TokensRevoke(_) => identity::token_revoked(&read(command, reply)?, look),
        Command::UsersAdd(_) | Command::UsersSet(_) | Command::UsersPassword(_) | Command::UsersRemove(_) => {
            identity::user_changed(command, &read(command, reply)?)
        }
        Command::BansAdd(_) | Command::BansLift(_) => identity::ban_changed(&read(command, reply)?, look),
        Command::LimitsReset(_) => limits::reset(&read(command, reply)?),
        Command::LogLevel(_) => {
            let level: report::LogLevel = read(command, reply)?;
            let (now, before) = (text::plain(&level.level), text::plain(&level.before));
            format!("log level is {now} (was {before}) until the daemon starts again\n")
        }
        Command::Upgrade(_) => {
            let upgraded: report::Upgraded = read(command, reply)?;
            let (now, before) = (text::plain(&upgraded.version), text::plain(&upgraded.version_before));
            format!(
                "process {} ({now}) serves, {} ms after it was asked for\nprocess {} ({before}) finishes {} on {}\n",
                upgraded.pid,
                upgraded.took_ms,
                upgraded.pid_before,
                text::count(upgraded.in_flight, "request", "requests"),
                text::count(upgraded.connections, "connection", "connections"),
            )
        }
        Command::Shutdown(_) => {
            let stopping: report::Stopping = read(command, reply)?;
            match stopping.in_flight {
                0 => "stopping: no request is under way\n".to_owned(),
                some => format!(
                    "stopping: {} under way, given up to {}\n",
                    text::count(some, "request", "requests"),
                    time::span(stopping.drain)
                ),
            }
        }
        Command::Routes(_)
        | Command::History(_)
        | Command::Audit(_)
        | Command::Upstreams(_)
        | Command::Keys(_)
        | Command::Tokens(_)
        | Command::Users(_)
        | Command::Bans(_)
        | Command::Limits(_)
        | Command::LimitsTop(_) => rows(command, vec![reply], look)?,
    })
}

/// A stream's rows as a table.
pub(crate) fn rows(command: &Command, rows: Vec<Value>, look: &Look) -> Result<String, Failure> {
    Ok(match command {
        Command::Routes(_) => routes::routes(&read_all(command, rows)?, look),
        Command::History(_) => history::history(&read_all(command, rows)?, look),
        Command::Audit(_) => audit::rows(&read_all(command, rows)?, look),
        Command::Upstreams(_) => upstreams::upstreams(&read_all(command, rows)?, look),
        Command::Keys(_) => identity::keys(&read_all(command, rows)?, look),
        Command::Tokens(_) => identity::tokens(&read_all(command, rows)?, look),
        Command::Users(_) => identity::users(&read_all(command, rows)?, look),
        Command::Bans(_) => identity::bans(&read_all(command, rows)?, look),
        Command::Limits(_) => limits::limits(&read_all(command, rows)?, look),
        Command::LimitsTop(_) => limits::top(&read_all(command, rows)?, look),
        Command::Status(_)
        | Command::Explain(_)
        | Command::Reload(_)
        | Command::Validate(_)
        | Command::Config(_)
        | Command::Rollback(_)
        | Command::AuditHead(_)
        | Command::AuditVerify(_)
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
        | Command::Shutdown(_) => {
            let mut shown = String::new();
            for row in rows {
                shown.push_str(&document(command, row, look)?);
            }
            shown
        }
    })
}

/// A reply in its type.
pub(crate) fn read<T: DeserializeOwned>(command: &Command, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| {
        let message = format!("the answer to `{}` is not understood: {error}", command.name());
        Failure::new(ErrorCode::Failed, message)
            .hint("proxyctl and the daemon are of different versions; --output json shows the answer as it came.")
    })
}

fn read_all<T: DeserializeOwned>(command: &Command, values: Vec<Value>) -> Result<Vec<T>, Failure> {
    values.into_iter().map(|value| read(command, value)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
