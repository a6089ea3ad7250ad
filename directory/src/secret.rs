//! API keys as text: `pk_` and eight characters that may be seen, then 256 random bits.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::DirectoryError;

/// `pk_` and what may be seen.
const PREFIX_BYTES: usize = 3 + 8;

/// Of the whole key.
pub const TEXT_BYTES: usize = PREFIX_BYTES + 1 + 43;

const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A key as its holder has it. Shown once, and kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(***)")
    }
}

impl KeyText {
    /// Another one.
    pub(crate) fn draw() -> Result<Self, DirectoryError> {
        let mut secret = [0; 32];
        fill(&mut secret)?;
        let mut text = String::from("pk_");
        while text.len() < PREFIX_BYTES {
            let mut bytes = [0; 16];
            fill(&mut bytes)?;
            // Seven times 36 is 252: what is left over would make some letters likelier than others.
            let letters = bytes.iter().filter(|byte| **byte < 252).filter_map(|byte| LETTERS.get(*byte as usize % 36));
            text.extend(letters.take(PREFIX_BYTES - text.len()).map(|letter| char::from(*letter)));
        }
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(secret, &mut text);
        Ok(Self(text))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part of it that may be seen.
    pub(crate) fn prefix(&self) -> &str {
        self.0.get(..PREFIX_BYTES).unwrap_or_default()
    }
}

/// The prefix of what looks like a key of ours: nothing else has this form.
pub fn prefix_of(presented: &[u8]) -> Option<&str> {
    let (prefix, rest) = presented.split_at_checked(PREFIX_BYTES)?;
    let (separator, secret) = rest.split_first()?;
    let is_url_safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_key = presented.len() == TEXT_BYTES
        && prefix.starts_with(b"pk_")
        && prefix.iter().skip(3).all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
        && *separator == b'_'
        && secret.iter().all(is_url_safe);
    if is_key { std::str::from_utf8(prefix).ok() } else { None }
}

/// SHA-256: what is kept of a key, a token or a session's id.
pub fn digest(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
    hash
}

/// An id: 16 hexadecimal digits.
pub(crate) fn id() -> Result<String, DirectoryError> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

fn fill(bytes: &mut [u8]) -> Result<(), DirectoryError> {
    getrandom::fill(bytes).map_err(DirectoryError::Randomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_key() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(prefix_of(text.as_bytes()), expected, "{text}");
        let secret = "A-_".repeat(14) + "x";
        check("", None);
        check("pk_abcdefgh", None);
        check(&format!("pk_abcdefgh_{secret}x"), None);
        check(&format!("pk_abcdefgh-{secret}"), None);
        check(&format!("pk_Abcdefgh_{secret}"), None);
        check(&format!("sk_abcdefgh_{secret}"), None);
        check(&format!("pk_abcdefgh_{}=", "A".repeat(42)), None);
        check(&format!("pk_abcdefgé_{}", "A".repeat(42)), None);
        check(&format!("pk_abcdefg9_{secret}"), Some("pk_abcdefg9"));
        let drawn = KeyText::draw().unwrap();
        check(drawn.reveal(), Some(drawn.prefix()));
        assert_ne!(drawn, KeyText::draw().unwrap());
        assert_eq!(format!("{drawn:?}"), "KeyText(***)");
    }

    #[test]
    fn letters_are_drawn_alike() {
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..2000 {
            for letter in KeyText::draw().unwrap().prefix().bytes().skip(3) {
                *seen.entry(letter).or_insert(0) += 1;
            }
        }
        // 16,000 letters of 36 kinds: 444 of each, give or take.
        assert!(seen.len() == 36 && seen.values().all(|count| (300..600).contains(count)), "{seen:?}");
    }
}
