//! Keys that whoever signs shows at a URL: fetched on the control thread, one fetch at a time, and kept for as long as no newer
//! ones come. Requests that need a key that is not known wait for the fetch that is under way, or wake one.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use shared::config::identity::JwtKeys;
use tokio::sync::{Notify, watch};

use super::jwks::{self, Origin};
use super::key_set::KeySet;
use crate::identity::trouble::Trouble;
use crate::outside::{Outside, OutsideError, ask};
use crate::telemetry::clock::unix_us;

/// After failures the next fetch waits from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// A waiting request gives the fetch so much more than its own timeout.
const GRACE: Duration = Duration::from_millis(100);

/// Requests that wait for one fetch; more get an answer at once.
const MAX_WAITING: usize = 1024;

/// See the module. Shared by a verifier and its successors for as long as they fetch in the same way.
#[derive(Debug)]
pub struct KeySource {
    /// Whose keys: `jwt.main`.
    provider: Arc<str>,
    settings: Settings,
    keys: ArcSwap<KeySet>,
    etag: ArcSwapOption<HeaderValue>,
    began: Instant,
    /// When the newest fetch ended, in microseconds since `began`, and 1; 0: there was none.
    ended: AtomicU64,
    under_way: AtomicBool,
    /// Wakes the task that fetches.
    wanted: Notify,
    /// Counts fetches that ended.
    done: watch::Sender<u64>,
    waiting: AtomicUsize,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Unix seconds of the newest good fetch; 0: there was none.
    fresh_s: AtomicI64,
    trouble: Trouble,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    url: Arc<str>,
    refresh: Duration,
    floor: Duration,
    timeout: Duration,
}

/// How fetching went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    pub succeeded: u64,
    pub failed: u64,
    /// Unix seconds of the newest good one.
    pub fresh_s: Option<i64>,
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Outside(#[from] OutsideError),
    #[error("the address cannot be asked")]
    Address,
    #[error("the answer has status {0}")]
    Status(StatusCode),
    #[error("the answer {0}")]
    Keys(String),
}

impl KeySource {
    /// For a URL of the config; with the keys of the one before, if they came from there too. None for other keys.
    pub(super) fn compile(provider: &Arc<str>, keys: &JwtKeys, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let JwtKeys::JwksUrl { url, refresh, floor, timeout } = keys else { return None };
        let settings = Settings { url: Arc::clone(url), refresh: *refresh, floor: *floor, timeout: *timeout };
        let before = before.filter(|before| before.settings.url == *url);
        match before {
            Some(same) if same.settings == settings && same.provider == *provider => Some(Arc::clone(same)),
            Some(other) => {
                let source = Self::new(provider, settings, other.keys.load_full());
                source.fresh_s.store(other.fresh_s.load(Ordering::Relaxed), Ordering::Relaxed);
                source.succeeded.store(other.succeeded.load(Ordering::Relaxed), Ordering::Relaxed);
                source.failed.store(other.failed.load(Ordering::Relaxed), Ordering::Relaxed);
                Some(Arc::new(source))
            }
            None => Some(Arc::new(Self::new(provider, settings, Arc::new(KeySet::none())))),
        }
    }

    fn new(provider: &Arc<str>, settings: Settings, keys: Arc<KeySet>) -> Self {
        Self {
            provider: Arc::clone(provider),
            settings,
            keys: ArcSwap::new(keys),
            etag: ArcSwapOption::empty(),
            began: Instant::now(),
            ended: AtomicU64::new(0),
            under_way: AtomicBool::new(false),
            wanted: Notify::new(),
            done: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            fresh_s: AtomicI64::new(0),
            trouble: Trouble::of_seldom(provider),
        }
    }

    /// The keys there are now; none before the first good fetch.
    pub(super) fn keys(&self) -> &ArcSwap<KeySet> {
        &self.keys
    }

    /// Whether a fetch is under way, or may begin now.
    pub(super) fn may_bring_more(&self) -> bool {
        self.under_way.load(Ordering::Acquire) || self.floor_is_over()
    }

    fn floor_is_over(&self) -> bool {
        match self.ended.load(Ordering::Acquire) {
            0 => true,
            ended => self.began.elapsed() >= Duration::from_micros(ended - 1).saturating_add(self.settings.floor),
        }
    }

