//! Whether a token is good, by one provider's config and keys.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arc_swap::Guard;
use serde_json::Value;
use shared::config::identity::{Jwt, JwtAlgorithm, JwtKeys};

use super::fetch::{Fetches, KeySource};
use super::jwks::{self, Origin};
use super::key_set::{Found, KeySet};
use super::token::{MAX_TOKEN, Token, Typ};
use super::verified::Verified;
use super::{pem, rules};
use crate::exchange::Denial;
use crate::identity::cache::{Cache, TokenHash};
use crate::identity::mint::Mint;

/// Which tokens were revoked.
pub trait Revocations: fmt::Debug + Send + Sync {
    /// Another number after each change, raised once the change can be seen.
    fn epoch(&self) -> u64;

    /// Whether a provider's token with this `jti` was revoked.
    fn is_revoked(&self, provider: &str, jti: &str) -> bool;
}

/// What was found of a token that was good, and with what.
#[derive(Clone, Debug)]
struct Verdict {
    verified: Arc<Verified>,
    /// The set of keys that its signature was checked with.
    keys: u64,
    /// The revocations that it was looked for in.
    epoch: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Verifier {
    /// `jwt.main`.
    provider: Arc<str>,
    config: Arc<Jwt>,
    keys: Keys,
    /// Whether only access tokens are taken (RFC 9068), not tokens of no particular kind.
    only_access: bool,
    cache: Cache<Verdict>,
    /// Hits and misses of namesakes before.
    counted: (u64, u64),
    revoked: Arc<dyn Revocations>,
}

#[derive(Debug)]
enum Keys {
    Fixed(Arc<KeySet>),
    Fetched(Arc<KeySource>),
}

/// What is said of a token.
#[derive(Clone, Debug)]
pub enum Checked {
    Good(Arc<Verified>),
    Denied(Denial),
    /// Keys that might be its own are being fetched, or can be: [`Verifier::fetch_keys`], then [`Verifier::check_again`]. Without
    /// them it is denied so.
    NeedsKeys(Denial),
    /// No key was ever fetched.
    Unavailable,
}

/// What a verifier did, and how its keys do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub keys: u64,
    /// Where keys are fetched.
    pub fetches: Option<Fetches>,
}

/// Why a token is not good.
enum Fault {
    Denied(Denial),
    /// Other keys could make it good; without them it is denied so.
    Keys(Denial),
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl Verifier {
    /// Reads the files that the config names; blocks. What a namesake before has fetched and verified is taken over where the
    /// config leaves it true.
    pub fn compile(
        config: &Arc<Jwt>,
        before: Option<&Arc<Self>>,
        revoked: &Arc<dyn Revocations>,
    ) -> Result<Arc<Self>, String> {
        let provider: Arc<str> = format!("jwt.{}", config.name).into();
        let source = before.and_then(|before| before.source());
        if let Some(source) = KeySource::compile(&provider, &config.keys, source) {
            return Self::new(provider, config, Keys::Fetched(source), false, before, revoked);
        }
        let keys = read(&config.keys)?;
        if !config.algorithms.is_empty() && !keys.allows_any(&config.algorithms) {
            return Err("no key can be used with the algorithms that are named".to_owned());
        }
        Self::new(provider, config, Keys::Fixed(Arc::new(keys)), false, before, revoked)
    }

    /// For access tokens that are minted here (`TokenType::Access`). `config.keys` and `config.name` are not looked at.
    pub fn of_own(
        provider: &str,
        config: &Arc<Jwt>,
        mint: &Mint,
        before: Option<&Arc<Self>>,
        revoked: &Arc<dyn Revocations>,
    ) -> Result<Arc<Self>, String> {
        Self::new(provider.into(), config, Keys::Fixed(Arc::clone(mint.keys())), true, before, revoked)
    }

    fn new(
        provider: Arc<str>,
        config: &Arc<Jwt>,
        keys: Keys,
        only_access: bool,
        before: Option<&Arc<Self>>,
        revoked: &Arc<dyn Revocations>,
    ) -> Result<Arc<Self>, String> {
        let before = before.filter(|before| before.provider == provider);
        if let Some(before) = before
            && before.config == *config
            && before.only_access == only_access
            && Arc::ptr_eq(&before.revoked, revoked)
            && before.keys.is_same(&keys)
        {
            return Ok(Arc::clone(before));
        }
        let cache = Cache::new().map_err(|error| format!("cannot be made ready: {error}"))?;
        let counted = before.map_or((0, 0), |before| before.cached());
        let (config, revoked) = (Arc::clone(config), Arc::clone(revoked));
        Ok(Arc::new(Self { provider, config, keys, only_access, cache, counted, revoked }))
    }

    /// Whether a token is good now. Never waits.
    pub fn check(&self, token: &[u8], now_s: i64) -> Checked {
        self.look(token, now_s, true)
    }

    /// As `check`, once keys were waited for: says in any case what it is now.
    pub fn check_again(&self, token: &[u8], now_s: i64) -> Checked {
        self.look(token, now_s, false)
    }

    /// Waits for the fetch of keys that is under way, or for one that begins for this if it may; no longer than a fetch may
    /// take. Whether it is worth to check again with more hope.
    /// It begins with this call, whether somebody waits for it or not.
    pub fn fetch_keys(&self) -> impl Future<Output = bool> + Send + 'static {
        let ended = self.source().map(|source| Arc::clone(source).wait());
        async move {
            match ended {
                Some(ended) => ended.await,
                None => false,
            }
        }
    }

