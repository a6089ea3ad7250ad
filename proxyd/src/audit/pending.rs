//! What the writing thread has taken over and not yet put away: rows, actions, and what is to be said about rows that are lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shared::audit::{ActionFacts, Chunk, Gap};

use super::ledger::{Lost, Stretch};
use super::now_us;
use super::writer::WaitingAction;

/// How often a gap is written while rows are being lost.
const GAP_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) chunks: VecDeque<(usize, Chunk)>,
    pub(super) rows: usize,
    /// When the oldest of the chunks came.
    pub(super) since: Option<Instant>,
    pub(super) actions: VecDeque<WaitingAction>,
    pub(super) lost: Lost,
    pub(super) lost_actions: Stretch,
    /// Gaps that somebody else found.
    pub(super) told: Vec<Gap>,
    gap_written: Option<Instant>,
    /// Some: the store cannot be written, and is tried again then.
    pub(super) retry_at: Option<Instant>,
    /// What the failed transaction held: it may have reached the disk after all.
    pub(super) doubtful: Option<Doubtful>,
}

pub(super) enum Doubtful {
    Rows { chunks: usize },
    Actions { count: usize },
}

impl Pending {
    pub(super) fn push(&mut self, worker: usize, chunk: Chunk) {
        self.rows += chunk.len();
        self.since.get_or_insert_with(Instant::now);
        self.chunks.push_back((worker, chunk));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.actions.is_empty()
    }

    pub(super) fn is_gap_due(&self) -> bool {
        !self.told.is_empty()
            || self.lost.shed.rows + self.lost.refused.rows + self.lost_actions.rows > 0
                && self.gap_written.is_none_or(|written| written.elapsed() >= GAP_EVERY)
    }

    /// What was lost, as rows.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let ours = [("shed", self.lost.shed), ("refused", self.lost.refused), ("actions_lost", self.lost_actions)];
        let ours = ours.into_iter().filter(|(_, stretch)| stretch.rows > 0).map(|(reason, stretch)| Gap {
            time_us: now_us(),
            missing: Some(stretch.rows),
            from_us: Some(stretch.from_us),
            until_us: Some(stretch.until_us),
            reason: reason.to_owned(),
        });
        self.told.iter().cloned().chain(ours).collect()
    }

    /// Puts what was lost into words, to be passed on.
    pub(super) fn tell_gaps(&mut self) {
        let told = self.gaps();
        self.gaps_are_written();
        self.told = told;
    }

    /// What [`Self::gaps`] said is written down.
    pub(super) fn gaps_are_written(&mut self) {
        self.gap_written = Some(Instant::now());
        self.lost = Lost::default();
        self.lost_actions = Stretch::default();
        self.told.clear();
    }
}

/// The rows of several workers in one order, that of their ends, so that they read as one story. None where one worker
/// wrote them all: they are in that order already.
pub(super) fn in_order(chunks: &[&(usize, Chunk)]) -> Option<Chunk> {
    let (first, rest) = chunks.split_first()?;
    if rest.iter().all(|(worker, _)| *worker == first.0) {
        return None;
    }
    let mut rows: Vec<_> = chunks.iter().flat_map(|(_, chunk)| chunk.iter()).collect();
    rows.sort_by_key(|row| row.time_us.saturating_add_unsigned(row.duration_us));
    let mut merged = Chunk::with_capacity(rows.len());
    for row in &rows {
        merged.push(row);
    }
    Some(merged)
}

/// About how much memory an action's row takes while it waits.
pub(super) fn action_bytes(facts: &ActionFacts) -> usize {
    256 + facts.actor.len() + facts.command.len() + facts.arguments.len() + facts.message.len() + facts.changes.len()
}
