//! Files made for the test, and what is told of them.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use shared::config::{Checked, Input, References, source};

use super::*;

/// 1 June 2030.
const NOW_S: i64 = 1_906_502_400;

/// A certificate of its own signing, good until this day, with its key.
fn issue(year: i32, month: u8, day: u8) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, month, day);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW_S).unwrap()
}

fn load(folder: &Path, text: &str) -> Checked {
    let path = folder.join("config.yaml");
    fs::write(&path, text).unwrap();
    let sources = shared::config::Sources { config: path, env: None, set: Vec::new() };
    let input = Input::read(&sources, std::iter::empty()).unwrap();
    shared::config::load(&input, &References::Resolve(&source::System)).unwrap()
}

const LISTEN: &str = "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a.pem, key: a.key}]}}}";

/// What is told of a pair of files, without the folder that they are in.
fn told(cert: &str, key: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.pem"), cert).unwrap();
    fs::write(folder.path().join("a.key"), key).unwrap();
    shown(folder.path(), LISTEN)
}

fn shown(folder: &Path, text: &str) -> Vec<String> {
    let root = format!("{}/", folder.display());
    problems(&load(folder, text), now())
        .iter()
        .map(|problem| {
            let severity = if problem.severity == Severity::Error { "error" } else { "warning" };
            let message = problem.message.replace(&root, "");
            format!("{severity}[{}] {}: {message}", problem.code.as_str(), problem.path)
        })
        .collect()
}

const CERT: &str = "server.listen.tls.certificates[0].cert";
const KEY: &str = "server.listen.tls.certificates[0].key";

#[test]
fn a_pair_that_fits_is_good() {
    let (cert, key) = issue(2031, 1, 1);
    assert_eq!(told(&cert, &key), Vec::<String>::new());
    assert_eq!(told(&format!("{cert}{}", issue(2031, 1, 1).0), &key), Vec::<String>::new(), "a chain");
    assert_eq!(told(&format!("{key}{cert}"), &format!("{cert}{key}")), Vec::<String>::new(), "all in one file");
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let (cert, key) = issue(2031, 1, 1);
    let (other, _) = issue(2031, 1, 1);
    assert_eq!(
        told(&other, &key),
        [format!("error[conflict] {KEY}: a.key is not the key of the certificate beside it")]
    );
    assert_eq!(
        told("", "nothing"),
        [
            format!("error[invalid_value] {CERT}: a.pem holds no certificate"),
            format!("error[invalid_value] {KEY}: a.key holds no private key"),
        ]
    );
    let none = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        told(&format!("{cert}{none}"), &key),
        [format!("error[invalid_value] {CERT}: a.pem holds a certificate that is none (the 2. in it)")]
    );
    assert_eq!(
        told("-----BEGIN CERTIFICATE-----\nAAAA\n", &key),
        [format!("error[invalid_value] {CERT}: a.pem is not PEM: a block has no end")]
    );
    let secret = "-----BEGIN PRIVATE KEY-----\ns3cr?t\n-----END PRIVATE KEY-----\n";
    assert_eq!(told(&cert, secret), [format!("error[invalid_value] {KEY}: a.key is not PEM: a block is not base64")]);
    let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let found = told(&cert, odd);
    assert!(found[0].contains("a.key holds a private key that cannot be used: "), "{found:?}");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(
        told(&cert, locked),
        [format!("error[invalid_value] {KEY}: a.key holds a private key that is encrypted")]
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a.key")).unwrap();
    assert_eq!(
        shown(folder.path(), LISTEN),
        [
            format!("error[unreadable] {CERT}: a.pem cannot be read: No such file or directory (os error 2)"),
            format!("error[unreadable] {KEY}: a.key is no plain file"),
        ]
    );
    fs::remove_dir(folder.path().join("a.key")).unwrap();
    let (cert, _) = issue(2031, 1, 1);
    fs::write(folder.path().join("a.pem"), cert).unwrap();
    fs::write(folder.path().join("a.key"), vec![b'\n'; (4 << 20) + 1]).unwrap();
    assert_eq!(shown(folder.path(), LISTEN), [format!("error[too_large] {KEY}: a.key is larger than 4 MiB")]);
}

#[test]
fn certificates_end() {
    let check = |until: (i32, u8, u8), expected: &[&str]| {
        let (cert, key) = issue(until.0, until.1, until.2);
        let expected: Vec<String> = expected
            .iter()
            .map(|message| format!("warning[expires] {CERT}: a.pem holds a certificate that {message}"))
            .collect();
        assert_eq!(told(&cert, &key), expected, "{until:?}");
    };
    check((2030, 5, 31), &["expired (2030-05-31T00:00:00Z)"]);
    check((2030, 6, 1), &["expires within a day (2030-06-01T00:00:00Z)"]);
    check((2030, 6, 4), &["expires in 3 days (2030-06-04T00:00:00Z)"]);
    check((2030, 6, 15), &["expires in 14 days (2030-06-15T00:00:00Z)"]);
    check((2030, 6, 16), &[]);
}

#[test]
fn every_file_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (good, key) = issue(2031, 1, 1);
    let (old, _) = issue(2030, 1, 1);
    for (name, text) in [("a.pem", &good), ("a.key", &key), ("ca.pem", &format!("{old}{good}")), ("old.pem", &old)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let text = "server:
  listen:
  - 0.0.0.0:1
  - {address: '0.0.0.0:2', tls: {certificates: [{cert: a.pem, key: a.key}, {cert: b.pem, key: a.key}], client_ca: ca.pem}}
upstreams:
  u: {endpoints: ['https://a'], tls: {ca: old.pem, cert: a.pem, key: c.key}}
routes: [{upstream: u}, {path: /b, target: 'https://b'}]
";
    let missing = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(
        shown(folder.path(), text),
        [
            format!("error[unreadable] server.listen[1].tls.certificates[1].cert: b.pem {missing}"),
            "warning[expires] upstreams.u.tls.ca: old.pem holds authorities, the last of which expired (2030-01-01T00:00:00Z)".to_owned(),
            format!("error[unreadable] upstreams.u.tls.key: c.key {missing}"),
        ]
    );
    let examined = examine(&load(folder.path(), text).config, now());
    assert_eq!((examined.files, examined.first_end_s.map(moment).as_deref()), (8, Some("2030-01-01T00:00:00Z")));
}
