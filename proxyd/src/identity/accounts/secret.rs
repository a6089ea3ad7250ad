//! Random texts that somebody proves something with: 256 bit each. Of those that are kept, the SHA-256 is.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const BYTES: usize = 32;
/// As text, without padding.
const TEXT_BYTES: usize = 43;

/// One, and what is kept of it. Not to be shown: it has no `Debug`.
pub(super) struct Fresh {
    pub(super) text: String,
    pub(super) hash: [u8; 32],
}

/// A new one; none where the system gives no randomness.
pub(super) fn fresh() -> Option<Fresh> {
    let text = URL_SAFE_NO_PAD.encode(random::<BYTES>()?);
    let hash = sha256(text.as_bytes());
    Some(Fresh { text, hash })
}

/// What is kept of one that was presented; none where it cannot be one.
pub(super) fn hash_of(presented: &str) -> Option<[u8; 32]> {
    let is_one = presented.len() == TEXT_BYTES
        && presented.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_one.then(|| sha256(presented.as_bytes()))
}

/// A name that nobody guesses and nothing depends on: of a token, of a mail.
pub(super) fn id() -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(random::<16>()?))
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

fn sha256(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, text).as_ref()) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_one_is_looked_up() {
        let one = fresh().unwrap();
        assert_eq!(hash_of(&one.text), Some(one.hash));
        assert_ne!(one.hash, fresh().unwrap().hash);
        let wrong =
            [String::new(), one.text.clone() + "A", one.text.replace(|_: char| true, "="), "ä".repeat(21) + "a"];
        for wrong in wrong {
            assert_eq!(hash_of(&wrong), None, "{wrong}");
        }
    }
}