    /// Waits for the end of the fetch that is under way, or of one that begins for this. Whether one ended; at once where none
    /// may begin yet, or too many wait already.
    pub(super) fn wait(self: Arc<Self>) -> impl Future<Output = bool> + Send + 'static {
        let mut done = self.done.subscribe();
        let is_under_way = self.under_way.load(Ordering::Acquire);
        let may_begin = is_under_way || self.floor_is_over();
        if may_begin && !is_under_way {
            self.wanted.notify_one();
        }
        async move {
            if !may_begin {
                return true;
            }
            let _waiting = Waiting(&self.waiting);
            if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
                return false;
            }
            let ended = tokio::time::timeout(self.settings.timeout + GRACE, done.changed()).await;
            matches!(ended, Ok(Ok(())))
        }
    }

    /// How fetching went so far.
    pub fn fetches(&self) -> Fetches {
        Fetches {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            fresh_s: Some(self.fresh_s.load(Ordering::Relaxed)).filter(|time| *time != 0),
        }
    }

    /// Fetches once. Nothing changes but by a good answer.
    async fn fetch(&self, outside: &Outside) -> Result<(), FetchError> {
        self.under_way.store(true, Ordering::Release);
        let _over = Over(self);
        let outcome = self.answer(outside).await;
        let counter = if outcome.is_ok() { &self.succeeded } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        if outcome.is_ok() {
            self.fresh_s.store(unix_us().div_euclid(1_000_000), Ordering::Relaxed);
        }
        outcome
    }

    /// Until keys are due, or are wanted and the floor is over.
    async fn rest(&self, pause: Duration) {
        let mut due = pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut due => return,
                // Several may have woken it for the fetch that has just ended.
                () = self.wanted.notified() => {
                    if self.floor_is_over() {
                        return;
                    }
                }
            }
        }
    }

    async fn answer(&self, outside: &Outside) -> Result<(), FetchError> {
        let mut request = http::Request::get(&*self.settings.url)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Vec::new())
            .map_err(|_| FetchError::Address)?;
        if let Some(etag) = &*self.etag.load() {
            request.headers_mut().insert(header::IF_NONE_MATCH, HeaderValue::clone(etag));
        }
        let answer = ask(outside.client()?, request, self.settings.timeout, jwks::MAX_BYTES).await?;
        match answer.status() {
            StatusCode::OK => self.take(answer.headers().get(header::ETAG), answer.body()),
            StatusCode::NOT_MODIFIED if self.etag.load().is_some() => Ok(()),
            status => Err(FetchError::Status(status)),
        }
    }

    fn take(&self, etag: Option<&HeaderValue>, body: &Bytes) -> Result<(), FetchError> {
        let fresh = jwks::read(body, Origin::Url).map_err(FetchError::Keys)?;
        // The same keys go on being the same set: verdicts that were reached with them stand.
        if !fresh.is_same(&self.keys.load()) {
            self.keys.store(Arc::new(fresh));
        }
        self.etag.store(etag.cloned().map(Arc::new));
        Ok(())
    }
}

/// Says that a fetch is over, also when the task was ended in the middle of it.
struct Over<'a>(&'a KeySource);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let source = self.0;
        source.ended.store(source.began.elapsed().as_micros() as u64 + 1, Ordering::Release);
        source.under_way.store(false, Ordering::Release);
        source.done.send_modify(|count| *count += 1);
    }
}

/// One who waits less, when it ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fetches at once, each time the keys are due, and when a request needs it. Never ends.
pub async fn tend(source: Arc<KeySource>, outside: Arc<Outside>) {
    let mut failures = 0;
    loop {
        let fetched = source.fetch(&outside).await;
        source.trouble.note(fetched.as_ref().copied());
        let pause = if fetched.is_ok() {
            failures = 0;
            source.settings.refresh
        } else {
            failures = u32::saturating_add(failures, 1);
            pause_after(failures, source.settings.refresh)
        };
        source.rest(pause).await;
    }
}

fn pause_after(failures: u32, refresh: Duration) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest).min(refresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let seconds = |failures| pause_after(failures, Duration::from_hours(1)).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 8, 32, 33, u32::MAX].map(seconds), [1, 2, 4, 32, 60, 60, 60, 60, 60]);
        assert_eq!(pause_after(9, Duration::from_secs(5)), Duration::from_secs(5));
    }
}
