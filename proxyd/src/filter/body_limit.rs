//! The filter `body_limit`: what is announced too large is refused at once, what grows too large breaks off.

use super::Verdict;
use crate::exchange::{Rejection, Request};

pub(super) fn on_request(max_bytes: u64, request: &mut Request) -> Verdict {
    if request.body.announced().is_some_and(|bytes| bytes > max_bytes) {
        return Verdict::Reject(Rejection::BodyTooLarge);
    }
    request.body.set_limit(max_bytes);
    Verdict::Pass
}
