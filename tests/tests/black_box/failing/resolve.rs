//! Names that stand for several addresses: all of them are used, and what changes is seen.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::dns::{Names, Record};
use tests::{Proxyd, Upstream, eventually};

use super::{becomes, count, endpoint, one_worker, row, said, told};

/// Servers on the same port of 127.0.0.2, 127.0.0.3 and so on, that say a letter each.
pub(super) fn siblings(count: u8) -> (Vec<Upstream>, u16) {
    let at = |number: u8, port| SocketAddr::from(([127, 0, 0, 2 + number], port));
    let port = eventually("a port that is free on all of them", || {
        let first = TcpListener::bind(at(0, 0)).ok()?;
        let port = first.local_addr().ok()?.port();
        let others: Option<Vec<_>> = (1..count).map(|number| TcpListener::bind(at(number, port)).ok()).collect();
        others.map(|_| port)
    });
    let one = |number: u8| {
        let letter = char::from(b'a' + number).to_string();
        Upstream::at(at(number, port), move |conn| {
            while conn.request().is_some() {
                conn.answer(200, &[], letter.as_bytes());
            }
        })
    };
    ((0..count).map(one).collect(), port)
}

pub(super) fn a(last: u8) -> Record {
    Record::A(Ipv4Addr::new(127, 0, 0, last))
}

/// `users` at this URL, asked of these names.
pub(super) fn named(names: &Names, url: &str, more: &str) -> String {
    format!(
        "upstreams: {{users: {{endpoints: ['{url}'], resolve: {{servers: '{}', every: 1s, timeout: 200ms}}{more}}}}}\n\
         routes: [{{name: all, path: /, upstream: users}}]\n",
        names.address()
    )
}

pub(super) fn addresses(proxyd: &Proxyd) -> Vec<String> {
    let line = told(proxyd, "users");
    let endpoints = line["endpoints"].as_array().expect("endpoints");
    endpoints.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_addresses_are_used_and_changes_are_seen() {
    let (_held, port) = siblings(3);
    let names = Names::default();
    names.say("users.test", 1, &[a(3), a(2)]);
    let proxyd = one_worker(&named(&names, &format!("http://users.test:{port}"), ""));
    // The first request waits for the first answer.
    let all = said(&proxyd, "/", 10);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (5, 5), "{all}");
    assert_eq!(addresses(&proxyd), [format!("127.0.0.2:{port}"), format!("127.0.0.3:{port}")]);
    assert_eq!(endpoint(&proxyd, 0)["origin"], "dns");
    let before = endpoint(&proxyd, 1)["requests"].clone();
    // One goes, another one comes: the one that stays is the same.
    names.say("users.test", 3600, &[a(3), a(4)]);
    eventually("the change is seen", || (addresses(&proxyd)[1] == format!("127.0.0.4:{port}")).then_some(()));
    assert_eq!(endpoint(&proxyd, 0)["requests"], before);
    let all = said(&proxyd, "/", 10);
    assert_eq!((count(&all, 'a'), count(&all, 'b'), count(&all, 'c')), (0, 5, 5), "{all}");
    // What `every` says comes before what the answer says.
    names.say("users.test", 3600, &[a(2)]);
    eventually("it is asked again", || (addresses(&proxyd) == [format!("127.0.0.2:{port}")]).then_some(()));
    assert_eq!(said(&proxyd, "/", 3), "aaa");
}

#[test]
fn a_name_that_is_not_there_fails_no_start() {
    let (_held, port) = siblings(1);
    let names = Names::default();
    let began = Instant::now();
    let yaml = named(&names, &format!("http://users.test:{port}"), ", timeouts: {connect: 3s}");
    let proxyd = Proxyd::start(&yaml);
    let line = becomes(&proxyd, 0, "unresolved");
    assert!(line["why"].as_str().is_some_and(|why| !why.is_empty()), "{line:#}");
    let answer = proxyd.get("/early");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "upstream_unavailable"));
    assert_eq!(row(&proxyd, "/early")["outcome"], "upstream_unavailable");
    eventually("the log tells of it", || proxyd.output().contains("a name could not be resolved").then_some(()));
    proxyd.ctl(&["upstreams"]).exits(0).says(&["unresolved", &format!("users.test:{port}")]);
    // Nor a reload.
    proxyd.reload_with(&yaml.replace("3s", "4s"));
    assert!(began.elapsed() < Duration::from_mins(1));
    names.say("users.test", 1, &[a(2)]);
    eventually("it is well", || (proxyd.get("/").text() == "a").then_some(()));
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
    // A name without addresses is none either.
    names.say("users.test", 1, &[]);
    eventually("that is noticed", || proxyd.output().contains("\"known\":1").then_some(()));
    assert_eq!(proxyd.get("/").text(), "a", "those found last stay");
}

