//! The record over an upgrade: the old process lets go of the store, holds what it is given meanwhile, and takes the store
//! back or passes everything on to its heir, the new process, which writes it down like what its own workers give it.
//! So there is one store, one sequence, and each row once.
//!
//! What is passed on is the rows themselves as JSON, a line each: the two may be of different versions.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use records::Store;
use shared::audit::{ActionRow, Chunk, Gap, GapRow, RequestRow, Row};
use tokio::sync::oneshot;

use super::appender::{Appender, Message};
use super::now_us;
use super::writer::Writer;
use crate::threads;

/// Who writes what is recorded here.
pub(super) enum Tenure {
    /// We do, in our store.
    Ours,
    /// Nobody at present: it is held.
    Held,
    /// The process that took over.
    Heirs(Heir),
}

/// The process that took over, and what of a line it has not taken yet.
pub(super) struct Heir {
    stream: UnixStream,
    unsent: Vec<u8>,
    /// What the lines under way tell of: until they are taken it is ours.
    under_way: Option<Part>,
}

/// The first of what is pending.
enum Part {
    Gaps(usize),
    Chunk,
    Action,
}

/// What the thread is told.
pub(super) enum Order {
    /// Write everything down and close the store.
    LetGo(oneshot::Sender<Result<(), String>>),
    /// Open it again.
    TakeBack(oneshot::Sender<()>),
    PassOn(UnixStream),
}

/// How long one write to the heir may stand still. What it does not take stays here, as with a store that is slow.
const PATIENCE: Duration = Duration::from_millis(100);

/// The last line: nothing is missing.
const END: &str = "\"end\"";

/// The longest line that is understood.
const MOST_LINE_BYTES: u64 = 8 << 20;

/// Rows of a chunk that is made of lines.
const CHUNK_ROWS: usize = 256;

/// What the heir calls the old process where its own workers have their numbers.
pub(super) const PREDECESSOR: usize = usize::MAX;

impl Appender {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::LetGo(told) => {
                let _ = told.send(self.let_go());
            }
            Order::TakeBack(told) => {
                self.take_back();
                let _ = told.send(());
            }
            Order::PassOn(stream) => {
                let _ = stream.set_write_timeout(Some(PATIENCE));
                self.tenure = Tenure::Heirs(Heir { stream, unsent: Vec::new(), under_way: None });
            }
        }
    }

    fn let_go(&mut self) -> Result<(), String> {
        self.take_all();
        self.turn(true);
        if self.pending.retry_at.is_some() {
            return Err("the audit store cannot be written at present".to_owned());
        }
        let Some(store) = self.store.take() else { return Err("the audit store is not open".to_owned()) };
        self.tenure = Tenure::Held;
        self.shared.set_ours(false);
        store.close().map_err(|error| {
            self.take_back();
            format!("the audit store cannot be closed: {error}")
        })
    }

    pub(super) fn take_back(&mut self) {
        self.tenure = Tenure::Ours;
        self.shared.set_ours(true);
        if let Err(error) = self.open_store() {
            self.trouble(&error);
        }
    }

    pub(super) fn open_store(&mut self) -> Result<(), records::StoreError> {
        let store = Store::open(&self.dir, self.limits, now_us())?;
        self.shared.set_head(store.head());
        self.store = Some(store);
        Ok(())
    }

    /// Passes on what there is, as far as the heir takes it. One that is gone leaves the store to us again.
    pub(super) fn pass_on(&mut self) {
        let Tenure::Heirs(heir) = &mut self.tenure else { return };
        loop {
            match heir.send() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "the new process takes no more audit rows; trying its store");
                    self.take_back();
                    return;
                }
            }
            match heir.under_way.take() {
                Some(Part::Gaps(count)) => drop(self.pending.told.drain(..count)),
                Some(Part::Chunk) => Self::settle(&mut self.pending, &self.shared, &self.ledgers, &self.spares, 1),
                Some(Part::Action) => {
                    if let Some(passed) = self.pending.actions.pop_front() {
                        passed.answer(Ok(0));
                    }
                }
                None => {}
            }
            self.pending.tell_gaps();
            heir.under_way = if !self.pending.told.is_empty() {
                for gap in &self.pending.told {
                    heir.put(&Row::Gap(GapRow { seq: 0, gap: gap.clone() }));
                }
                Some(Part::Gaps(self.pending.told.len()))
            } else if let Some((_, chunk)) = self.pending.chunks.front() {
                for facts in chunk.iter() {
                    heir.put(&Row::Request(RequestRow::of(0, &facts)));
                }
                Some(Part::Chunk)
            } else if let Some(waiting) = self.pending.actions.front() {
                heir.put(&Row::Action(ActionRow { seq: 0, facts: waiting.facts.clone() }));
                Some(Part::Action)
            } else {
                return;
            };
        }
    }

    /// At the end: tells the heir that this was all. False: it has not taken everything yet.
    pub(super) fn part(&mut self) -> bool {
        self.pass_on();
        let Tenure::Heirs(heir) = &mut self.tenure else { return true };
        if !self.pending.is_empty() || !heir.unsent.is_empty() {
            return false;
        }
        heir.unsent.extend_from_slice(END.as_bytes());
        heir.unsent.push(b'\n');
        let deadline = Instant::now() + Duration::from_secs(1);
        while matches!(heir.send(), Ok(false)) && Instant::now() < deadline {}
        true
    }
}

