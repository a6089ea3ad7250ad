//! GitHub as far as a login sees it: it knows one person, asks nothing and sends them back with a code.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::upstream::{Incoming, Upstream};

/// What its application is called, and its secret.
pub const CLIENT: (&str, &str) = ("gateway", "github-secret");

/// Starts it: `octocat` is of `acme`, and has a verified address that is not the public one.
pub fn start() -> Upstream {
    // Each code is good once.
    let (given, taken) = (AtomicU64::new(1), AtomicU64::new(1));
    Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let (status, location, body) = answer(&request, &given, &taken);
            let mut headers = vec![("Content-Type", "application/json")];
            if let Some(location) = &location {
                headers.push(("Location", location));
            }
            if !conn.answer(status, &headers, body.to_string().as_bytes()) {
                return;
            }
        }
    })
}

fn answer(request: &Incoming, given: &AtomicU64, taken: &AtomicU64) -> (u16, Option<String>, serde_json::Value) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let value = |text: &str, wanted: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    match path {
        "/login/oauth/authorize" => {
            let back = value(query, "redirect_uri").replace("%3A", ":").replace("%2F", "/");
            let code = given.fetch_add(1, Ordering::SeqCst);
            let good = value(query, "client_id") == CLIENT.0 && value(query, "code_challenge_method") == "S256";
            let location = format!("{back}?code=code{code}&state={}", value(query, "state"));
            (if good { 302 } else { 400 }, Some(location), json!({}))
        }
        "/login/oauth/access_token" => {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let expected = format!("code{}", taken.load(Ordering::SeqCst));
            let good = value(&form, "code") == expected
                && value(&form, "client_id") == CLIENT.0
                && value(&form, "client_secret") == CLIENT.1
                && value(&form, "code_verifier").len() == 43;
            if good {
                taken.fetch_add(1, Ordering::SeqCst);
                (
                    200,
                    None,
                    json!({"access_token": "gho_token", "token_type": "bearer", "scope": "read:user,user:email"}),
                )
            } else {
                (200, None, json!({"error": "bad_verification_code"}))
            }
        }
        _ if request.headers.get("authorization") != Some("Bearer gho_token") => (401, None, json!({})),
        "/user" => (200, None, json!({"login": "octocat", "id": 583_231, "email": "public@elsewhere.example"})),
        "/user/emails" => {
            let emails = json!([
                {"email": "old@acme.example", "primary": false, "verified": true},
                {"email": "octocat@acme.example", "primary": true, "verified": true},
            ]);
            (200, None, emails)
        }
        "/user/orgs" => (200, None, json!([{"login": "acme"}])),
        _ => (404, None, json!({})),
    }
}
