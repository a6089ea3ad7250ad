//! Diagnostics: what goes wrong or is worth knowing, as `tracing` events on stderr. Rare by design; requests are told in
//! the access log, never here, and no spans are used.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};

use shared::config::{Level, Log, LogFormat};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{Layer, reload};

/// The targets that follow `log.level`. Of others no more than `info` is shown: the inner life of libraries is none of
/// the operator's business.
const OURS: [&str; 4] = ["proxyd", "records", "shared", super::access_log::SLOW_REQUEST];

type Switch = reload::Handle<Targets, Registry>;

/// The process's diagnostics and their switches.
#[derive(Debug)]
pub struct Diagnostics {
    json: Switch,
    text: Switch,
    now: Mutex<(Level, LogFormat)>,
}

/// Diagnostics had been started before.
#[derive(Debug, thiserror::Error)]
#[error("diagnostics are already set up in this process")]
pub struct AlreadyStarted;

impl Diagnostics {
    /// Sends all events of this process to stderr, in the form and from the level that `log` says.
    ///
    /// # Errors
    /// When the process has a subscriber already.
    pub fn start(log: &Log) -> Result<Self, AlreadyStarted> {
        let (diagnostics, subscriber) = Self::new(log, std::io::stderr, std::io::stderr().is_terminal());
        tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyStarted)?;
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or_default();
            tracing::error!(
                thread = thread.name().unwrap_or_default(),
                place,
                message,
                "a fault of proxyd: please report it"
            );
        }));
        Ok(diagnostics)
    }

    /// Two layers, one of which is shut: a layer cannot change its form while it runs, but its filter can.
    fn new<W>(log: &Log, writer: W, colours: bool) -> (Self, impl Subscriber + Send + Sync)
    where
        W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
    {
        let (json_filter, json) = reload::Layer::new(Targets::new());
        let (text_filter, text) = reload::Layer::new(Targets::new());
        let json_layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        let layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![
            json_layer.with_writer(writer.clone()).with_filter(json_filter).boxed(),
            fmt::layer().with_ansi(colours).with_writer(writer).with_filter(text_filter).boxed(),
        ];
        let diagnostics = Self { json, text, now: Mutex::new((log.level, log.format)) };
        diagnostics.set(log.level, log.format);
        (diagnostics, Registry::default().with(layers))
    }

    /// The level in force.
    #[must_use]
    pub fn level(&self) -> Level {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Changes the level; answers the one before. From any thread, while the process runs.
    pub fn set_level(&self, level: Level) -> Level {
        let format = self.now.lock().unwrap_or_else(PoisonError::into_inner).1;
        self.set(level, format).0
    }

    /// Follows a reloaded config.
    pub fn apply(&self, log: &Log) {
        self.set(log.level, log.format);
    }

    fn set(&self, level: Level, format: LogFormat) -> (Level, LogFormat) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (json, text) = match format {
            LogFormat::Json => (targets(level), Targets::new()),
            LogFormat::Text => (Targets::new(), targets(level)),
        };
        // The only failure is that the subscriber is gone, and then nobody listens.
        let _ = (self.json.reload(json), self.text.reload(text));
        std::mem::replace(&mut *now, (level, format))
    }
}

fn targets(level: Level) -> Targets {
    let level = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new().with_default(level.min(LevelFilter::INFO)).with_targets(OURS.map(|target| (target, level)))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use shared::config::{AccessLog, Redact};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn log(level: Level, format: LogFormat) -> Log {
        Log { level, format, access: AccessLog::Off, slow_request: None, redact: Redact::default() }
    }

    #[test]
    fn level_and_form_change_while_it_runs() {
        let sink = Sink::default();
        let writer = sink.clone();
        let start = log(Level::Info, LogFormat::Json);
        let (diagnostics, subscriber) = Diagnostics::new(&start, move || writer.clone(), false);
        let speak = || {
            tracing::debug!("fine");
            tracing::debug!(target: "hyper::proto", "finer");
            tracing::warn!(port = 80, "odd \"thing\"");
        };
        tracing::subscriber::with_default(subscriber, || {
            speak();
            let line: serde_json::Value = serde_json::from_str(&sink.take()).unwrap();
            assert_eq!(line["level"], "WARN");
            assert_eq!((&line["message"], &line["port"]), (&"odd \"thing\"".into(), &80.into()));

            assert_eq!(diagnostics.set_level(Level::Debug), Level::Info);
            speak();
            let lines = sink.take();
            assert_eq!(lines.lines().count(), 2, "{lines}");
            assert!(lines.contains("fine") && !lines.contains("finer"), "{lines}");

            assert_eq!(diagnostics.set_level(Level::Error), Level::Debug);
            speak();
            assert_eq!(sink.take(), "");

            diagnostics.apply(&log(Level::Warn, LogFormat::Text));
            assert_eq!(diagnostics.level(), Level::Warn);
            speak();
            let lines = sink.take();
            assert_eq!(lines.lines().count(), 1, "{lines}");
            assert!(lines.contains(" WARN ") && lines.contains("port=80"), "{lines}");
        });
    }
}
