//! The thread that owns the store: it gathers chunks into transactions, writes actions at once, and outlasts a store that
//! cannot be written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use records::{Entry, Store, StoreError, Written};
use shared::audit::{ActionFacts, Chunk, Gap};

use super::ledger::{Ledger, Lost, Stretch};
use super::now_us;
use super::writer::{Job, NotAudited, Shared, WaitingAction, keep_aside};

/// What wakes the thread.
#[derive(Debug)]
pub(super) enum Message {
    Chunk {
        worker: usize,
        chunk: Chunk,
    },
    /// Something else is to be looked at: actions, settings, the wish to stop.
    Wake,
}

/// Request rows of one transaction, about.
const BATCH_ROWS: usize = 4096;
/// Actions of one transaction.
const BATCH_ACTIONS: usize = 256;
/// How often an unwritable store is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often an idle store is looked at, and a gap is written while rows are being lost.
const IDLE: Duration = Duration::from_secs(1);

/// The thread's state.
pub(super) struct Appender {
    pub(super) store: Store,
    pub(super) inbox: Receiver<Message>,
    pub(super) ledgers: Vec<&'static Ledger>,
    pub(super) spares: Vec<SyncSender<Chunk>>,
    pub(super) housekeeping: SyncSender<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) pending: Pending,
}

/// What is to be written.
#[derive(Default)]
pub(super) struct Pending {
    chunks: VecDeque<(usize, Chunk)>,
    rows: usize,
    /// When the oldest of the chunks came.
    since: Option<Instant>,
    actions: VecDeque<WaitingAction>,
    lost: Lost,
    lost_actions: Stretch,
    gap_written: Option<Instant>,
    /// Some: the store cannot be written, and is tried again then.
    retry_at: Option<Instant>,
    /// What the failed transaction held: it may have reached the disk after all.
    doubtful: Option<Doubtful>,
}

enum Doubtful {
    Rows { chunks: usize },
    Actions { count: usize },
}

