//! The filter `access`: addresses that may not come in are refused.

use shared::config::policy::Access;
use shared::decide::access::admits;

use super::Verdict;
use crate::exchange::{Exchange, Rejection};

pub(super) fn on_request(access: &Access, exchange: &Exchange) -> Verdict {
    // No certificate is asked of clients yet.
    if admits(access, exchange.client, None) { Verdict::Pass } else { Verdict::Reject(Rejection::AccessDenied) }
}
