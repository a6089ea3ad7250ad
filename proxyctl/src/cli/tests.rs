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
        "limits" => &["limits"],
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
    let plain = line[start..].split(['>', ')', '|']).next().unwrap();
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
