//! What is sent upstream instead of what came: paths and redirect locations.

use std::borrow::Cow;

use crate::config::{Redirect, Rewrite};

/// The path that the upstream sees: rewritten, then put behind the share's path prefix. Always begins with `/`, and never has
/// more or fewer dot segments than a normalised path (none).
#[must_use]
pub fn upstream_path<'a>(path: &'a str, rewrite: Option<&Rewrite>, path_prefix: &str) -> Cow<'a, str> {
    let _ = (path, rewrite, path_prefix);
    todo!()
}

/// A redirect's location. Always a valid header value: what is put in is percent-encoded where it must be.
#[must_use]
pub fn location(redirect: &Redirect, scheme: &str, host: &str, path: &str, query: &str) -> String {
    let _ = (redirect, scheme, host, path, query);
    todo!()
}

/// The upstream of a share list, by weight: `random` is any number.
#[must_use]
pub fn pick_share(shares: &[crate::config::Share], random: u64) -> Option<&crate::config::Share> {
    let _ = (shares, random);
    todo!()
}
