//! Every command goes over HTTP and comes back as it was; what is no command is refused by code.

use super::*;
use crate::audit::{AuditQuery, Kind};
use crate::config::{Level, Secret};
use crate::control::{
    BansAddArgs, BansLiftArgs, ConfigArgs, EndpointState, ExplainArgs, HistoryArgs, KeysCreateArgs, KeysRevokeArgs,
    KeysRotateArgs, LimitsArgs, LimitsResetArgs, LimitsTopArgs, LogLevelArgs, Nothing, ReloadArgs, RollbackArgs,
    RoutesArgs, TokensRevokeArgs, UpstreamsArgs, UpstreamsDeregisterArgs, UpstreamsRegisterArgs, UpstreamsSetArgs,
    UsersAddArgs, UsersPasswordArgs, UsersRemoveArgs, UsersSetArgs, ValidateArgs, VerifyArgs,
};

/// A filter that is set.
#[expect(clippy::unnecessary_wraps, reason = "the form that filters have")]
fn text_of(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn full_audit(follow: bool) -> AuditQuery {
    AuditQuery {
        last: Some(7),
        since: text_of("2026-11-22T10:00:00+01:00"),
        until: text_of("1h"),
        before: Some(9),
        after: Some(3),
        kind: Some(Kind::Requests),
        status: text_of("400-499"),
        route: text_of("a b&c=d"),
        upstream: text_of("http://127.0.0.1:8001"),
        client: text_of("10.0.0.0/8"),
        path: text_of("/ä/*?%"),
        method: text_of("GET"),
        outcome: text_of("served"),
        principal: text_of("alice"),
        credential: text_of("api_key pk_ab12cd34"),
        actor: text_of("root"),
        request_id: text_of("x"),
        retried: true,
        follow,
    }
}

/// One of each, with every argument given; and those whose form depends on the arguments.
fn commands() -> Vec<Command> {
    let full = [
        Command::Status(Nothing {}),
        Command::Routes(RoutesArgs { name: text_of("api/ä") }),
        Command::Explain(ExplainArgs {
            method: "GET".into(),
            url: "http://h/x?y".into(),
            headers: vec!["a: b".into()],
            from: text_of("::1"),
        }),
        Command::Reload(ReloadArgs { dry_run: true, config: text_of("/etc/x") }),
        Command::Validate(ValidateArgs { text: "routes: []\n".into(), name: text_of("config.yaml") }),
        Command::Config(ConfigArgs { origin: true }),
        Command::History(HistoryArgs { generation: Some(3) }),
        Command::Rollback(RollbackArgs { generation: 3, write: true }),
        Command::Audit(full_audit(false)),
        Command::AuditHead(Nothing {}),
        Command::AuditVerify(VerifyArgs { head: text_of("1:ab") }),
        Command::Upstreams(UpstreamsArgs { name: text_of("users/ä") }),
        Command::UpstreamsSet(UpstreamsSetArgs {
            upstream: "http://127.0.0.1:8001".into(),
            endpoint: "[::1]:8001".into(),
            state: Some(EndpointState::Drain),
            weight: Some(7),
        }),
        Command::UpstreamsRegister(UpstreamsRegisterArgs {
            upstream: "users".into(),
            endpoint: "https://h:1".into(),
            weight: Some(2),
            backup: true,
            ttl: text_of("30s"),
        }),
        Command::UpstreamsDeregister(UpstreamsDeregisterArgs {
            upstream: "{id}".into(),
            endpoint: "http://[::1]:8001/".into(),
        }),
        Command::Keys(Nothing {}),
        Command::KeysCreate(KeysCreateArgs {
            name: "ci".into(),
            scopes: vec!["a:read".into(), "b".into()],
            roles: vec!["agent".into()],
            user: text_of("ada"),
            expires: text_of("30d"),
            limit: text_of("100/m"),
        }),
        Command::KeysRevoke(KeysRevokeArgs { key: "a/b c".into() }),
        Command::KeysRotate(KeysRotateArgs { key: "rotate".into(), overlap: text_of("24h") }),
        Command::Tokens(Nothing {}),
        Command::TokensRevoke(TokensRevokeArgs {
            token: Some(Secret::new("a.b.c")),
            jti: text_of("j"),
            provider: text_of("jwt.main"),
            expires: text_of("1h"),
        }),
        Command::Users(Nothing {}),
        Command::UsersAdd(UsersAddArgs {
            name: "ada".into(),
            email: text_of("ada@example.com"),
            roles: vec!["admin".into()],
            password: Some(Secret::new("x")),
            verified: true,
        }),
        Command::UsersSet(UsersSetArgs {
            name: "ada@example.com".into(),
            email: text_of("a@b"),
            roles: Some(Vec::new()),
            verified: Some(false),
            disabled: Some(true),
        }),
        Command::UsersPassword(UsersPasswordArgs { name: "password".into(), password: Secret::new("x") }),
        Command::UsersRemove(UsersRemoveArgs { name: "a/b".into() }),
        Command::Bans(Nothing {}),
        Command::BansAdd(BansAddArgs { network: "::/0".into(), lasts: text_of("1h"), reason: text_of("loud") }),
        Command::BansLift(BansLiftArgs { network: "10.0.0.0/8".into() }),
        Command::Limits(LimitsArgs { key: text_of("::1"), rule: text_of("default") }),
        Command::LimitsTop(LimitsTopArgs { rule: text_of("default"), last: Some(7) }),
        Command::LimitsReset(LimitsResetArgs { key: "a/b c".into(), rule: text_of("default") }),
        Command::LogLevel(LogLevelArgs { level: Level::Debug }),
        Command::Upgrade(Nothing {}),
        Command::Shutdown(Nothing {}),
    ];
    let names: Vec<_> = full.iter().map(Command::name).collect();
    assert_eq!(names, Command::NAMES, "one of each command");
    let more = [
        Command::Audit(full_audit(true)),
        Command::Audit(AuditQuery::default()),
        Command::History(HistoryArgs::default()),
        Command::Reload(ReloadArgs::default()),
        Command::Config(ConfigArgs::default()),
        Command::LimitsReset(LimitsResetArgs { key: "top".into(), rule: None }),
        Command::TokensRevoke(TokensRevokeArgs::default()),
        Command::UsersAdd(UsersAddArgs { name: "ada".into(), ..UsersAddArgs::default() }),
    ];
    full.into_iter().chain(more).collect()
}

#[test]
fn every_command_goes_and_comes_back() {
    for command in commands() {
        let request = command.to_http().unwrap();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let form = HttpForm::find(request.form.method, path).unwrap();
        assert_eq!(form, request.form, "{path}");
        assert_eq!(form.command(path, query, request.body.as_bytes()), Ok(command), "{}", request.target);
    }
}

#[test]
fn forms_are_distinct_and_in_order() {
    let mut order: Vec<_> = FORMS.iter().map(|form| form.command).collect();
    order.dedup();
    assert_eq!(order, Command::NAMES);
    for (at, form) in FORMS.iter().enumerate() {
        assert!(!FORMS[..at].iter().any(|other| (other.method, other.path) == (form.method, form.path)));
    }
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    assert_eq!(HttpForm::find("GET", "/admin/nothing"), Err(vec![]));
    assert_eq!(HttpForm::find("GET", "/admin/history/"), Err(vec![]));
    assert_eq!(HttpForm::find("GET", "/admin/history/1/2"), Err(vec![]));
    assert_eq!(HttpForm::find("POST", "/admin/audit/head"), Err(vec!["GET"]));
    assert_eq!(HttpForm::find("GET", "/admin/limits/x"), Err(vec!["DELETE"]));
    assert_eq!(HttpForm::find("POST", "/admin/limits/top"), Err(vec!["GET", "DELETE"]));
    assert_eq!(HttpForm::find("GET", "/admin/keys/x"), Err(vec!["DELETE"]));
    assert_eq!(HttpForm::find("GET", "/admin/users/x"), Err(vec!["PUT", "DELETE"]));
    assert_eq!(HttpForm::find("DELETE", "/admin/bans/10.0.0.0/8"), Err(vec![]));
    assert_eq!(HttpForm::find("GET", "/admin/upstreams/x/endpoints"), Err(vec!["POST"]));
    assert_eq!(HttpForm::find("GET", "/admin/upstreams/x/endpoints/y"), Err(vec!["PUT", "DELETE"]));
    assert_eq!(HttpForm::find("POST", "/admin/upstreams//endpoints"), Err(vec![]));
    assert_eq!(HttpForm::find("PUT", "/admin/upstreams/x/endpoints/"), Err(vec![]));
    assert_eq!(HttpForm::find("PUT", "/admin/upstreams/x/endpoints/y/z"), Err(vec![]));
}

fn check(method: &str, path: &str, query: &str, body: &str, expected: Result<Command, ErrorCode>) {
    let form = HttpForm::find(method, path).unwrap();
    let got = form.command(path, query, body.as_bytes()).map_err(|error| error.code);
    assert_eq!(got, expected, "{method} {path}?{query}");
}

#[test]
fn what_is_typed_by_hand_is_read_or_refused() {
    let audit = |query: AuditQuery| Ok(Command::Audit(query));
    check("GET", "/admin/audit", "", "", audit(AuditQuery::default()));
    check("GET", "/admin/audit", "last=5&", "", audit(AuditQuery { last: Some(5), ..AuditQuery::default() }));
    let spaced = AuditQuery { actor: text_of("a b+"), ..AuditQuery::default() };
    check("GET", "/admin/audit", "actor=a+b%2B", "", audit(spaced));
    check("GET", "/admin/audit", "last=-5", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "last=5&last=6", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "follow=true", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "path=%", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "path=%+1", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "path=%ff", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/audit", "kind=cats", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/history/x", "", "", Err(ErrorCode::InvalidArguments));
    check("GET", "/admin/config", "origin", "", Ok(Command::Config(ConfigArgs { origin: true })));
    check("GET", "/admin/config", "origin=false", "", Ok(Command::Config(ConfigArgs { origin: false })));
    check("GET", "/admin/config", "origin=maybe", "", Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/reload", "", " \n", Ok(Command::Reload(ReloadArgs::default())));
    check("POST", "/admin/reload", "", "[]", Err(ErrorCode::MalformedRequest));
    check("POST", "/admin/reload", "", r#"{"fast":true}"#, Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/rollback", "", "", Err(ErrorCode::InvalidArguments));
    let drain = UpstreamsSetArgs {
        upstream: "a b".into(),
        endpoint: "h:1".into(),
        state: Some(EndpointState::Drain),
        weight: None,
    };
    let place = "/admin/upstreams/a%20b/endpoints/h:1";
    check("PUT", place, "", r#"{"state":"drain"}"#, Ok(Command::UpstreamsSet(drain)));
    check("PUT", place, "", r#"{"state":"drain","endpoint":"x:1"}"#, Err(ErrorCode::InvalidArguments));
    check("PUT", place, "", r#"{"state":"asleep"}"#, Err(ErrorCode::InvalidArguments));
    check("PUT", place, "", r#"{"weight":-1}"#, Err(ErrorCode::InvalidArguments));
    check("PUT", "/admin/upstreams/a/endpoints/%ff", "", "", Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/upstreams/a/endpoints", "", "", Err(ErrorCode::InvalidArguments));
    let gone = UpstreamsDeregisterArgs { upstream: "a b".into(), endpoint: "h:1".into() };
    check("DELETE", place, "", "", Ok(Command::UpstreamsDeregister(gone)));
    let lift = BansLiftArgs { network: "10.0.0.0/8".into() };
    check("DELETE", "/admin/bans/10.0.0.0%2F8", "", "", Ok(Command::BansLift(lift)));
    check("POST", "/admin/keys", "", "", Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/keys", "", r#"{"name":"a","scope":"b"}"#, Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/keys/a/rotate", "", r#"{"key":"b"}"#, Err(ErrorCode::InvalidArguments));
    check("PUT", "/admin/users/a/password", "", "{}", Err(ErrorCode::InvalidArguments));
    check("POST", "/admin/bans", "", r#"{"network":"::1","for":3600}"#, Err(ErrorCode::InvalidArguments));
}
