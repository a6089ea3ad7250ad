//! The control side's handle on the audit: actions, state, numbers, settings, and the clean end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use records::{Head, Limits, Retired, Store};
use shared::audit::{ActionFacts, Chunk};
use shared::config::{Audit, Keep};
use shared::control::report::AuditState;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore, oneshot};

use super::appender::{Appender, Message};
use super::ledger::{Ledger, Numbers, Stretch, Totals};
use super::pending::{Pending, action_bytes};
use super::succession::{Order, Tenure};
use super::{AuditError, now_us, when_full_number};
use crate::threads;

/// The action's row is not on disk. It is kept aside and written first when the store can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the action's audit row is not on disk yet")]
pub struct NotAudited;

/// How long a caller waits for its action's row.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Actions kept aside, and the bytes of their texts.
const MOST_ACTIONS: usize = 10_000;
const MOST_ACTION_BYTES: usize = 32 << 20;

/// How often closed segments are looked after, beside at each rotation.
const SWEEP: Duration = Duration::from_mins(1);

/// Searches that run at once.
const SEARCHES: usize = 4;

/// An action on its way to the store.
pub(super) struct WaitingAction {
    pub(super) facts: ActionFacts,
    /// None: the caller was told already that it is not on disk.
    pub(super) caller: Option<oneshot::Sender<Result<u64, NotAudited>>>,
}

/// A segment to look after, or just the wish.
pub(super) struct Job(pub(super) Option<Retired>);

/// What the handle and the threads share.
pub(super) struct Shared {
    pub(super) totals: Arc<Totals>,
    actions: Mutex<Actions>,
    flush_us: AtomicU64,
    limits: Mutex<Option<Limits>>,
    keep: Mutex<Keep>,
    trouble: Mutex<Option<String>>,
    head: Mutex<Head>,
    stop: Mutex<Option<Duration>>,
    order: Mutex<Option<Order>>,
    /// Whether the store is this process's to look after.
    is_ours: AtomicBool,
    is_stopped: AtomicBool,
    is_clean: AtomicBool,
    stopped: Notify,
}

#[derive(Default)]
struct Actions {
    waiting: VecDeque<WaitingAction>,
    bytes: usize,
    lost: Stretch,
}

/// A lock that outlives a panic elsewhere: what it guards is whole after every statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn flush(&self) -> Duration {
        Duration::from_micros(self.flush_us.load(Ordering::Relaxed))
    }

    pub(super) fn take_limits(&self) -> Option<Limits> {
        locked(&self.limits).take()
    }

    /// The actions that came in, and those that found no room.
    pub(super) fn take_actions(&self) -> (VecDeque<WaitingAction>, Stretch) {
        let mut actions = locked(&self.actions);
        actions.bytes = 0;
        (std::mem::take(&mut actions.waiting), std::mem::take(&mut actions.lost))
    }

    /// True: this is news.
    pub(super) fn set_trouble(&self, trouble: Option<String>) -> bool {
        let mut held = locked(&self.trouble);
        let is_news = held.is_some() != trouble.is_some();
        *held = trouble;
        is_news
    }

    pub(super) fn set_head(&self, head: Head) {
        *locked(&self.head) = head;
    }

    pub(super) fn head(&self) -> Head {
        *locked(&self.head)
    }

    pub(super) fn stop_within(&self) -> Option<Duration> {
        *locked(&self.stop)
    }

    pub(super) fn take_order(&self) -> Option<Order> {
        locked(&self.order).take()
    }

    pub(super) fn set_ours(&self, is_ours: bool) {
        self.is_ours.store(is_ours, Ordering::SeqCst);
    }

    pub(super) fn stopped(&self, is_clean: bool) {
        self.is_clean.store(is_clean, Ordering::SeqCst);
        self.is_stopped.store(true, Ordering::SeqCst);
        self.stopped.notify_waiters();
    }
}

/// Cuts the list of what waits for the store to its bound, the newest first; says what was lost by that.
pub(super) fn keep_aside(waiting: &mut VecDeque<WaitingAction>) -> Stretch {
    let mut bytes = 0;
    let kept = waiting.iter().take(MOST_ACTIONS).take_while(|action| {
        bytes += action_bytes(&action.facts);
        bytes <= MOST_ACTION_BYTES
    });
    let kept = kept.count();
    let mut lost = Stretch::default();
    for action in waiting.drain(kept..) {
        lost.add(action.facts.time_us);
    }
    lost
}

