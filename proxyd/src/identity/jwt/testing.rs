//! For tests elsewhere in `identity`.

use super::key_set::{Found, KeySet};
use super::token::Token;

/// Whether a token's signature holds with one of these keys.
pub(in crate::identity) fn holds(keys: &KeySet, token: &str) -> bool {
    let token = Token::split(token.as_bytes()).unwrap();
    let Found::Keys(tried) = keys.find(token.kid.as_deref(), token.algorithm) else { return false };
    tried.iter().any(|key| key.verify(token.algorithm, token.message, token.signature))
}
