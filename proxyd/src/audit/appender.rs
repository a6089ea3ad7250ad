//! The thread that owns the store: it gathers chunks into transactions, writes actions at once, and outlasts a store that
//! cannot be written.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use records::{Entry, Limits, Store, StoreError, Written};
use shared::audit::{ActionFacts, Chunk, Gap};

use super::ledger::Ledger;
use super::now_us;
use super::pending::{Doubtful, Pending, in_order};
use super::succession::Tenure;
use super::writer::{Job, NotAudited, Shared, WaitingAction, keep_aside};

/// What wakes the thread.
#[derive(Debug)]
pub(super) enum Message {
    Chunk {
        worker: usize,
        chunk: Chunk,
    },
    /// What the process before ours did, or lost.
    Action(ActionFacts),
    Gap(Gap),
    /// Something else is to be looked at: actions, settings, the wish to stop.
    Wake,
}

/// Request rows of one transaction, about.
const BATCH_ROWS: usize = 4096;
/// Actions of one transaction.
const BATCH_ACTIONS: usize = 256;
/// How often an unwritable store is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often an idle store is looked at.
const IDLE: Duration = Duration::from_secs(1);

/// The thread's state.
pub(super) struct Appender {
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    /// None while somebody else has it, and while it cannot be opened.
    pub(super) store: Option<Store>,
    pub(super) tenure: Tenure,
    pub(super) inbox: Receiver<Message>,
    pub(super) ledgers: Vec<&'static Ledger>,
    pub(super) spares: Vec<SyncSender<Chunk>>,
    pub(super) housekeeping: SyncSender<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) pending: Pending,
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
            if let Some(order) = self.shared.take_order() {
                self.obey(order);
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
            Message::Chunk { worker, chunk } => self.pending.push(worker, chunk),
            Message::Action(facts) => self.pending.actions.push_back(WaitingAction { facts, caller: None }),
            Message::Gap(gap) => self.pending.told.push(gap),
            Message::Wake => {}
        }
    }

    pub(super) fn take_all(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            self.take(message);
        }
    }

    /// How long it may sleep.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        match &self.tenure {
            Tenure::Ours => {}
            Tenure::Heirs(heir) if heir.is_behind() => return Duration::ZERO,
            Tenure::Held | Tenure::Heirs(_) => return IDLE,
        }
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
    pub(super) fn turn(&mut self, all: bool) {
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
            self.limits = limits;
            if let Some(store) = &mut self.store {
                store.set_limits(limits);
            }
        }
        match self.tenure {
            Tenure::Ours => {}
            Tenure::Held => return,
            Tenure::Heirs(_) => return self.pass_on(),
        }
        let was_in_trouble = self.pending.retry_at.is_some();
        if let Some(retry_at) = self.pending.retry_at {
            if (Instant::now() < retry_at && !all) || !self.recover() {
                self.refuse_actions();
                return;
            }
        } else if self.pending.since.is_none()
            && let Some(Err(error)) = self.store.as_ref().map(Store::check)
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
        if all
            || is_due
            || has_actions
            || was_in_trouble
            || self.pending.rows >= BATCH_ROWS
            || self.pending.is_gap_due()
        {
            self.write_rows(all);
        }
        self.write_actions();
        self.rotate();
    }

    /// Opens the store again. False: it still cannot be written.
    fn recover(&mut self) -> bool {
        let recovered = match &mut self.store {
            Some(store) => store.recover(now_us()),
            None => self.open_store().map(|()| false),
        };
        match recovered {
            Ok(landed) => {
                let doubtful = self.pending.doubtful.take().filter(|_| landed);
                match doubtful {
                    Some(Doubtful::Rows { chunks }) => self.settle_first(chunks),
                    Some(Doubtful::Actions { count }) => drop(self.pending.actions.drain(..count)),
                    None => {}
                }
                if self.pending.is_empty() {
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
            let Some(store) = &mut self.store else { return };
            let gaps = if all || self.pending.is_gap_due() { self.pending.gaps() } else { Vec::new() };
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
            match write(store, &self.shared, &batch, false) {
                Ok(_) => {
                    if !gaps.is_empty() {
                        self.pending.gaps_are_written();
                        self.shared.totals.gaps.fetch_add(gaps.len() as u64, Ordering::Relaxed);
                    }
                    self.settle_first(chunks);
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
            let Some(store) = &mut self.store else { return };
            let count = self.pending.actions.len().min(BATCH_ACTIONS);
            let batch: Vec<_> =
                self.pending.actions.iter().take(count).map(|waiting| Entry::Action(&waiting.facts)).collect();
            match write(store, &self.shared, &batch, true) {
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

    fn settle_first(&mut self, chunks: usize) {
        Self::settle(&mut self.pending, &self.shared, &self.ledgers, &self.spares, chunks);
    }

    /// The first chunks are written: their room is given back, and they to their workers.
    pub(super) fn settle(
        pending: &mut Pending,
        shared: &Shared,
        ledgers: &[&'static Ledger],
        spares: &[SyncSender<Chunk>],
        chunks: usize,
    ) {
        for (worker, mut chunk) in pending.chunks.drain(..chunks) {
            pending.rows -= chunk.len();
            shared.totals.rows.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(ledger) = ledgers.get(worker) {
                ledger.settle(chunk.len() as u64, chunk.text_bytes() as u64);
            }
            chunk.clear();
            if let Some(spare) = spares.get(worker) {
                // With enough spares already, or a worker that has ended, the chunk is let go.
                let _ = spare.try_send(chunk);
            }
        }
        if pending.chunks.is_empty() {
            pending.since = None;
        }
    }

    fn rotate(&mut self) {
        if self.pending.retry_at.is_some() {
            return;
        }
        let Some(store) = &mut self.store else { return };
        match store.rotate_if_due(now_us()) {
            Ok(Some(retired)) => {
                // Housekeeping that is behind finds the segment by itself later.
                let _ = self.housekeeping.try_send(Job(Some(retired)));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the audit goes on in its old segment: a new one cannot be made"),
        }
    }

    pub(super) fn trouble(&mut self, error: &StoreError) {
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
        if matches!(self.tenure, Tenure::Held) {
            self.take_back();
        }
        let is_done = loop {
            self.take_all();
            self.turn(true);
            let is_written = match self.tenure {
                Tenure::Heirs(_) => self.part(),
                Tenure::Ours | Tenure::Held => self.pending.retry_at.is_none() && self.pending.chunks.is_empty(),
            };
            if is_written {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        // An unclean end is written down by the next start.
        let is_clean = is_done
            && match self.store.map(Store::close) {
                Some(Ok(())) | None => true,
                Some(Err(error)) => {
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
    pub(super) fn answer(self, result: Result<u64, NotAudited>) {
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
