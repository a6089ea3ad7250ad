//! Every command of the protocol can be typed, and everything that can be typed has its examples.

use clap::{CommandFactory, Parser};
use shared::control::{Command, http::FORMS};

use super::*;

/// A command line for each command, by its name on the wire.
fn line_of(name: &str) -> &'static [&'static str] {
    match name {
        "status" => &["status"],
        "routes" => &["routes"],
        "explain" => &["explain", "GET", "/"],
        "reload" => &["reload"],
        // Checked here; the daemon's own form is for those who have no proxyctl.
        "validate" => &["validate"],
        "config" => &["config", "show"],
        "history" => &["history"],
        "rollback" => &["rollback", "1"],
        "audit" => &["audit"],
        "audit_head" => &["audit", "head"],
        "audit_verify" => &["audit", "verify"],
        "upstreams" => &["upstreams"],
        "upstreams_set" => &["upstreams", "drain", "u", "h:1"],
        "upstreams_register" => &["upstreams", "register", "u", "h:1"],
        "upstreams_deregister" => &["upstreams", "deregister", "u", "h:1"],
        "keys" => &["keys"],
        "keys_create" => &["keys", "create", "--name", "n"],
        "keys_revoke" => &["keys", "revoke", "n"],
        "keys_rotate" => &["keys", "rotate", "n"],
        "tokens" => &["tokens"],
        "tokens_revoke" => &["tokens", "revoke", "-"],
        "users" => &["users"],
        "users_add" => &["users", "add", "ada"],
        "users_set" => &["users", "set", "ada", "--enable"],
        "users_password" => &["users", "password", "ada"],
        "users_remove" => &["users", "remove", "ada"],
        "bans" => &["bans"],
        "bans_add" => &["bans", "add", "::1"],
        "bans_lift" => &["bans", "lift", "::1"],
        "limits" => &["limits"],
        "limits_top" => &["limits", "top"],
        "limits_reset" => &["limits", "reset", "k"],
        "log_level" => &["log-level", "info"],
        "upgrade" => &["upgrade"],
        "shutdown" => &["shutdown"],
        _ => &[],
    }
}

fn parsed(line: &[&str]) -> Action {
    Cli::try_parse_from([&["proxyctl"], line].concat()).unwrap().action
}

