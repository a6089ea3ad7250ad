//! The thread that writes chunks out, tells of lines that were lost, and follows changes of the target.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use shared::config::LogFormat;

use super::target::{Lost, Target};
use super::{Message, Prepared, Shared, format};
use crate::telemetry::clock::{self, TimeText};
use crate::threads;

/// How often a target's trouble is told among the diagnostics.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Starts the thread. The receiver that is returned is closed when the thread has written everything.
pub(super) fn start(shared: Arc<Shared>, receiver: Receiver<Message>, first: Prepared) -> io::Result<Receiver<()>> {
    let (sender, written) = sync_channel::<()>(1);
    let mut writer = Writer {
        shared,
        target: first.target,
        format: first.format,
        told: 0,
        complained: None,
        time: TimeText::default(),
        note: Vec::new(),
    };
    threads::behind_workers("access-log", move || {
        writer.run(&receiver);
        drop(sender);
    })?;
    Ok(written)
}

struct Writer {
    shared: Arc<Shared>,
    target: Option<Target>,
    format: LogFormat,
    /// Lost lines that the log itself has told of.
    told: u64,
    complained: Option<Instant>,
    time: TimeText,
    note: Vec<u8>,
}

impl Writer {
    fn run(&mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            self.take(message);
            if self.shared.stopping.load(Ordering::Acquire) {
                while let Ok(message) = receiver.try_recv() {
                    self.take(message);
                }
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        let change = self.shared.change.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(change) = change {
            (self.target, self.format) = (change.target, change.format);
        }
        if let Message::Chunk(chunk, lines) = message {
            // Lines made before the log was turned off are not lost: nobody wants them.
            if let Some(target) = &mut self.target {
                match target.write(&chunk) {
                    Ok(()) => {}
                    Err(lost) => self.complain(&Lost { lines: lost.lines.min(lines), ..lost }),
                }
            }
            self.shared.give_back(chunk);
        }
        self.tell_dropped();
    }

    fn complain(&mut self, lost: &Lost) {
        self.shared.dropped.fetch_add(lost.lines, Ordering::Relaxed);
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(error = %lost.source, lines = lost.lines, "the access log cannot be written; lines are lost");
        }
    }

    /// Writes a line that says how many lines are missing before it, in the log's own form.
    fn tell_dropped(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let Some(target) = &mut self.target else { return };
        if dropped == self.told {
            return;
        }
        let (before, after): (&[u8], &[u8]) = match self.format {
            LogFormat::Json => (b"\",\"dropped_lines\":", b"}\n"),
            LogFormat::Text => (b" dropped_lines=", b"\n"),
        };
        self.note.clear();
        self.note.extend_from_slice(match self.format {
            LogFormat::Json => b"{\"time\":\"",
            LogFormat::Text => b"# ",
        });
        self.time.rfc3339(clock::unix_us(), &mut self.note);
        self.note.extend_from_slice(before);
        format::decimal(dropped - self.told, &mut self.note);
        self.note.extend_from_slice(after);
        if target.write(&self.note).is_ok() {
            self.told = dropped;
        }
    }
}
