//! Questions to the store, answered off the runtime's thread: a few at once, each bounded in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use records::{Found, Head, Reader, StoreError};
use shared::audit::{AuditQuery, Filter, Row};
use shared::control::report::{AuditHead, AuditVerified};
use shared::control::{ControlError, ErrorCode};
use thiserror::Error;
use tokio::sync::Semaphore;

use super::now_us;
use super::writer::Writer;

/// How long a search may look.
const LONGEST_SEARCH: Duration = Duration::from_secs(5);

/// Why a question was not answered.
#[derive(Debug, Error)]
pub enum SearchError {
    #[error("{0}")]
    Invalid(String),
    #[error("too many audit searches at once; try again in a moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SearchError> for ControlError {
    fn from(error: SearchError) -> Self {
        let code = match &error {
            SearchError::Invalid(_) | SearchError::Store(StoreError::Head(_)) => ErrorCode::InvalidArguments,
            SearchError::Busy => ErrorCode::Busy,
            SearchError::Store(_) => ErrorCode::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl Writer {
    /// Checks a query.
    pub fn filter(query: &AuditQuery) -> Result<Filter, SearchError> {
        Filter::read(query, now_us()).map_err(SearchError::Invalid)
    }

    /// The newest rows that match, oldest first.
    pub async fn search(&self, filter: Filter) -> Result<Found, SearchError> {
        let reader = Reader::new(&self.path);
        off_thread(&self.searches, move || reader.search(&filter, LONGEST_SEARCH)).await
    }

    /// The rows after `seq` that match, oldest first, at most `filter.last`, and the number to go on from.
    pub async fn after(&self, seq: u64, filter: Filter) -> Result<(Vec<Row>, u64), SearchError> {
        if self.shared.head().seq <= seq {
            return Ok((Vec::new(), seq));
        }
        let reader = Reader::new(&self.path);
        off_thread(&self.searches, move || reader.after(seq, &filter)).await
    }

    /// The newest row that is written.
    pub fn head(&self) -> AuditHead {
        let head = self.shared.head();
        AuditHead { seq: head.seq, link: head.link_hex(), head: head.to_string() }
    }

    /// Proves the chain; `head` is one that the caller kept. What the writer itself remembers is held against the files
    /// too. Dropping the future gives the proof up.
    pub async fn verify(&self, head: Option<&str>) -> Result<AuditVerified, SearchError> {
        let mut heads: Vec<Head> = head.map(str::parse).transpose()?.into_iter().collect();
        heads.push(self.shared.head());
        let dir = self.path.clone();
        let wanted = Wanted(Arc::new(AtomicBool::new(true)));
        let is_wanted = Arc::clone(&wanted.0);
        off_thread(&self.proofs, move || records::verify(&dir, &heads, &|| is_wanted.load(Ordering::Relaxed))).await
    }
}

/// Dropped with the future that waits: nobody wants the answer any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn off_thread<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, SearchError> {
    let place = tokio::time::timeout(LONGEST_SEARCH, Arc::clone(places).acquire_owned()).await;
    let place = place.ok().and_then(Result::ok).ok_or(SearchError::Busy)?;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        // Held by the work, not by the future: one that is given up still counts while it runs.
        drop(place);
        done
    });
    done.await.map_err(|_| SearchError::Store(StoreError::Cancelled))?.map_err(SearchError::Store)
}