#[test]
fn every_command_has_a_subcommand_and_an_http_form() {
    for name in Command::NAMES {
        let line = line_of(name);
        assert!(!line.is_empty(), "{name} has no subcommand");
        let command = parsed(line).command().unwrap();
        match command {
            Some(command) => assert_eq!(command.name(), *name),
            None => assert_eq!(*name, "validate"),
        }
        assert!(FORMS.iter().any(|form| form.command == *name), "{name} has no HTTP form");
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

fn leaves(command: &clap::Command, path: &str, out: &mut Vec<(String, String)>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    out.push((path.clone(), help));
    for sub in command.get_subcommands() {
        leaves(sub, &path, out);
    }
}

#[test]
fn every_help_ends_with_two_examples_that_parse() {
    let mut all = Vec::new();
    leaves(&Cli::command(), "", &mut all);
    assert!(all.len() >= 25);
    for (path, help) in all {
        let (_, examples) = help.rsplit_once("Examples:\n").unwrap_or_else(|| panic!("{path} has no examples"));
        let lines: Vec<&str> = examples.lines().collect();
        assert_eq!(lines.len(), 2, "{path}");
        for line in lines {
            let words = typed(line);
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
            let named = path.split(' ').all(|word| words.iter().any(|typed| typed == word));
            assert!(named, "`{line}` is no example of {path}");
        }
    }
}

/// The words of an example's proxyctl, as a shell would give them.
fn typed(line: &str) -> Vec<String> {
    let start = line.find("proxyctl").unwrap();
    let plain = line[start..].split(['<', '>', ')', '|']).next().unwrap();
    let mut words = Vec::new();
    for (at, part) in plain.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn global_flags_stand_before_or_after() {
    for line in [
        &["proxyctl", "--url", "http://h", "--output", "json", "explain", "GET", "http://x/"][..],
        &["proxyctl", "explain", "GET", "http://x/", "--output", "json", "--url", "http://h"],
        &["proxyctl", "explain", "--url", "http://h", "GET", "--output", "json", "http://x/"],
    ] {
        let cli = Cli::try_parse_from(line).unwrap();
        assert_eq!((cli.global.url.as_deref(), cli.global.output), (Some("http://h"), Format::Json));
        let Action::Explain(explain) = cli.action else { panic!("{line:?}") };
        assert_eq!(explain.ask.url, "http://x/");
    }
}

#[test]
fn layers_alone_mean_the_config_here() {
    let Action::Explain(explain) = parsed(&["explain", "GET", "/", "--set", "a=b"]) else { panic!() };
    assert_eq!(explain.place.given(), Some("config.yaml".into()));
    let Action::Explain(explain) = parsed(&["explain", "GET", "/"]) else { panic!() };
    assert_eq!(explain.place.given(), None);
}

/// What a line asks, with its arguments; or part of why it asks nothing.
fn check(line: &str, expected: Result<serde_json::Value, &str>) {
    let words: Vec<&str> = std::iter::once("proxyctl").chain(line.split(' ')).collect();
    let asked = Cli::try_parse_from(words).map_err(|error| error.to_string());
    let asked = asked.and_then(|cli| Ok(serde_json::to_value(cli.action.command()?.unwrap()).unwrap()["args"].clone()));
    match (asked, expected) {
        (Ok(asked), Ok(expected)) => assert_eq!(asked, expected, "{line}"),
        (Err(message), Err(part)) => assert!(message.contains(part), "{line}: {message}"),
        (asked, expected) => panic!("{line}: {asked:?}, not {expected:?}"),
    }
}

#[test]
fn keys_tokens_users_bans_and_limits_are_asked_as_they_are_typed() {
    use serde_json::json;

    check(
        "keys create --name ci --scopes a,b --scopes c --roles agent --acts-for ada --expires 30d --limit 100/m",
        Ok(json!({ "name": "ci", "scopes": ["a", "b", "c"], "roles": ["agent"], "user": "ada", "expires": "30d",
            "limit": "100/m" })),
    );
    check("keys create --scopes a", Err("--name"));
    check("keys revoke", Err("<KEY>"));
    check("keys rotate ci --overlap 24h", Ok(json!({ "key": "ci", "overlap": "24h" })));
    check("keys list", Ok(json!({})));
    check("keys ci", Err("unrecognized subcommand"));
    check("tokens revoke", Err("<TOKEN>"));
    check("tokens revoke a.b.c --jti x", Err("cannot be used with"));
    check("tokens revoke a.b.c --token t --url http://h", Ok(json!({ "token": "a.b.c" })));
    check("tokens revoke --jti x --provider jwt.a", Ok(json!({ "jti": "x", "provider": "jwt.a" })));
    check("users add ada --email a@b --verified", Ok(json!({ "name": "ada", "email": "a@b", "verified": true })));
    check("users add ada --verified", Err("--email"));
    check("users add ada --password secret", Err("unexpected argument"));
    check("users add ada --no-password --password-stdin", Err("cannot be used with"));
    check("users set ada", Err("required"));
    check(
        "users set ada --roles a,b --unverified --disable",
        Ok(json!({ "name": "ada", "roles": ["a", "b"], "verified": false, "disabled": true })),
    );
    check("users set ada --no-roles --enable", Ok(json!({ "name": "ada", "roles": [], "disabled": false })));
    check("users set ada --enable --disable", Err("cannot be used with"));
    check("bans add 10.0.0.0/8 --for 1h", Ok(json!({ "network": "10.0.0.0/8", "for": "1h" })));
    check("limits top --last 5 --rule r", Ok(json!({ "rule": "r", "last": 5 })));
    check("limits --rule r top", Ok(json!({ "rule": "r" })));
    check("limits show k", Ok(json!({ "key": "k" })));
    check("limits k", Ok(json!({ "key": "k" })));
    check("limits k reset l", Err("after the word"));
}

#[test]
fn secrets_are_read_from_where_the_line_says() {
    for (line, from) in [
        ("users add ada", Some(SecretFrom::Terminal)),
        ("users add ada --password-stdin", Some(SecretFrom::Stdin)),
        ("users add ada --no-password", None),
        ("users password ada", Some(SecretFrom::Terminal)),
        ("users remove ada", None),
        ("tokens revoke -", Some(SecretFrom::TokenStdin)),
        ("tokens revoke a.b.c", None),
        ("tokens revoke --jti x", None),
        ("keys create --name ci", None),
    ] {
        assert_eq!(parsed(&line.split(' ').collect::<Vec<_>>()).secret(), from, "{line}");
    }
}
