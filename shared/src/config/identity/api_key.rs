//! `identity.api_key`: keys that `proxyctl keys` gives out.

use crate::config::identity::TokenPlace;

/// `identity.api_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// Where the key is looked for, in this order; the default is `x-api-key`, then `Authorization: Bearer` (a bearer token that
    /// does not look like one of our keys is none).
    pub from: Vec<TokenPlace>,
}