/// The rows of several workers in one order, that of their ends, so that they read as one story. None where one worker
/// wrote them all: they are in that order already.
fn in_order(chunks: &[&(usize, Chunk)]) -> Option<Chunk> {
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

impl Appender {
    /// Runs until it is told to stop, or until nobody is left who could send.
    pub(super) fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(self.patience()) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while self.pending.rows < BATCH_ROWS
                && let Ok(message) = self.inbox.try_recv()
            {
                self.take(message);
            }
            if self.shared.stop_within().is_some() {
                break;
            }
            self.turn(false);
        }
        self.finish();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Chunk { worker, chunk } => {
                self.pending.rows += chunk.len();
                self.pending.since.get_or_insert_with(Instant::now);
                self.pending.chunks.push_back((worker, chunk));
            }
            Message::Wake => {}
        }
    }

    /// How long it may sleep.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        match (self.pending.retry_at, self.pending.since) {
            (Some(retry_at), _) => retry_at.saturating_duration_since(now),
            (None, Some(since)) => (since + self.flush()).saturating_duration_since(now),
            (None, None) => IDLE,
        }
    }

    /// Half of the promised time: the other half passes in the workers' chunks.
    fn flush(&self) -> Duration {
        self.shared.flush() / 2
    }

    /// Writes what is due; with `all`, whatever there is.
    fn turn(&mut self, all: bool) {
        let (actions, lost_actions) = self.shared.take_actions();
        self.pending.actions.extend(actions);
        self.pending.lost_actions.join(lost_actions);
        for ledger in &self.ledgers {
            let lost = ledger.take_lost();
            self.shared.totals.shed.fetch_add(lost.shed.rows, Ordering::Relaxed);
            self.shared.totals.refused.fetch_add(lost.refused.rows, Ordering::Relaxed);
            self.pending.lost.shed.join(lost.shed);
            self.pending.lost.refused.join(lost.refused);
        }
        if let Some(limits) = self.shared.take_limits() {
            self.store.set_limits(limits);
        }
        let was_in_trouble = self.pending.retry_at.is_some();
        if let Some(retry_at) = self.pending.retry_at {
            if (Instant::now() < retry_at && !all) || !self.recover() {
                self.refuse_actions();
                return;
            }
        } else if self.pending.since.is_none()
            && let Err(error) = self.store.check()
        {
            self.trouble(&error);
            self.refuse_actions();
            return;
        }
        // Actions that had to wait for the store go first; otherwise they come after the requests that were there before.
        if was_in_trouble {
            self.write_actions();
        }
        let is_due = self.pending.since.is_some_and(|since| since.elapsed() >= self.flush());
        let has_actions = !self.pending.actions.is_empty();
        if all || is_due || has_actions || was_in_trouble || self.pending.rows >= BATCH_ROWS || self.is_gap_due() {
            self.write_rows(all);
        }
        self.write_actions();
        self.rotate();
    }

    /// Opens the store again. False: it still cannot be written.
    fn recover(&mut self) -> bool {
        match self.store.recover(now_us()) {
            Ok(landed) => {
                let doubtful = self.pending.doubtful.take().filter(|_| landed);
                match doubtful {
                    Some(Doubtful::Rows { chunks }) => self.settle(chunks),
                    Some(Doubtful::Actions { count }) => drop(self.pending.actions.drain(..count)),
                    None => {}
                }
                if self.pending.chunks.is_empty() && self.pending.actions.is_empty() {
                    self.well();
                } else {
                    self.pending.retry_at = None;
                }
                true
            }
            Err(error) => {
                self.trouble(&error);
                false
            }
        }
    }

    fn write_rows(&mut self, all: bool) {
        while self.pending.retry_at.is_none() {
            let gaps = if all || self.is_gap_due() { self.gaps() } else { Vec::new() };
            let mut rows = 0;
            let chunks = self.pending.chunks.iter().take_while(|(_, chunk)| {
                rows += chunk.len();
                rows <= BATCH_ROWS || rows == chunk.len()
            });
            let mut batch: Vec<_> = gaps.iter().map(Entry::Gap).collect();
            let parts: Vec<&(usize, Chunk)> = chunks.collect();
            let merged = in_order(&parts);
            match &merged {
                Some(merged) => batch.push(Entry::Requests(merged)),
                None => batch.extend(parts.iter().map(|(_, chunk)| Entry::Requests(chunk))),
            }
            if batch.is_empty() {
                return;
            }
            let chunks = parts.len();
            match write(&mut self.store, &self.shared, &batch, false) {
                Ok(_) => {
                    if !gaps.is_empty() {
                        self.pending.gap_written = Some(Instant::now());
                        self.shared.totals.gaps.fetch_add(gaps.len() as u64, Ordering::Relaxed);
                        self.pending.lost = Lost::default();
                        self.pending.lost_actions = Stretch::default();
                    }
                    self.settle(chunks);
                    self.well();
                }
                Err(error) => {
                    self.pending.doubtful = Some(Doubtful::Rows { chunks });
                    self.trouble(&error);
                }
            }
        }
    }

    fn write_actions(&mut self) {
        while self.pending.retry_at.is_none() && !self.pending.actions.is_empty() {
            let count = self.pending.actions.len().min(BATCH_ACTIONS);
            let batch: Vec<_> =
                self.pending.actions.iter().take(count).map(|waiting| Entry::Action(&waiting.facts)).collect();
            match write(&mut self.store, &self.shared, &batch, true) {
                Ok(written) => {
                    for (waiting, seq) in self.pending.actions.drain(..count).zip(written.first..) {
                        waiting.answer(Ok(seq));
                    }
                    self.shared.totals.actions.fetch_add(count as u64, Ordering::Relaxed);
                    self.well();
                }
                Err(error) => {
                    self.pending.doubtful = Some(Doubtful::Actions { count });
                    self.trouble(&error);
                }
            }
        }
        if self.pending.retry_at.is_some() {
            self.refuse_actions();
        }
    }

    /// Lets the callers go on; the rows are kept and written first when the store can be written.
    fn refuse_actions(&mut self) {
        for waiting in &mut self.pending.actions {
            waiting.refuse();
        }
        self.pending.lost_actions.join(keep_aside(&mut self.pending.actions));
    }

    /// The first chunks are written: their room is given back, and they to their workers.
    fn settle(&mut self, chunks: usize) {
        for (worker, mut chunk) in self.pending.chunks.drain(..chunks) {
            self.pending.rows -= chunk.len();
            self.shared.totals.rows.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(ledger) = self.ledgers.get(worker) {
                ledger.settle(chunk.len() as u64, chunk.text_bytes() as u64);
            }
            chunk.clear();
            if let Some(spare) = self.spares.get(worker) {
                // With enough spares already, or a worker that has ended, the chunk is let go.
                let _ = spare.try_send(chunk);
            }
        }
        if self.pending.chunks.is_empty() {
            self.pending.since = None;
        }
    }

    fn is_gap_due(&self) -> bool {
        let lost = &self.pending.lost;
        lost.shed.rows + lost.refused.rows + self.pending.lost_actions.rows > 0
            && self.pending.gap_written.is_none_or(|written| written.elapsed() >= IDLE)
    }

    /// What was lost, as rows.
    fn gaps(&self) -> Vec<Gap> {
        let lost = &self.pending.lost;
        [("shed", lost.shed), ("refused", lost.refused), ("actions_lost", self.pending.lost_actions)]
            .into_iter()
            .filter(|(_, stretch)| stretch.rows > 0)
            .map(|(reason, stretch)| Gap {
                time_us: now_us(),
                missing: Some(stretch.rows),
                from_us: Some(stretch.from_us),
                until_us: Some(stretch.until_us),
                reason: reason.to_owned(),
            })
            .collect()
    }

    fn rotate(&mut self) {
        if self.pending.retry_at.is_some() {
            return;
        }
        match self.store.rotate_if_due(now_us()) {
            Ok(Some(retired)) => {
                // Housekeeping that is behind finds the segment by itself later.
                let _ = self.housekeeping.try_send(Job(Some(retired)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the audit goes on in its old segment: a new one cannot be made"),
        }
    }

    fn trouble(&mut self, error: &StoreError) {
        self.pending.retry_at = Some(Instant::now() + RETRY);
        self.shared.totals.failures.fetch_add(1, Ordering::Relaxed);
        if self.shared.set_trouble(Some(error.to_string())) {
            tracing::error!(%error, "the audit store cannot be written; it is tried again until it can");
        }
    }

    fn well(&mut self) {
        self.pending.retry_at = None;
        self.pending.doubtful = None;
        if self.shared.set_trouble(None) {
            tracing::info!("the audit store can be written again");
        }
    }

    /// Writes everything, within the time that was given, and closes the store.
    fn finish(mut self) {
        let deadline = Instant::now() + self.shared.stop_within().unwrap_or(Duration::from_secs(5));
        let is_done = loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            self.turn(true);
            if self.pending.retry_at.is_none() && self.pending.chunks.is_empty() {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        // An unclean end is written down by the next start.
        let is_clean = is_done
            && match self.store.close() {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%error, "the audit store could not be closed cleanly");
                    false
                }
            };
        if !is_done {
            tracing::error!(
                rows = self.pending.rows,
                "audit rows are lost: the store could not be written until the end"
            );
        }
        self.shared.stopped(is_clean);
    }
}

/// One transaction, counted.
fn write(store: &mut Store, shared: &Shared, batch: &[Entry<'_>], durable: bool) -> Result<Written, StoreError> {
    let begun = Instant::now();
    let written = store.write(batch, durable)?;
    shared.totals.committed(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    shared.set_head(store.head());
    Ok(written)
}

impl WaitingAction {
    fn answer(self, result: Result<u64, NotAudited>) {
        if let Some(caller) = self.caller {
            // A caller that left needs no answer.
            let _ = caller.send(result);
        }
    }

    fn refuse(&mut self) {
        if let Some(caller) = self.caller.take() {
            let _ = caller.send(Err(NotAudited));
        }
    }
}

/// About how much memory an action's row takes while it waits.
pub(super) fn action_bytes(facts: &ActionFacts) -> usize {
    256 + facts.actor.len() + facts.command.len() + facts.arguments.len() + facts.message.len() + facts.changes.len()
}