    /// Where its keys are fetched, if they are.
    pub fn source(&self) -> Option<&Arc<KeySource>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Fetched(source) => Some(source),
        }
    }

    /// Its provider's name: `jwt.main`.
    pub fn provider(&self) -> &Arc<str> {
        &self.provider
    }

    /// What it was made from.
    pub fn config(&self) -> &Arc<Jwt> {
        &self.config
    }

    #[cfg(test)]
    pub(super) fn revoked(&self) -> &Arc<dyn Revocations> {
        &self.revoked
    }

    /// What it did so far, its namesakes before counted in.
    pub fn counts(&self) -> Counts {
        let (hits, misses) = self.cached();
        let keys = self.keys.now().len() as u64;
        Counts { hits, misses, keys, fetches: self.source().map(|source| source.fetches()) }
    }

    fn cached(&self) -> (u64, u64) {
        let (hits, misses) = self.cache.counts();
        (self.counted.0 + hits, self.counted.1 + misses)
    }

    fn look(&self, token: &[u8], now_s: i64, may_wait: bool) -> Checked {
        if token.len() > MAX_TOKEN {
            return Checked::Denied(Denial::TooLarge);
        }
        let keys = self.keys.now();
        // Before anything is looked up: a token that is revoked meanwhile is looked for again at the next hit.
        let epoch = self.revoked.epoch();
        let hash = self.cache.hash(token);
        let checked = match self.cache.find(hash, |verdict| verdict.keys == keys.id()) {
            Some(verdict) => self.judge_again(hash, verdict, epoch, now_s),
            None => self.judge(token, &keys, now_s).map(|verified| {
                let verified = Arc::new(verified);
                self.cache.keep(hash, Verdict { verified: Arc::clone(&verified), keys: keys.id(), epoch });
                verified
            }),
        };
        match (checked, &self.keys) {
            (Ok(verified), _) => Checked::Good(verified),
            (Err(Fault::Keys(denial)), Keys::Fetched(source)) if may_wait && source.may_bring_more() => {
                Checked::NeedsKeys(denial)
            }
            (Err(Fault::Keys(_)), Keys::Fetched(_)) if keys.is_empty() => Checked::Unavailable,
            (Err(Fault::Denied(denial) | Fault::Keys(denial)), _) => Checked::Denied(denial),
        }
    }

    /// What time and revocation have made of a good token.
    fn judge_again(&self, hash: TokenHash, verdict: Verdict, epoch: u64, now_s: i64) -> Result<Arc<Verified>, Fault> {
        if now_s >= verdict.verified.until_s {
            return Err(Denial::TokenExpired.into());
        }
        if now_s < verdict.verified.from_s {
            return Err(Denial::TokenNotYetValid.into());
        }
        if verdict.epoch != epoch {
            self.not_revoked(&verdict.verified)?;
            self.cache.keep(hash, Verdict { epoch, ..verdict.clone() });
        }
        Ok(verdict.verified)
    }

    /// What a token says, if it is good.
    fn judge(&self, token: &[u8], keys: &KeySet, now_s: i64) -> Result<Verified, Fault> {
        let token = Token::split(token)?;
        let algorithm = token.algorithm;
        if !self.allows(algorithm) {
            return Err(Denial::TokenAlgorithm.into());
        }
        if self.only_access && token.typ != Typ::Access {
            return Err(Denial::TokenMalformed.into());
        }
        let tried = match keys.find(token.kid.as_deref(), algorithm) {
            Found::Keys(tried) => tried,
            // A token that names no key may mean one that came later.
            Found::NotAllowed if token.kid.is_none() && self.source().is_some() => {
                return Err(self.lacks_key(&token, Denial::TokenAlgorithm));
            }
            Found::NotAllowed => return Err(Denial::TokenAlgorithm.into()),
            Found::Unknown => return Err(self.lacks_key(&token, Denial::TokenKeyUnknown)),
        };
        if !tried.iter().any(|key| key.verify(algorithm, token.message, token.signature)) {
            return Err(match token.kid {
                Some(_) => Fault::Denied(Denial::TokenSignature),
                None => self.lacks_key(&token, Denial::TokenSignature),
            });
        }
        let verified = rules::check(&self.provider, &self.config, token.claims()?, now_s)?;
        self.not_revoked(&verified)?;
        Ok(verified)
    }

    /// Why a token is not good of which no key is here. What it claims is not believed, but taken at its word where it says that it
    /// is another issuer's: no key of this one would make it good, and nobody is to wait for one.
    fn lacks_key(&self, token: &Token<'_>, denial: Denial) -> Fault {
        let (Some(issuer), Some(_)) = (&self.config.issuer, self.source()) else { return Fault::Keys(denial) };
        match token.claims() {
            Ok(claims) if claims.get("iss").and_then(Value::as_str) == Some(&**issuer) => Fault::Keys(denial),
            Ok(_) => Denial::TokenIssuer.into(),
            Err(denial) => denial.into(),
        }
    }

    /// Whether the config allows an algorithm with some kind of key that it can have.
    fn allows(&self, algorithm: JwtAlgorithm) -> bool {
        let is_secret = matches!(algorithm, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512);
        let is_named = self.config.algorithms.is_empty() || self.config.algorithms.contains(&algorithm);
        is_named && !(is_secret && self.source().is_some())
    }

    fn not_revoked(&self, verified: &Verified) -> Result<(), Denial> {
        match &verified.jti {
            Some(jti) if self.revoked.is_revoked(&self.provider, jti) => Err(Denial::TokenRevoked),
            Some(_) | None => Ok(()),
        }
    }
}

