//! One session: who logged in, when, and what the provider gave. Pure.

use std::fmt::{self, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::exchange::{Made, Principal};

/// Bytes of randomness in an id.
const ID_BYTES: usize = 32;

/// Somebody who logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whoever knows it is taken for its owner, where sessions are kept in a store.
    #[serde(rename = "i")]
    pub id: SessionId,
    /// Who recognised it: `login.github`.
    #[serde(rename = "p")]
    pub provider: Box<str>,
    #[serde(rename = "u")]
    pub user: Box<str>,
    /// Verified by the provider.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Box<str>>,
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Box<str>>,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Box<str>>,
    /// Those that `identity.send.claims` sends upstream: path and text.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<(Box<str>, Box<str>)>,
    #[serde(rename = "b")]
    pub started_s: i64,
    /// When it ends in any case.
    #[serde(rename = "z")]
    pub ends_s: i64,
    /// When it was used last, to a tenth of the idle time.
    #[serde(rename = "a")]
    pub seen_s: i64,
    #[serde(rename = "t", default)]
    pub tokens: Tokens,
    /// By which provider it came, and as which of its clients: a short hash.
    #[serde(rename = "o", default, skip_serializing_if = "str::is_empty")]
    pub origin: Box<str>,
    /// The same of the rules that it was let in by. Of an earlier version neither is there.
    #[serde(rename = "l", default, skip_serializing_if = "str::is_empty")]
    pub rules: Box<str>,
    /// It was refreshed, and whoever sent its cookie does not know yet.
    #[serde(skip)]
    pub is_fresh: bool,
    #[serde(skip)]
    /// For a generation, and for how long it was to last.
    pub made: Made<(u64, i64)>,
}

impl Session {
    /// A claim that goes upstream.
    pub fn claim(&self, path: &str) -> Option<&str> {
        self.claims.iter().find_map(|(own, text)| (**own == *path).then_some(&**text))
    }

    /// Who it is, made once for each generation of the config and shared by all requests with this session; once more when its use
    /// makes it last longer, which open tunnels rest on.
    pub fn principal(
        &self,
        generation: u64,
        until_s: i64,
        make: impl FnOnce() -> Option<Principal>,
    ) -> Option<Arc<Principal>> {
        self.made.principal((generation, until_s), |before| {
            let mut principal = make()?;
            if let Some(before) = before {
                principal.minted = before.minted.handed_on();
            }
            Some(principal)
        })
    }

    /// Takes over who it is from the same session as it was before, where that has not changed: with it goes the token of our own
    /// that upstreams are told with.
    pub fn take_over(&self, before: &Self) {
        let Self { id, provider, user, roles, scopes, claims, .. } = before;
        let is_same = (&self.id, &self.provider, &self.user) == (id, provider, user)
            && (&self.roles, &self.scopes, &self.claims) == (roles, scopes, claims);
        if is_same {
            self.made.take_over(&before.made);
        }
    }

    /// The name of the login that it came by.
    pub fn login(&self) -> &str {
        self.provider.strip_prefix("login.").unwrap_or_default()
    }
}

/// What the provider gave. Never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tells the provider who logs out.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<Box<str>>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Box<str>>,
    /// When the access token ends; the provider is then asked whether the session goes on.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub until_s: Option<i64>,
    /// Whom the provider spoke of: a refresh must speak of the same.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<str>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(masked)")
    }
}

/// 256 random bits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Box<str>);

impl SessionId {
    /// A new one; none where the system has no randomness to give.
    pub fn draw() -> Option<Self> {
        random().map(|text| Self(text.into()))
    }

    /// Of a cookie's value.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == ID_BYTES).then(|| Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// A cookie's value.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The same as text.
    pub fn name(&self) -> String {
        self.hash().iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// What a store knows it by: whoever reads the store cannot take a session over.
    pub fn hash(&self) -> [u8; 32] {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.0.as_bytes());
        let mut hash = [0; 32];
        for (place, byte) in hash.iter_mut().zip(digest.as_ref()) {
            *place = *byte;
        }
        hash
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(masked)")
    }
}

/// 256 random bits as text of the base64url alphabet; none where the system has none to give.
pub(in crate::identity) fn random() -> Option<String> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}