/// The audit, as the control side sees it.
pub struct Writer {
    pub(super) path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) searches: Arc<Semaphore>,
    pub(super) proofs: Arc<Semaphore>,
    pub(super) outbox: SyncSender<Message>,
    ledgers: Vec<&'static Ledger>,
    when_full: Arc<AtomicU8>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Closed when the process before ours has passed on everything.
    inheriting: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Starts the threads.
#[expect(clippy::too_many_arguments, reason = "the parts that `start` made, each to its place")]
pub(super) fn start(
    config: &Audit,
    store: Store,
    inbox: Receiver<Message>,
    outbox: SyncSender<Message>,
    ledgers: Vec<&'static Ledger>,
    spares: Vec<SyncSender<Chunk>>,
    totals: Arc<Totals>,
    when_full: Arc<AtomicU8>,
    limits: Limits,
) -> Result<Writer, AuditError> {
    let shared = Arc::new(Shared {
        totals,
        actions: Mutex::default(),
        flush_us: AtomicU64::new(micros(config.flush)),
        limits: Mutex::new(Some(limits)),
        keep: Mutex::new(config.keep.clone()),
        trouble: Mutex::new(None),
        head: Mutex::new(store.head()),
        stop: Mutex::new(None),
        order: Mutex::new(None),
        is_ours: AtomicBool::new(true),
        is_stopped: AtomicBool::new(false),
        is_clean: AtomicBool::new(false),
        stopped: Notify::new(),
    });
    let (housekeeping, jobs) = sync_channel(4);
    let appender = Appender {
        dir: config.path.clone(),
        limits,
        store: Some(store),
        tenure: Tenure::Ours,
        inbox,
        ledgers: ledgers.clone(),
        spares,
        housekeeping,
        shared: Arc::clone(&shared),
        pending: Pending::default(),
    };
    let keeper = Housekeeper { dir: config.path.clone(), jobs, shared: Arc::clone(&shared) };
    let threads = vec![
        threads::behind_workers("audit-keeper", move || keeper.run())?,
        threads::behind_workers("audit-writer", move || appender.run())?,
    ];
    Ok(Writer {
        path: config.path.clone(),
        shared,
        searches: Arc::new(Semaphore::new(SEARCHES)),
        proofs: Arc::new(Semaphore::new(1)),
        outbox,
        ledgers,
        when_full,
        threads: Mutex::new(threads),
        inheriting: Mutex::default(),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Writer {
    /// Writes an action's row and returns its number when it is on disk. Otherwise the row is kept aside.
    pub async fn act(&self, facts: ActionFacts) -> Result<u64, NotAudited> {
        let (caller, answer) = oneshot::channel();
        {
            let mut actions = locked(&self.shared.actions);
            let bytes = actions.bytes + action_bytes(&facts);
            if actions.waiting.len() >= MOST_ACTIONS || bytes > MOST_ACTION_BYTES {
                actions.lost.add(facts.time_us);
                return Err(NotAudited);
            }
            actions.bytes = bytes;
            actions.waiting.push_back(WaitingAction { facts, caller: Some(caller) });
        }
        if self.shared.is_stopped.load(Ordering::SeqCst) {
            return Err(NotAudited);
        }
        self.wake();
        tokio::time::timeout(LONGEST_WAIT, answer).await.ok().and_then(Result::ok).unwrap_or(Err(NotAudited))
    }

    /// Where the channel is full, the thread is awake anyway.
    fn wake(&self) {
        let _ = self.outbox.try_send(Message::Wake);
    }

    pub(super) fn order(&self, order: Order) {
        *locked(&self.shared.order) = Some(order);
        self.wake();
    }

    /// What is returned is dropped when nothing is passed on any more.
    pub(super) fn begin_inheriting(&self) -> oneshot::Sender<()> {
        let (ended, inheriting) = oneshot::channel();
        *locked(&self.inheriting) = Some(inheriting);
        ended
    }

    /// Waits until the process before ours, if there is one, has passed on everything. False: it takes longer than `limit`.
    pub async fn inherited(&self, limit: Duration) -> bool {
        let inheriting = locked(&self.inheriting).take();
        match inheriting {
            Some(inheriting) => tokio::time::timeout(limit, inheriting).await.is_ok(),
            None => true,
        }
    }

    /// How the store is.
    pub fn state(&self) -> AuditState {
        let numbers = self.numbers();
        AuditState {
            path: self.path.display().to_string(),
            writable: numbers.is_writable,
            trouble: locked(&self.shared.trouble).clone(),
            seq: self.shared.head().seq,
            queued: numbers.queued,
            shed: numbers.shed,
            segments: numbers.segments,
            size_bytes: numbers.size_bytes,
        }
    }

    /// Whether rows reach the store at present.
    pub fn is_writable(&self) -> bool {
        locked(&self.shared.trouble).is_none() && !self.shared.is_stopped.load(Ordering::SeqCst)
    }

    /// The audit in numbers, for `/metrics`.
    pub fn numbers(&self) -> Numbers {
        let totals = &self.shared.totals;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Numbers {
            rows: read(&totals.rows),
            actions: read(&totals.actions),
            gaps: read(&totals.gaps),
            queued: self.ledgers.iter().map(|ledger| ledger.queued()).sum(),
            shed: read(&totals.shed),
            refused: read(&totals.refused),
            failures: read(&totals.failures),
            commits: read(&totals.commits),
            commit_us: read(&totals.commit_us),
            commit_buckets: std::array::from_fn(|at| totals.commit_buckets.get(at).map_or(0, read)),
            segments: read(&totals.segments),
            size_bytes: read(&totals.size_bytes),
            is_writable: self.is_writable(),
        }
    }

    /// Other settings from now on. `requests` is the data path's; `path` cannot change while running.
    pub fn reconfigure(&self, config: &Audit) {
        self.shared.flush_us.store(micros(config.flush), Ordering::Relaxed);
        *locked(&self.shared.keep) = config.keep.clone();
        *locked(&self.shared.limits) = Some(Limits::of(&config.keep));
        self.when_full.store(when_full_number(config.when_full), Ordering::Relaxed);
        self.wake();
    }

    /// Writes everything that was handed over, within `limit`, and closes the store. Workers must have ended, or flushed,
    /// before. True: nothing was lost.
    pub async fn stop(&self, limit: Duration) -> bool {
        let stopped = self.shared.stopped.notified();
        let mut stopped = std::pin::pin!(stopped);
        stopped.as_mut().enable();
        locked(&self.shared.stop).get_or_insert(limit);
        self.wake();
        if !self.shared.is_stopped.load(Ordering::SeqCst) {
            // The thread keeps the limit itself; a commit that hangs in the kernel must not hold the daemon's end.
            let _ = tokio::time::timeout(limit + Duration::from_secs(2), stopped).await;
        }
        if self.shared.is_stopped.load(Ordering::SeqCst) {
            for thread in locked(&self.threads).drain(..).filter(JoinHandle::is_finished) {
                let _ = thread.join();
            }
        }
        self.shared.is_clean.load(Ordering::SeqCst)
    }
}

/// The thread that indexes and drops closed segments, so that writing never waits for it.
struct Housekeeper {
    dir: PathBuf,
    jobs: Receiver<Job>,
    shared: Arc<Shared>,
}

impl Housekeeper {
    fn run(self) {
        loop {
            let keep = locked(&self.shared.keep).clone();
            let is_ours = self.shared.is_ours.load(Ordering::SeqCst);
            let swept = is_ours.then(|| records::sweep(&self.dir, &keep, now_us()));
            match swept {
                None => {}
                Some(Ok(swept)) => {
                    self.shared.totals.segments.store(swept.segments, Ordering::Relaxed);
                    self.shared.totals.size_bytes.store(swept.size_bytes, Ordering::Relaxed);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a closed audit segment could not be looked after; tried again later");
                }
            }
            match self.jobs.recv_timeout(SWEEP) {
                // Closing the old segment is done here, not by the writer.
                Ok(Job(retired)) => drop(retired),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
