//! The filter `access`: addresses that may not come in are refused.

use shared::config::policy::Access;
use shared::decide::access::admits;

use super::Verdict;
use crate::exchange::{Exchange, Rejection};

pub(super) fn on_request(access: &Access, exchange: &Exchange) -> Verdict {
    let certificate = exchange.peer.certificate.as_ref().map(|certificate| &*certificate.names);
    if admits(access, exchange.client, certificate) { Verdict::Pass } else { Verdict::Reject(Rejection::AccessDenied) }
}
