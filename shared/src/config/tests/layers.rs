//! Files, overlay, environment and command line: which wins, and how each value knows where it came from.

use std::fs;

use super::Known;
use crate::config::source::{Input, References, Sources};
use crate::config::{Checked, Problems, load};

fn sources(config: &std::path::Path) -> Sources {
    Sources { config: config.to_owned(), env: None, set: Vec::new() }
}

fn read(sources: &Sources, environment: &[(&str, &str)]) -> Result<Checked, Problems> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(&Input::read(sources, environment)?, &References::Resolve(&Known::default()))
}

#[track_caller]
fn good(sources: &Sources, environment: &[(&str, &str)]) -> Checked {
    read(sources, environment).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn origin(checked: &Checked, path: &str) -> String {
    checked
        .effective()
        .origins
        .iter()
        .find(|(of, _)| of == path)
        .map_or_else(String::new, |(_, origin)| origin.to_string())
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "server: {listen: '127.0.0.1:1', workers: 1, timeouts: {drain: 1s}}\nlog: {level: error}\n")
        .unwrap();
    let overlay = folder.path().join("config.production.yaml");
    fs::write(&overlay, "server:\n  listen: ['127.0.0.1:2']\n  workers: 2\n").unwrap();

    let mut sources = sources(&file);
    let checked = good(&sources, &[]);
    assert_eq!(checked.config.server.listen[0].address.port(), 1);
    assert_eq!(origin(&checked, "server.listen"), format!("{}:1:18", file.display()));

    sources.env = Some("production".to_owned());
    let checked = good(&sources, &[]);
    assert_eq!(checked.config.server.listen[0].address.port(), 2);
    assert_eq!(checked.config.server.timeouts.drain.as_secs(), 1, "maps merge");
    assert_eq!(origin(&checked, "server.listen[0]"), format!("{}:2:12", overlay.display()));

    let environment = [("PROXYD__SERVER__LISTEN", "127.0.0.1:3"), ("PROXYD__SERVER__WORKERS", "3"), ("HOME", "/root")];
    let checked = good(&sources, &environment);
    assert_eq!(checked.config.server.listen[0].address.port(), 3);
    assert_eq!(origin(&checked, "server.listen"), "environment PROXYD__SERVER__LISTEN");

    sources.set = vec!["server.listen=[\"127.0.0.1:4\", \"127.0.0.1:5\"]".to_owned(), "log.access=off".to_owned()];
    let checked = good(&sources, &environment);
    assert_eq!(checked.config.server.listen.len(), 2);
    assert_eq!(checked.config.server.workers.map(usize::from), Some(3));
    assert_eq!(origin(&checked, "server.listen[1]"), "--set server.listen");
    assert_eq!(origin(&checked, "server.workers"), "environment PROXYD__SERVER__WORKERS");
    assert_eq!(origin(&checked, "log.level"), format!("{}:2:14", file.display()));
    assert_eq!(origin(&checked, "log.format"), "default");
}

#[test]
fn overrides_reach_into_lists_and_make_what_is_missing() {
    let mut input = Input::text("config.yaml", "routes:\n  - {path: /a, target: 'http://a'}\n");
    input.environment = vec![("PROXYD__ROUTES__0__PRIORITY".to_owned(), "7".to_owned())];
    input.set = vec![
        "routes[0].target=http://b:1".to_owned(),
        "routes[1]={path: /b, upstream: users}".to_owned(),
        "upstreams.users.endpoints[0]=http://c:2".to_owned(),
        "routes[1].headers[\"x.y\"]=1".to_owned(),
    ];
    let checked = load(&input, &References::Refuse).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let routes = &checked.config.routes;
    assert_eq!((routes.len(), routes[0].priority, &*routes[1].headers[0].name), (2, 7, "x.y"));
    assert_eq!(&*checked.config.upstreams[1].name, "http://b:1");
    assert_eq!(&*checked.config.upstreams[0].endpoints[0].address, "c:2");
}

#[test]
fn the_files_of_a_directory_come_together() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("10-base.yaml"),
        "server: {workers: 1}\nupstreams: {a: {endpoints: ['http://a']}}\nroutes:\n- {path: /a, upstream: a}\n",
    )
    .unwrap();
    fs::write(folder.path().join("20-more.json"), "{\"upstreams\": {\"b\": {\"endpoints\": [\"http://b\"]}},\n\t\"routes\": [{\"path\": \"/b\", \"upstream\": \"b\"}]}").unwrap();
    fs::write(folder.path().join("notes.txt"), "not a config").unwrap();
    let checked = good(&sources(folder.path()), &[]);
    let names: Vec<&str> = checked.config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/a", "/b"]);
    assert_eq!(checked.config.routes[1].at.line, 2);

    fs::write(folder.path().join("30-again.yml"), "server: {workers: 2}\nupstreams: {a: {endpoints: ['http://c']}}\n")
        .unwrap();
    let problems = read(&sources(folder.path()), &[]).expect_err("a name is given twice");
    let codes: Vec<&str> = problems.0.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["duplicate_name", "duplicate_name"], "{}", problems.render(false));
}

#[test]
fn sources_that_cannot_be_read_are_all_told() {
    let folder = tempfile::tempdir().unwrap();
    let empty = read(&sources(folder.path()), &[]).expect_err("no config file is there");
    assert!(empty.render(false).contains("no config file"));
    fs::write(folder.path().join("a.yaml"), [0xff, 0xfe, b'\n']).unwrap();
    fs::write(folder.path().join("b.yaml"), [b'a', b'\n', 0xff]).unwrap();
    let broken = read(&sources(folder.path()), &[]).expect_err("not UTF-8");
    assert_eq!(broken.0.len(), 2, "{}", broken.render(false));
    assert!(broken.render(false).contains("not UTF-8 text (line 2)"));
    let mut missing = sources(&folder.path().join("a.yaml"));
    missing.env = Some("test".to_owned());
    assert!(read(&missing, &[]).expect_err("no overlay").render(false).contains("a.test.yaml"));
}

#[test]
fn relative_paths_start_at_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, "server: {state_dir: state}\nlog: {access: /var/log/x}\n").unwrap();
    let config = good(&sources(&file), &[]).config;
    assert_eq!(config.server.state_dir, folder.path().join("state"));
    assert_eq!(config.audit.path, folder.path().join("state/audit"));
    assert_eq!(config.log.access, crate::config::AccessLog::File("/var/log/x".into()));
}

#[test]
fn the_hash_is_of_what_was_typed() {
    let load = |text: &str| load(&Input::text("a", text), &References::Refuse).unwrap().hash;
    assert_eq!(load("routes: []").len(), 64);
    assert_eq!(load("routes: []"), load("routes: []"));
    assert_ne!(load("routes: []"), load("routes: [] "));
}
