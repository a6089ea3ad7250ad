//! Seals what clients keep for us: they can neither read nor change it, nor use it for anything but what it was made for.
//! AES-256-GCM under keys that are derived from the configured secrets. Knows neither cookies nor what it seals.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The first byte of everything sealed: another form gets another number.
const VERSION: u8 = 1;

/// What something is sealed for. It opens for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session in its cookie.
    Session,
    /// A login that is under way.
    Pending,
    /// A session in a store.
    Stored,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Pending => "pending",
            Self::Stored => "stored",
        }
    }
}

/// Seals with the first key and opens with any: secrets are changed by putting a new one before the old.
pub struct Seals {
    keys: Box<[LessSafeKey]>,
}

impl Seals {
    /// Of these secrets; none where a key cannot be made of one, or there is none.
    pub fn of(secrets: &[&[u8]]) -> Option<Self> {
        let keys: Option<Box<[_]>> = secrets.iter().map(|secret| derive(secret)).collect();
        keys.filter(|keys| !keys.is_empty()).map(|keys| Self { keys })
    }

    /// Seals `plain` under this purpose and name, as text of the base64url alphabet. None where the system has no
    /// randomness to give.
    pub fn seal(&self, purpose: Purpose, name: &str, plain: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let key = self.keys.first()?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(purpose, name), &mut sealed).ok()?;
        let mut whole = Vec::with_capacity(1 + nonce.len() + sealed.len());
        whole.push(VERSION);
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(whole))
    }

    /// What was sealed under this purpose and name, if it was and nobody has changed it.
    pub fn open(&self, purpose: Purpose, name: &str, text: &[u8]) -> Option<Vec<u8>> {
        let whole = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = whole.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *version != VERSION {
            return None;
        }
        self.keys.iter().find_map(|key| {
            let mut plain = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, aad(purpose, name), &mut plain).ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }

    /// How long the text is that so many bytes are sealed into.
    pub fn length(plain: usize) -> usize {
        (1 + NONCE_LEN + plain + AES_256_GCM.tag_len()).div_ceil(3) * 4
    }
}

/// Names cannot run into each other: none holds a zero byte.
fn aad(purpose: Purpose, name: &str) -> Aad<Vec<u8>> {
    let mut text = vec![VERSION];
    text.extend_from_slice(purpose.label().as_bytes());
    text.push(0);
    text.extend_from_slice(name.as_bytes());
    Aad::from(text)
}

fn derive(secret: &[u8]) -> Option<LessSafeKey> {
    let key = Salt::new(HKDF_SHA256, b"proxyd").extract(secret);
    let key = UnboundKey::from(key.expand(&[b"seal, version 1"], &AES_256_GCM).ok()?);
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"an old secret of 32 bytes or more";
    const NEW: &[u8] = b"a new secret of 32 bytes or more.";

    fn check(opened_by: &[&[u8]], purpose: Purpose, name: &str, opens: bool) {
        let text = Seals::of(&[OLD]).unwrap().seal(Purpose::Session, "sid", b"who").unwrap();
        let opened = Seals::of(opened_by).unwrap().open(purpose, name, text.as_bytes());
        assert_eq!(opened.as_deref(), opens.then_some(&b"who"[..]), "{opened_by:?} {purpose:?} {name}");
    }

    #[test]
    fn it_opens_with_its_key_for_its_purpose_and_under_its_name_alone() {
        check(&[NEW], Purpose::Session, "sid", false);
        check(&[OLD], Purpose::Pending, "sid", false);
        check(&[OLD], Purpose::Stored, "sid", false);
        check(&[OLD], Purpose::Session, "sid2", false);
        check(&[OLD], Purpose::Session, "", false);
        check(&[OLD], Purpose::Session, "sid", true);
        check(&[NEW, OLD], Purpose::Session, "sid", true);
    }

    #[test]
    fn whatever_bit_is_changed_it_does_not_open() {
        let seals = Seals::of(&[OLD]).unwrap();
        let text = seals.seal(Purpose::Session, "sid", b"who").unwrap();
        let whole = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(seals.open(Purpose::Session, "sid", URL_SAFE_NO_PAD.encode(changed).as_bytes()), None, "{bit}");
        }
        for length in 0..text.len() {
            assert_eq!(seals.open(Purpose::Session, "sid", &text.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(seals.open(Purpose::Session, "sid", format!("{text}=").as_bytes()), None);
        assert_eq!(Seals::length(3), text.len().next_multiple_of(4));
    }

    #[test]
    fn nothing_is_sealed_twice_alike_and_no_secret_is_no_key() {
        let seals = Seals::of(&[OLD]).unwrap();
        let seal = || seals.seal(Purpose::Session, "sid", b"who").unwrap();
        assert_ne!(seal(), seal());
        assert!(Seals::of(&[]).is_none());
    }
}