impl Keys {
    fn now(&self) -> Now<'_> {
        match self {
            Self::Fixed(keys) => Now::Fixed(keys),
            Self::Fetched(source) => Now::Fetched(source.keys().load()),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => one.is_same(other),
            (Self::Fetched(one), Self::Fetched(other)) => Arc::ptr_eq(one, other),
            (Self::Fixed(_), Self::Fetched(_)) | (Self::Fetched(_), Self::Fixed(_)) => false,
        }
    }
}

/// The keys of one moment.
enum Now<'a> {
    Fixed(&'a KeySet),
    Fetched(Guard<Arc<KeySet>>),
}

impl std::ops::Deref for Now<'_> {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        match self {
            Self::Fixed(keys) => keys,
            Self::Fetched(keys) => keys,
        }
    }
}

/// Keys that stand in the config or in a file.
fn read(keys: &JwtKeys) -> Result<KeySet, String> {
    match keys {
        JwtKeys::Secret(secret) => KeySet::of_secret(secret.reveal().as_bytes()),
        JwtKeys::Pem(path) => file(path).and_then(|text| pem::read(&text)).map_err(|why| at(path, &why)),
        JwtKeys::JwksFile(path) => {
            file(path).and_then(|text| jwks::read(&text, Origin::File)).map_err(|why| at(path, &why))
        }
        JwtKeys::JwksUrl { .. } => Ok(KeySet::none()),
    }
}

fn at(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let limit = jwks::MAX_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 == limit {
        return Err(format!("is larger than {} bytes", jwks::MAX_BYTES));
    }
    Ok(text)
}
