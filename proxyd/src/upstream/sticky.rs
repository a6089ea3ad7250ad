//! The cookie that brings a client back to its endpoint: a keyed hash of the endpoint's address. It gives no address away, and
//! nobody without the key can make one, so that clients go where they were sent before and nowhere else.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

/// Hexadecimal digits of a cookie: 128 bits of the hash.
const DIGITS: usize = 32;

/// What cookies are made with.
#[derive(Clone)]
pub struct StickyKey(Arc<hmac::Key>);

impl fmt::Debug for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StickyKey")
    }
}

impl StickyKey {
    /// From a secret of any length.
    pub fn of(secret: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The cookie's value for an endpoint.
    pub(super) fn token(&self, upstream: &str, address: &str) -> Box<str> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(upstream.as_bytes());
        context.update(&[0]);
        context.update(address.as_bytes());
        let tag = context.sign();
        let mut text = String::with_capacity(DIGITS);
        for byte in tag.as_ref().iter().take(DIGITS / 2) {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_all_that_it_stands_for() {
        let key = StickyKey::of(b"one");
        let token = key.token("users", "127.0.0.1:8001");
        assert_eq!(token.len(), DIGITS);
        assert_eq!(token, key.token("users", "127.0.0.1:8001"));
        for other in [
            key.token("users", "127.0.0.1:8002"),
            key.token("user", "s127.0.0.1:8001"),
            StickyKey::of(b"two").token("users", "127.0.0.1:8001"),
        ] {
            assert_ne!(token, other);
        }
    }
}