#[test]
fn what_was_known_stays_when_nobody_answers() {
    let (_held, port) = siblings(2);
    let names = Names::default();
    names.say("users.test", 1, &[a(2), a(3)]);
    let yaml = named(&names, &format!("http://users.test:{port}"), "");
    let proxyd = one_worker(&yaml);
    assert_eq!(said(&proxyd, "/", 4).len(), 4);
    names.be_silent(true);
    eventually("a look-up fails", || proxyd.output().contains("a name could not be resolved").then_some(()));
    let all = said(&proxyd, "/", 6);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (3, 3), "{all}");
    // Over a reload of the upstream too.
    proxyd.reload_with(&yaml.replace("resolve:", "slow_start: 1s, resolve:"));
    assert_eq!(said(&proxyd, "/", 6).len(), 6);
    names.be_silent(false);
    names.say("users.test", 1, &[a(3)]);
    eventually("it is asked again", || (addresses(&proxyd) == [format!("127.0.0.3:{port}")]).then_some(()));
}

#[test]
fn addresses_do_well_or_badly_one_by_one() {
    let (mut held, port) = siblings(3);
    let names = Names::default();
    names.say("users.test", 60, &[a(2), a(3), a(4)]);
    let more = ", retry: {attempts: 3}, eject: {consecutive_errors: 1, for: 1h, max_for: 1h}";
    let proxyd = one_worker(&named(&names, &format!("http://users.test:{port}"), more));
    drop(held.remove(1));
    let all = said(&proxyd, "/", 12);
    assert_eq!(all.len(), 12, "{all}");
    becomes(&proxyd, 1, "ejected");
    // One of them is drained.
    let drained = format!("127.0.0.2:{port}");
    proxyd.ctl(&["upstreams", "drain", "users", &drained]).exits(0);
    assert_eq!(said(&proxyd, "/", 4), "cccc");
    // The whole name, for whatever addresses it has.
    proxyd.ctl(&["upstreams", "ready", "users", &drained]).exits(0);
    proxyd.ctl(&["upstreams", "down", "users", &format!("users.test:{port}")]).exits(0);
    assert_eq!(proxyd.get("/").status, 503);
}

#[test]
fn the_system_s_names_are_known() {
    let upstream = Upstream::saying("home");
    let port = upstream.address().port();
    let yaml = format!(
        "upstreams: {{users: {{endpoints: ['http://localhost:{port}'], resolve: {{}}, retry: {{}}}}}}\n\
         routes: [{{name: all, path: /, upstream: users}}]\n"
    );
    let proxyd = Proxyd::start(&yaml);
    assert_eq!(proxyd.get("/").text(), "home");
    assert!(addresses(&proxyd).contains(&format!("127.0.0.1:{port}")));
}

#[test]
fn nothing_is_looked_up_for_what_is_gone() {
    let (_held, port) = siblings(1);
    let names = Names::default();
    names.say("users.test", 1, &[a(2)]);
    let proxyd = Proxyd::start(&named(&names, &format!("http://users.test:{port}"), ""));
    assert_eq!(proxyd.get("/").text(), "a");
    let literal = format!("http://127.0.0.2:{port}");
    proxyd.reload_with(&super::users(&[literal], ""));
    assert_eq!(proxyd.get("/").text(), "a");
    let lines: Vec<Value> = proxyd.stream("upstreams", &json!({}));
    assert_eq!(lines[0]["endpoints"][0]["origin"], "file");
    // What was being asked comes to its end; two pauses later nothing more has come.
    let before = names.asked();
    std::thread::sleep(Duration::from_millis(2200));
    assert!(names.asked() <= before + 2, "{} after {before}", names.asked());
}

#[test]
fn both_families_are_used() {
    let (_held, port) = siblings(1);
    let Ok(free) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) else { return };
    drop(free);
    let _six = Upstream::at(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), |conn| {
        while conn.request().is_some() {
            conn.answer(200, &[], b"6");
        }
    });
    let names = Names::default();
    names.say("users.test", 60, &[a(2), Record::Aaaa(Ipv6Addr::LOCALHOST)]);
    let proxyd = one_worker(&named(&names, &format!("http://users.test:{port}"), ""));
    let all = said(&proxyd, "/", 10);
    assert_eq!((count(&all, 'a'), count(&all, '6')), (5, 5), "{all}");
    assert!(addresses(&proxyd).contains(&format!("[::1]:{port}")));
}
