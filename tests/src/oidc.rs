//! A provider of `OpenID` Connect as far as a login sees it: it knows one person, asks nothing and sends them back with a code. Each
//! refresh spends its token, and one that is brought a second time ends the login, as RFC 9700 section 4.14.2 advises.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::token::EdKey;
use crate::upstream::{Incoming, Upstream};

/// What the client is called, and its secret.
pub const CLIENT: (&str, &str) = ("gateway", "oidc-secret");

/// The provider, as long as it lives.
#[derive(Debug)]
pub struct Provider {
    pub upstream: Upstream,
    known: Arc<Mutex<Known>>,
}

/// What it has given.
#[derive(Debug, Default)]
struct Known {
    codes: HashMap<String, String>,
    /// By login, the only refresh token that is good.
    good: HashMap<usize, String>,
    given: usize,
    refreshed: usize,
    refused: usize,
}

impl Provider {
    /// Starts it. What a login gives is good for `first_s`, what a refresh gives for an hour.
    #[must_use]
    pub fn start(first_s: u64) -> Self {
        Self::start_with(first_s, || ())
    }

    /// The same; does this before it answers a refresh.
    #[must_use]
    pub fn start_with(first_s: u64, at_refresh: impl Fn() + Clone + Send + Sync + 'static) -> Self {
        let (key, known) = (EdKey::new("one"), Arc::new(Mutex::new(Known::default())));
        let own = Arc::clone(&known);
        let upstream = Upstream::scripted(move |conn| {
            while let Some(request) = conn.request() {
                if String::from_utf8_lossy(&request.body).contains("grant_type=refresh_token") {
                    at_refresh();
                }
                let (status, location, body) = answer(&request, &key, first_s, &mut known.lock().unwrap());
                let mut headers = vec![("Content-Type", "application/json")];
                if let Some(location) = &location {
                    headers.push(("Location", location));
                }
                if !conn.answer(status, &headers, body.to_string().as_bytes()) {
                    return;
                }
            }
        });
        Self { upstream, known: own }
    }

    /// The issuer.
    #[must_use]
    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// How many refreshes there were, and how many of them were refused.
    #[must_use]
    pub fn refreshes(&self) -> (usize, usize) {
        let known = self.known.lock().unwrap();
        (known.refreshed, known.refused)
    }
}

fn answer(request: &Incoming, key: &EdKey, first_s: u64, known: &mut Known) -> (u16, Option<String>, Value) {
    let issuer = format!("http://{}", request.headers.get("host").unwrap_or_default());
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let value = |text: &str, wanted: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    match path {
        "/.well-known/openid-configuration" => {
            let metadata = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/jwks"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["EdDSA"],
            });
            (200, None, metadata)
        }
        "/jwks" => (200, None, json!({"keys": [key.jwk()]})),
        "/authorize" => {
            let back = value(query, "redirect_uri").replace("%3A", ":").replace("%2F", "/");
            known.given += 1;
            let code = format!("code{}", known.given);
            known.codes.insert(code.clone(), value(query, "nonce"));
            (302, Some(format!("{back}?code={code}&state={}", value(query, "state"))), json!({}))
        }
        "/token" if value(&form, "grant_type") == "refresh_token" => {
            known.refreshed += 1;
            let token = value(&form, "refresh_token");
            let login = token.split('-').nth(1).and_then(|login| login.parse().ok()).unwrap_or_default();
            if known.good.remove(&login).as_ref() != Some(&token) {
                known.refused += 1;
                return (400, None, json!({"error": "invalid_grant"}));
            }
            (200, None, known.tokens(login, 3600))
        }
        "/token" => {
            let Some(nonce) = known.codes.remove(&value(&form, "code")) else {
                return (400, None, json!({"error": "invalid_grant"}));
            };
            let claims = json!({"iss": issuer, "aud": CLIENT.0, "nonce": nonce, "iat": crate::token::in_seconds(0)});
            let mut tokens = known.tokens(known.given, first_s);
            tokens["id_token"] = key.token("ann", &claims).into();
            (200, None, tokens)
        }
        _ => (404, None, json!({})),
    }
}

impl Known {
    fn tokens(&mut self, login: usize, lasts_s: u64) -> Value {
        let refresh = format!("refresh-{login}-{}", self.refreshed);
        self.good.insert(login, refresh.clone());
        json!({"access_token": "at", "token_type": "Bearer", "refresh_token": refresh, "expires_in": lasts_s})
    }
}
