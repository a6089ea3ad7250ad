//! `validate`, `config` and `history`: what a config says, is, and was.

use std::sync::Arc;
use std::time::Duration;

use shared::config::{Input, Problem, References, load, masked};
use shared::control::report::{ConfigShown, GenerationLine, Validated};
use shared::control::{ConfigArgs, ControlError, ErrorCode, HistoryArgs, ValidateArgs};
use tokio::sync::Semaphore;

use super::{off_thread, rfc3339};
use crate::control::Reply;
use crate::daemon::Daemon;
use crate::reload::Reload;
use crate::reload::history::{Headline, HistoryError, Kept};
use crate::snapshot::Snapshot;

/// How long a check waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// Checks a text. Its author may read neither files nor variables here, so references are refused.
pub(super) async fn validate(args: ValidateArgs, checks: &Semaphore) -> Result<Reply, ControlError> {
    let busy = |_| ControlError::new(ErrorCode::Busy, "too many configs are checked at once; try again");
    let _turn = tokio::time::timeout(TURN, checks.acquire()).await.map_err(busy)?;
    let check = move || {
        let name = args.name.as_deref().unwrap_or("config");
        match load(&Input::text(name, &args.text), &References::Refuse) {
            Ok(checked) => valid(checked.warnings, checked.config.routes.len(), checked.config.upstreams.len()),
            Err(problems) => Validated { problems: problems.0, ..Validated::default() },
        }
    };
    Reply::one(&off_thread(check).await?)
}

fn valid(problems: Vec<Problem>, routes: usize, upstreams: usize) -> Validated {
    Validated { valid: true, problems, routes: routes as u64, upstreams: upstreams as u64 }
}

/// The effective config, made from the sources of the one in force; its secrets are masked.
pub(super) async fn show(snapshot: Arc<Snapshot>, args: ConfigArgs) -> Result<Reply, ControlError> {
    let make = move || {
        let effective = snapshot.checked.effective();
        let origins = effective.origins.into_iter().filter(|_| args.origin);
        Reply::one(&ConfigShown {
            generation: Some(snapshot.generation()),
            config: effective.tree,
            origins: origins.map(|(path, origin)| (path, origin.to_string())).collect(),
        })
    };
    off_thread(make).await?
}

/// The generations kept, oldest first; or one of them with its sources: as typed for operators, masked for others.
pub(super) async fn history(
    daemon: &Daemon,
    reload: &Arc<Reload>,
    args: &HistoryArgs,
    is_operator: bool,
) -> Result<Reply, ControlError> {
    let (reload, current) = (Arc::clone(reload), daemon.committed());
    let Some(number) = args.generation else {
        let store = reload.history().clone();
        let numbers = off_thread(move || store.numbers()).await?.map_err(|error| failed(&error))?;
        return Ok(Reply::stream(false, move |sink| async move {
            let mut count = 0u64;
            for number in numbers {
                let store = reload.history().clone();
                match off_thread(move || store.headline(number)).await {
                    Ok(Ok(Some(headline))) => {
                        count += 1;
                        if !sink.event(&line(headline, current)).await {
                            return;
                        }
                    }
                    // Gone since it was listed.
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => return sink.fail(failed(&error)).await,
                    Err(error) => return sink.fail(error).await,
                }
            }
            sink.end(&serde_json::json!({ "generations": count })).await;
        }));
    };
    let store = reload.history().clone();
    let kept = off_thread(move || store.read(number)).await?.map_err(|error| failed(&error))?;
    let kept = kept.ok_or_else(|| reload.unknown(number))?;
    Ok(Reply::stream(false, move |sink| async move {
        let sources = sources(&kept, is_operator);
        sink.event(&GenerationLine { sources, ..line(kept.headline, current) }).await;
        sink.end(&serde_json::json!({ "generations": 1 })).await;
    }))
}

fn line(headline: Headline, current: u64) -> GenerationLine {
    GenerationLine {
        generation: headline.generation,
        time: rfc3339(headline.time_us),
        actor: headline.actor,
        door: headline.door.as_str().to_owned(),
        hash: headline.hash,
        summary: headline.summary,
        current: headline.generation == current,
        rollback_of: headline.rollback_of,
        sources: Vec::new(),
    }
}

/// What a generation was made from, by name.
fn sources(kept: &Kept, as_typed: bool) -> Vec<(String, String)> {
    let shown = |text: &str| if as_typed { text.to_owned() } else { masked(text) };
    // Variables and `--set` are not lines of a config: their values are hidden whole.
    let value = |value: &str| if as_typed { value.to_owned() } else { shared::audit::Mask::hidden(value.len()) };
    let texts = kept.input.files.iter().chain(&kept.input.overlay);
    let variables = kept.input.environment.iter().map(|(name, text)| (format!("environment {name}"), value(text)));
    let set = kept.input.set.iter().map(|set| {
        let (path, text) = set.split_once('=').unwrap_or((set, ""));
        (format!("--set {path}"), value(text))
    });
    texts.map(|text| (text.name.to_string(), shown(&text.text))).chain(variables).chain(set).collect()
}

fn failed(error: &HistoryError) -> ControlError {
    ControlError::new(ErrorCode::Failed, error.to_string())
}
