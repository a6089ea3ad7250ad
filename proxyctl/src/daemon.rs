//! A command given to a daemon: asked, and its answer shown as it comes in.

use std::time::Duration;

use serde_json::Value;
use shared::audit::Row;
use shared::control::report::{AuditVerified, Reloaded};
use shared::control::{Answer, Command};

use crate::cli::{Format, Global};
use crate::client::{Answers, Client, Surroundings};
use crate::failure::Failure;
use crate::render::{self, audit, time};
use crate::screen::Screen;

/// How many rows `audit` shows when nobody says.
const AUDIT_ROWS: u32 = 50;

/// Asks the daemon that `global` means, and shows what it says.
pub(crate) async fn ask(
    command: Command,
    global: &Global,
    surroundings: &Surroundings,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut command = command;
    if let Command::Reload(args) = &mut command
        && let Some(path) = args.config.as_mut().filter(|_| global.url.is_none())
        && let Ok(absolute) = std::path::absolute(&*path)
    {
        // The daemon has a working directory of its own.
        *path = absolute.to_string_lossy().into_owned();
    }
    let mut client = Client::open(global, surroundings).await?;
    if client.tells_secrets() {
        screen.remark("warning: the credentials go to that host over plain HTTP, readable by anybody on the way");
    }
    let mut answers = client.ask(&command, patience(&command, global)).await?;
    match answers.next().await? {
        Answer::Ok(reply) => whole(&command, reply, screen),
        first @ (Answer::Event(_) | Answer::End(_) | Answer::Error(_)) => {
            stream(&command, first, &mut answers, screen).await
        }
    }
}

/// Following ends when the person ends it, and proving a long chain takes what it takes.
fn patience(command: &Command, global: &Global) -> Option<Duration> {
    let follows = matches!(command, Command::Audit(query) if query.follow);
    let proves = matches!(command, Command::AuditVerify(_));
    (!follows && !proves).then(|| Duration::from_secs(global.timeout))
}

fn whole(command: &Command, mut reply: Value, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let broken =
        matches!(command, Command::AuditVerify(_)) && !render::read::<AuditVerified>(command, reply.clone())?.intact;
    if screen.look.format == Format::Json {
        time::add_iso(&mut reply);
        screen.page(&reply)?;
    } else {
        if matches!(command, Command::Reload(_) | Command::Rollback(_)) {
            let reloaded: Reloaded = render::read(command, reply.clone())?;
            screen.problems(&reloaded.warnings);
        }
        let text = render::document(command, reply, &screen.look)?;
        screen.text(&text)?;
    }
    if broken { Err(Failure::Printed) } else { Ok(()) }
}

/// Shows rows: one by one where a program reads them or they are followed, else as one table.
async fn stream(
    command: &Command,
    first: Answer,
    answers: &mut Answers<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let follow = matches!(command, Command::Audit(query) if query.follow);
    let mut table = Vec::new();
    let mut rows = 0;
    let mut first_seq = None;
    if screen.look.format == Format::Csv {
        screen.text(&csv_line(audit::CSV_COLUMNS)?)?;
    }
    let mut answer = first;
    let end = loop {
        match answer {
            Answer::Ok(row) | Answer::Event(row) => {
                rows += 1;
                first_seq = first_seq.or_else(|| row.get("seq").and_then(Value::as_u64));
                match screen.look.format {
                    Format::Json => {
                        let mut row = row;
                        time::add_iso(&mut row);
                        screen.line(&row)?;
                    }
                    Format::Csv => screen.text(&csv_line(audit::csv_cells(&row))?)?,
                    Format::Table if follow => {
                        let row: Row = render::read(command, row)?;
                        screen.text(&audit::line(&row, &screen.look))?;
                    }
                    Format::Table => table.push(row),
                }
            }
            Answer::End(end) => break end,
            Answer::Error(error) => return Err(error.into()),
        }
        answer = answers.next().await?;
    };
    if screen.look.format == Format::Table && !follow {
        let text = render::rows(command, table, &screen.look)?;
        screen.text(&text)?;
    }
    if let Command::Audit(query) = command
        && let Some(note) = audit::note(rows, query.last.unwrap_or(AUDIT_ROWS), first_seq, &end)
        && !follow
    {
        screen.remark(&note);
    }
    Ok(())
}

fn csv_line<T: AsRef<[u8]>>(cells: impl IntoIterator<Item = T>) -> Result<String, Failure> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let written = writer.write_record(cells).map_err(std::io::Error::other);
    let bytes = written.and_then(|()| writer.into_inner().map_err(csv::IntoInnerError::into_error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks for one whole reply, for those who look at it themselves.
pub(crate) async fn reply(client: &mut Client, command: &Command, patience: Duration) -> Result<Value, Failure> {
    let mut answers = client.ask(command, Some(patience)).await?;
    match answers.next().await? {
        Answer::Ok(reply) | Answer::Event(reply) | Answer::End(reply) => Ok(reply),
        Answer::Error(error) => Err(error.into()),
    }
}
