//! Every kind of problem, provoked and rendered. The test fails when a code has no case.

use std::collections::BTreeSet;

use super::{Known, load_text};
use crate::config::problem::{Code, Problems};
use crate::config::source::{Input, References, Sources};
use crate::config::{Remark, load, problem::Severity};

/// One config for each code, and what stands in it.
const CASES: &[(Code, &str)] = &[
    (Code::Syntax, "routes:\n  - path: /a\n   target: http://a\n"),
    (Code::TooLarge, "routes:\n  - regex: '(a{1000}){1000}'\n    target: http://a\n"),
    (Code::UnknownKey, "server:\n  listne: 127.0.0.1:80\nroute: []\n"),
    (Code::DuplicateKey, "log:\n  level: info\n  level: debug\n"),
    (Code::WrongType, "routes:\n  path: /a\nlog: [text]\nserver: {merge_slashes: on}\n"),
    (Code::MissingKey, "cors: {credentials: false}\nroutes:\n  - path: /a\n"),
    (Code::InvalidValue, "server: {listen: 8000}\nroutes:\n  - path: api\n    target: 127.0.0.1:8001\n"),
    (Code::InvalidUnit, "server:\n  timeouts: {drain: 30, keep_alive: 1 minute}\nbody_limit: 10\n"),
    (Code::OutOfRange, "rate_limit: {requests_per_minute: 0}\nlog: {slow_request: 0s}\n"),
    (
        Code::Conflict,
        "routes:\n  - path: /a\n    target: http://a\n    respond: {}\ncors: {allow_origins: ['*'], credentials: true}\n",
    ),
    (
        Code::DuplicateName,
        "server: {listen: ['127.0.0.1:80', '127.0.0.1:80']}\nroutes:\n  - {name: a, path: /a, respond: {}}\n  - {name: a, path: /b, respond: {}}\n",
    ),
    (
        Code::UnknownName,
        "routes:\n  - {path: /a, upstream: usrs}\n  - {path: /b, redirect: '/{pth}'}\nupstreams:\n  users: {endpoints: ['http://a']}\n",
    ),
    (
        Code::Unused,
        "upstreams:\n  users: {endpoints: ['http://a']}\nroutes:\n  - {path: /a, respond: {}, rewrite: {path: /b}}\n",
    ),
    (Code::SameRoute, "routes:\n  - {path: /a, respond: {}}\n  - {path: /a, target: 'http://a'}\n"),
    (Code::Unreachable, "routes:\n  - {regex: ^/v, respond: {}}\n  - {path: /, respond: {}}\n"),
    (Code::MissingAuth, "admin: {listen: 0.0.0.0:9900}\n"),
    (Code::ClearSecret, "admin:\n  auth: {tokens: [{name: ci, token: aaaabbbbccccdddd}]}\n"),
    (Code::UnsetReference, "log:\n  access: ${env:NOWHERE}\n  redact: {query: ['${file:none}']}\n"),
    (Code::InvalidReference, "log: {access: '${HOME}/log'}\nserver: {state_dir: '${env:A'}\n"),
    (Code::InvalidOverride, ""),
    (Code::Unreadable, ""),
    (Code::Unverified, "upstreams: {u: {endpoints: ['https://a'], tls: {verify: false}}}\nroutes: [{upstream: u}]\n"),
    (
        Code::Expires,
        "server:\n  listen: {address: 0.0.0.0:443, tls: {certificates: [{cert: site.pem, key: site.key}]}}\n",
    ),
    (Code::Unsupported, "identity:\n  jwt: {main: {keys: {pem: key.pem}, algorithms: [ES256K]}}\n"),
    (Code::More, ""),
];

fn provoke(code: Code, text: &str) -> Problems {
    let found = if code == Code::Unreadable {
        let sources = Sources { config: "/nowhere/config.yaml".into(), env: Some("../x".to_owned()), set: Vec::new() };
        return Input::read(&sources, std::iter::empty()).expect_err("there is no such file");
    } else if code == Code::InvalidOverride {
        let mut input = Input::text("config.yaml", "routes: []\n");
        input.environment = vec![("PROXYD__SERVER____LISTEN".to_owned(), "x".to_owned())];
        input.set = vec!["routes[3].path=/a".to_owned(), "server".to_owned(), "routes.x=1".to_owned()];
        load(&input, &References::Resolve(&Known::default()))
    } else if code == Code::More {
        load_text(&"bad: 1\n".repeat(150))
    } else {
        load_text(text)
    };
    match found {
        Ok(checked) if code == Code::Expires => {
            let keys = ["server", "listen", "0", "tls", "certificates", "0", "cert"].map(str::to_owned).into();
            Problems(checked.locate(vec![Remark {
                severity: Severity::Warning,
                code,
                keys,
                file: "site.pem".into(),
                message: "expires in 3 days".to_owned(),
                hint: Some("renew it".to_owned()),
            }]))
        }
        Ok(checked) => Problems(checked.warnings),
        Err(problems) => problems,
    }
}

#[test]
fn every_code_has_its_case_and_its_text() {
    for code in Code::ALL {
        let (_, text) = CASES.iter().find(|(of, _)| *of == code).unwrap_or_else(|| panic!("{code:?} has no case"));
        let problems = provoke(code, text);
        let found: BTreeSet<&str> = problems.0.iter().map(|problem| problem.code.as_str()).collect();
        assert!(found.contains(code.as_str()), "the case of {code:?} provokes {found:?}");
        let rendered = problems.render(false);
        let shown = if code == Code::More { rendered.lines().last().unwrap_or_default().to_owned() } else { rendered };
        insta::assert_snapshot!(code.as_str(), shown);
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}

#[test]
fn all_is_all() {
    // A code that is missing from `ALL` has no number of its own here.
    let known: BTreeSet<Code> = Code::ALL.into_iter().collect();
    assert_eq!(known.len(), Code::ALL.len());
    assert_eq!(Code::More as usize + 1, Code::ALL.len(), "`More` is the last code");
}

#[test]
fn colour_only_where_asked() {
    let problems = load_text("server: {listen: x}").expect_err("not an address");
    assert!(problems.render(true).contains('\u{1b}'));
    assert!(!problems.render(false).contains('\u{1b}'));
    assert!(problems.0.iter().all(|problem| problem.severity == Severity::Error));
}

#[test]
fn hostile_text_does_not_reach_the_terminal() {
    let problems = load_text("\"\\e[2Jx\": 1\nserver: {listen: \"\\e[31m\"}").expect_err("an unknown key");
    assert!(!problems.render(false).contains('\u{1b}'));
}