impl Heir {
    fn put(&mut self, row: &Row) {
        // A row is plain texts and numbers: this cannot fail.
        if serde_json::to_writer(&mut self.unsent, row).is_ok() {
            self.unsent.push(b'\n');
        }
    }

    /// True: everything is sent.
    fn send(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        let outcome = loop {
            let rest = self.unsent.get(sent..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(true);
            }
            match self.stream.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break Ok(false);
                }
                Err(error) => break Err(error),
            }
        };
        self.unsent.drain(..sent);
        outcome
    }

    pub(super) fn is_behind(&self) -> bool {
        !self.unsent.is_empty()
    }
}

impl Writer {
    /// Writes down what there is and lets go of the store. What comes now is held.
    pub async fn let_go(&self) -> Result<(), String> {
        let (told, outcome) = oneshot::channel();
        self.order(Order::LetGo(told));
        outcome.await.unwrap_or_else(|_| Err("the audit's thread has ended".to_owned()))
    }

    /// Opens the store again, after [`Self::let_go`].
    pub async fn take_back(&self) {
        let (told, done) = oneshot::channel();
        self.order(Order::TakeBack(told));
        let _ = done.await;
    }

    /// Passes on to the heir what is held and what still comes.
    pub fn pass_on(&self, heir: UnixStream) {
        self.order(Order::PassOn(heir));
    }

    /// Writes down what a process that was succeeded still passes on, until it says that this was all.
    pub fn inherit(&self, predecessor: UnixStream) -> io::Result<()> {
        let (outbox, ended) = (self.outbox.clone(), self.begin_inheriting());
        threads::behind_workers("audit-heir", move || {
            read(predecessor, &outbox);
            drop(ended);
        })?;
        Ok(())
    }
}

/// Reads until the end, or until nobody writes any more.
fn read(predecessor: UnixStream, outbox: &SyncSender<Message>) {
    let mut lines = BufReader::new(predecessor);
    let mut chunk = Chunk::default();
    let mut line = Vec::new();
    let mut misread = 0u64;
    let is_whole = loop {
        if !chunk.is_empty() && (chunk.len() >= CHUNK_ROWS || lines.buffer().is_empty()) {
            let chunk = std::mem::take(&mut chunk);
            if outbox.send(Message::Chunk { worker: PREDECESSOR, chunk }).is_err() {
                return;
            }
        }
        line.clear();
        match lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break false,
            Ok(_) => {}
        }
        let text = line.trim_ascii_end();
        if text == END.as_bytes() {
            break true;
        }
        let message = match serde_json::from_slice(text) {
            Ok(Row::Request(row)) => {
                chunk.push(&row.facts());
                continue;
            }
            Ok(Row::Action(row)) => Message::Action(row.facts),
            Ok(Row::Gap(row)) => Message::Gap(row.gap),
            Err(error) => {
                tracing::error!(%error, "a row of the process before cannot be read");
                misread += 1;
                continue;
            }
        };
        if outbox.send(message).is_err() {
            return;
        }
    };
    if !chunk.is_empty() {
        let _ = outbox.send(Message::Chunk { worker: PREDECESSOR, chunk });
    }
    if !is_whole {
        tracing::error!("the process before ended before it had passed on all its audit rows");
    }
    if misread > 0 || !is_whole {
        let missing = is_whole.then_some(misread);
        let gap =
            Gap { time_us: now_us(), missing, from_us: None, until_us: Some(now_us()), reason: "upgrade".to_owned() };
        let _ = outbox.send(Message::Gap(gap));
    }
}
