//! Access tokens: made here, and checked as those of any other issuer are.

use std::sync::Arc;
use std::time::Duration;

use directory::UserRow;
use serde_json::{Map, Value as Json, json};
use shared::config::Secret;
use shared::config::identity::{Accounts as Config, Jwt, JwtAlgorithm, JwtKeys, TokenAlgorithm};

use super::{PROVIDER, secret};
use crate::identity::claims::Claims;
use crate::identity::jwt::{Checked, Revocations, Verifier};
use crate::identity::mint::{Mint, TokenType};
use crate::identity::state::State;

/// The clocks of two workers differ by some milliseconds, which may be one second and the next.
const LEEWAY: Duration = Duration::from_secs(2);

/// The longest that any config lets one last. A process does not know what those before it made.
const LONGEST: Duration = Duration::from_hours(24);

/// See the module.
pub(super) struct Tokens {
    mint: Arc<Mint>,
    verifier: Arc<Verifier>,
    issuer: Arc<str>,
    audience: Option<Arc<str>>,
    lasts_s: i64,
}

impl Tokens {
    /// Makes the key ready, and what checks with it.
    pub(super) fn compile(
        config: &Config,
        state: &Arc<State>,
        mint: &Arc<Mint>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let mint = match config.algorithm {
            TokenAlgorithm::EdDsa => Arc::clone(mint),
            TokenAlgorithm::Hs256 => {
                let secret = config.secret.as_ref();
                let secret = secret.map_or(state.accounts_key().as_slice(), |secret| secret.reveal().as_bytes());
                let mint = Mint::hs256(secret).map_err(|error| error.to_string())?;
                Arc::new(mint)
            }
        };
        let revoked: Arc<dyn Revocations> = Arc::clone(state) as _;
        let lasts_s = i64::try_from(config.access_token.as_secs()).unwrap_or(i64::MAX);
        let before = before.map(|before| &before.verifier);
        let verifier = Verifier::of_own(PROVIDER, &Arc::new(terms(config)), &mint, before, &revoked)?;
        Ok(Self { mint, verifier, issuer: Arc::clone(&config.issuer), audience: config.audience.clone(), lasts_s })
    }

    /// A token for this account, of this login.
    pub(super) fn access(&self, user: &UserRow, family: &str, now_s: i64) -> Option<String> {
        let mut claims = Map::new();
        let mut put = |name: &str, value: Json| claims.insert(name.to_owned(), value);
        put("iss", json!(self.issuer));
        if let Some(audience) = &self.audience {
            put("aud", json!(audience));
        }
        put("sub", json!(user.name));
        put("uid", json!(user.id));
        put("sid", json!(family));
        put("jti", json!(secret::id()?));
        put("iat", json!(now_s));
        put("exp", json!(now_s.saturating_add(self.lasts_s)));
        put("roles", json!(user.roles));
        put("epoch", json!(user.epoch));
        self.mint.sign(TokenType::Access, &Claims(claims)).ok()
    }

    /// From when on no token that was made before `now_s` is taken any more, whatever the config was then.
    pub(super) fn over_s(now_s: i64) -> i64 {
        now_s.saturating_add((LONGEST + LEEWAY).as_secs().cast_signed()).saturating_add(1)
    }

    /// A token with any claims.
    #[cfg(test)]
    pub(super) fn sign(&self, kind: TokenType, claims: &Claims) -> String {
        self.mint.sign(kind, claims).unwrap()
    }

    pub(super) fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// Whether it was made here and is good by itself.
    pub(super) fn check(&self, token: &[u8], now_s: i64) -> Checked {
        self.verifier.check(token, now_s)
    }
}

/// What its tokens must say.
fn terms(config: &Config) -> Jwt {
    let required = ["uid", "sid", "jti", "iat", "epoch"];
    Jwt {
        name: PROVIDER.into(),
        from: Vec::new(),
        // The mint has the key.
        keys: JwtKeys::Secret(Secret::new("")),
        algorithms: vec![match config.algorithm {
            TokenAlgorithm::Hs256 => JwtAlgorithm::Hs256,
            TokenAlgorithm::EdDsa => JwtAlgorithm::EdDsa,
        }],
        issuer: Some(Arc::clone(&config.issuer)),
        audience: config.audience.iter().cloned().collect(),
        leeway: LEEWAY,
        require: required.iter().map(|claim| (Arc::from(*claim), None)).collect(),
        require_exp: true,
        max_age: None,
        user_claim: "sub".into(),
        roles_claim: "roles".into(),
        scopes_claim: "scope".into(),
    }
}
