//! A command's arguments, fit for the audit: what might be a secret is hidden, what is long is counted. Pure.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use shared::audit::Mask;
use shared::config::Secret;
use shared::control::{
    Command, KeysRevokeArgs, KeysRotateArgs, TokensRevokeArgs, UpstreamsDeregisterArgs, UpstreamsRegisterArgs,
    UpstreamsSetArgs, UsersAddArgs, UsersPasswordArgs,
};

use super::{keys, tokens};

/// The longest argument that is kept as it is, in bytes.
const LONGEST: usize = 1024;

/// The arguments as a JSON object.
pub(super) fn arguments(command: &Command, mask: &Mask) -> String {
    let mut args = serde_json::to_value(command)
        .ok()
        .and_then(|mut whole| whole.get_mut("args").map(Value::take))
        .unwrap_or_else(|| json!({}));
    match (command, args.as_object_mut()) {
        (Command::Explain(explain), Some(args)) => {
            let url = Mask::userinfo(&explain.url).into_owned();
            let url = match url.split_once('?') {
                Some((path, query)) => format!("{path}?{}", mask.query(query)),
                None => url,
            };
            args.insert("url".to_owned(), Value::String(url));
            let headers = explain.headers.iter().map(|header| match header.split_once(':') {
                Some((name, value)) => {
                    let value = mask.header(&name.trim().to_ascii_lowercase(), value.trim()).into_owned();
                    Value::String(format!("{name}: {value}"))
                }
                None => Value::String(Mask::hidden(header.len())),
            });
            args.insert("headers".to_owned(), headers.collect());
        }
        (Command::Validate(validate), Some(args)) => {
            args.insert("text".to_owned(), Value::String(format!("{} bytes", validate.text.len())));
        }
        (Command::LimitsReset(reset), Some(args)) => {
            args.insert("key".to_owned(), Value::String(key(&reset.key)));
        }
        (Command::Limits(limits), Some(args)) => {
            if let Some(text) = &limits.key {
                args.insert("key".to_owned(), Value::String(key(text)));
            }
        }
        (
            Command::UpstreamsSet(UpstreamsSetArgs { endpoint, .. })
            | Command::UpstreamsRegister(UpstreamsRegisterArgs { endpoint, .. })
            | Command::UpstreamsDeregister(UpstreamsDeregisterArgs { endpoint, .. }),
            Some(args),
        ) => {
            args.insert("endpoint".to_owned(), Value::String(Mask::userinfo(endpoint).into_owned()));
        }
        (Command::KeysRevoke(KeysRevokeArgs { key }) | Command::KeysRotate(KeysRotateArgs { key, .. }), Some(args)) => {
            // Names and prefixes are no secrets; somebody may paste the whole.
            if let Some(prefix) = keys::prefix_of_secret(key) {
                args.insert("key".to_owned(), Value::String(format!("{prefix}_[{}]", Mask::hidden(key.len()))));
            }
        }
        (Command::TokensRevoke(TokensRevokeArgs { token, jti, .. }), Some(args)) => {
            hide(args, "token", token.as_ref().map(Secret::reveal));
            hide(args, "jti", jti.as_deref().filter(|jti| tokens::looks_like_token(jti)));
        }
        (Command::UsersAdd(UsersAddArgs { password, .. }), Some(args)) => {
            hide(args, "password", password.as_ref().map(Secret::reveal));
        }
        (Command::UsersPassword(UsersPasswordArgs { password, .. }), Some(args)) => {
            hide(args, "password", Some(password.reveal()));
        }
        _ => {}
    }
    if let Some(args) = args.as_object_mut() {
        for value in args.values_mut() {
            if let Value::String(text) = value
                && text.len() > LONGEST
            {
                *value = Value::String(format!("{} bytes", text.len()));
            }
        }
    }
    args.to_string()
}

/// Puts in a secret's place that it was there.
fn hide(args: &mut Map<String, Value>, name: &str, secret: Option<&str>) {
    if let Some(secret) = secret {
        args.insert(name.to_owned(), Value::String(Mask::hidden(secret.len())));
    }
}

/// A limit's key: an address is no secret, a header's value may be an API key.
fn key(text: &str) -> String {
    if text.parse::<IpAddr>().is_ok() { text.to_owned() } else { Mask::hidden(text.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, args: Value, expected: &str) {
        let command = Command::parse(command, args).unwrap();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&arguments(&command, &Mask::default())), value(expected));
    }

    #[test]
    fn secrets_in_arguments_are_hidden() {
        check("reload", json!({ "dry_run": true }), r#"{"dry_run":true}"#);
        check("status", json!({}), "{}");
        check("limits_reset", json!({ "key": "10.0.0.1" }), r#"{"key":"10.0.0.1"}"#);
        check("limits_reset", json!({ "key": "sk-123" }), r#"{"key":"present, masked, 6 bytes"}"#);
        check("limits", json!({ "key": "sk-123" }), r#"{"key":"present, masked, 6 bytes"}"#);
        check("validate", json!({ "text": "token: x" }), r#"{"text":"8 bytes"}"#);
        check("reload", json!({ "config": "/".repeat(2000) }), r#"{"config":"2000 bytes"}"#);
        let key = format!("pk_abcdefgh_{}", "x".repeat(43));
        let expected = r#"{"key":"pk_abcdefgh_[present, masked, 55 bytes]"}"#;
        check("keys_revoke", json!({ "key": key }), expected);
        check("keys_revoke", json!({ "key": "pk_abcdefgh" }), r#"{"key":"pk_abcdefgh"}"#);
        let expected = r#"{"key":"pk_abcdefgh_[present, masked, 12 bytes]","overlap":"1h"}"#;
        check("keys_rotate", json!({ "key": "pk_abcdefgh_", "overlap": "1h" }), expected);
        check("keys_create", json!({ "name": "ci", "scopes": ["a"] }), r#"{"name":"ci","scopes":["a"]}"#);
        let expected = r#"{"token":"present, masked, 11 bytes","provider":"jwt.main"}"#;
        check("tokens_revoke", json!({ "token": "eyJhb.eyJ.x", "provider": "jwt.main" }), expected);
        check("tokens_revoke", json!({ "jti": "eyJhb.eyJ.x" }), r#"{"jti":"present, masked, 11 bytes"}"#);
        check("tokens_revoke", json!({ "jti": "5f2b.1" }), r#"{"jti":"5f2b.1"}"#);
        let expected = r#"{"name":"ada","password":"present, masked, 6 bytes"}"#;
        check("users_add", json!({ "name": "ada", "password": "secret" }), expected);
        check("users_password", json!({ "name": "ada", "password": "secret" }), expected);
        check("users_add", json!({ "name": "ada" }), r#"{"name":"ada"}"#);
        let drain = json!({ "upstream": "u", "endpoint": "http://a:b@h:1", "state": "drain" });
        let expected = r#"{"upstream":"u","endpoint":"http://[present, masked, 3 bytes]@h:1","state":"drain"}"#;
        check("upstreams_set", drain, expected);
        let explain = json!({ "method": "GET", "url": "http://u:p@h/?token=abc", "headers": ["Cookie: a=b", "x"] });
        let expected = r#"{"headers":["Cookie: present, masked, 3 bytes","present, masked, 1 bytes"],"method":"GET","url":"http://[present, masked, 3 bytes]@h/?token=[present, masked, 3 bytes]"}"#;
        check("explain", explain, expected);
    }
}
