//! GitHub as far as a login sees it: it knows one person, asks nothing and sends them back with a code.

use std::collections::HashSet;
use std::sync::Mutex;

use serde_json::json;

use crate::upstream::{Incoming, Upstream};

/// What its application is called, and its secret.
pub const CLIENT: (&str, &str) = ("gateway", "github-secret");

/// Starts it: `octocat` is of `acme`, and has a verified address that is not the public one.
pub fn start() -> Upstream {
    // How many codes were given, and those that are still good: each is once.
    let codes = Mutex::new((0, HashSet::new()));
    Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let (status, location, body) = answer(&request, &mut codes.lock().unwrap());
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

fn answer(request: &Incoming, (given, good): &mut (u32, HashSet<String>)) -> (u16, Option<String>, serde_json::Value) {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let value = |text: &str, wanted: &str| {
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    match path {
        "/login/oauth/authorize" => {
            let back = value(query, "redirect_uri").replace("%3A", ":").replace("%2F", "/");
            *given += 1;
            let code = format!("code{given}");
            good.insert(code.clone());
            let is_ours = value(query, "client_id") == CLIENT.0 && value(query, "code_challenge_method") == "S256";
            let location = format!("{back}?code={code}&state={}", value(query, "state"));
            (if is_ours { 302 } else { 400 }, Some(location), json!({}))
        }
        "/login/oauth/access_token" => {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let is_good = good.remove(&value(&form, "code"))
                && value(&form, "client_id") == CLIENT.0
                && value(&form, "client_secret") == CLIENT.1
                && value(&form, "code_verifier").len() == 43;
            if is_good {
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
