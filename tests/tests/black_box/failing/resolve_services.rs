//! Services by name (RFC 2782): ports, weights and tiers come from the records.

use serde_json::json;
use tests::dns::{Names, Record};
use tests::tls::{Authority, Server, copied};
use tests::{Home, Proxyd, Start, Upstream, Wire, eventually};

use super::resolve::{a, addresses, named};
use super::{becomes, count, letters, one_worker, said, told};

fn service(upstream: &Upstream, priority: u16, weight: u16) -> Record {
    Record::Srv { priority, weight, port: upstream.address().port(), target: "node.test".to_owned() }
}

fn local() -> Record {
    Record::A([127, 0, 0, 1].into())
}

const URL: &str = "http+srv://_http._tcp.users.test";

#[test]
fn ports_weights_and_tiers_are_the_records() {
    let (held, _urls) = letters(4);
    let names = Names::default();
    names.say("node.test", 1, &[local()]);
    let all = [service(&held[0], 1, 3), service(&held[1], 1, 1), service(&held[2], 2, 1), service(&held[3], 5, 1)];
    names.say("_http._tcp.users.test", 1, &all);
    let proxyd = one_worker(&named(&names, URL, ""));
    let first = said(&proxyd, "/", 40);
    assert_eq!((count(&first, 'a'), count(&first, 'b')), (30, 10), "{first}");
    assert_eq!(
        told(&proxyd, "users")["endpoints"].as_array().unwrap().iter().filter(|one| one["backup"] == true).count(),
        2
    );
    for upstream in &held[..2] {
        let endpoint = upstream.address().to_string();
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": endpoint, "state": "down"}));
    }
    let second = said(&proxyd, "/", 10);
    assert_eq!((count(&second, 'c'), count(&second, 'd')), (5, 5), "{second}");
    // The records change: ports, weights, tiers.
    names.say("_http._tcp.users.test", 1, &[service(&held[3], 1, 0), service(&held[2], 2, 1)]);
    eventually("the change is seen", || (addresses(&proxyd).len() == 2).then_some(()));
    assert_eq!(said(&proxyd, "/", 4), "dddd", "weight 0 is the least there is");
}

#[test]
fn a_target_that_is_not_there_takes_nobody_along() {
    let (held, _urls) = letters(1);
    let names = Names::default();
    names.say("node.test", 1, &[local()]);
    let lost = Record::Srv { priority: 1, weight: 1, port: 80, target: "lost.test".to_owned() };
    names.say("_http._tcp.users.test", 1, &[lost, service(&held[0], 1, 1)]);
    let proxyd = Proxyd::start(&named(&names, URL, ""));
    eventually("the other one serves", || (proxyd.get("/").text() == "a").then_some(()));
    assert_eq!(addresses(&proxyd), [held[0].address().to_string()]);
}

#[test]
fn a_service_that_is_not_offered_is_none() {
    let (held, _urls) = letters(1);
    let names = Names::default();
    // RFC 2782: a target of "." says so.
    names.say("_http._tcp.users.test", 1, &[Record::Srv { priority: 0, weight: 0, port: 0, target: String::new() }]);
    names.say("node.test", 1, &[local(), a(200)]);
    let proxyd = Proxyd::start(&named(&names, URL, ", retry: {}"));
    becomes(&proxyd, 0, "unresolved");
    assert_eq!(proxyd.get("/").error_code(), "upstream_unavailable");
    names.say("_http._tcp.users.test", 1, &[service(&held[0], 1, 1)]);
    // One of its two addresses is nobody's: a retry hides it.
    eventually("it is offered", || (proxyd.get("/").text() == "a").then_some(()));
    assert_eq!(addresses(&proxyd).len(), 2);
}

#[test]
fn endpoints_in_tls_prove_to_be_who_was_asked_for() {
    // The name that stands in the config, not what an answer of somebody's says (RFC 6125 section 6.2.1).
    let (home, authority) = (Home::default(), Authority::new("ours"));
    home.write("ca.pem", authority.pem());
    let secure = |name: &str| {
        let server = Server::new(&authority.signs(name, &[name]), &[]);
        Upstream::scripted(move |conn| {
            let Ok(secure) = server.accept(conn.wire.stream().try_clone().unwrap()) else { return };
            let asked = secure.asked.clone().unwrap_or_default();
            conn.wire = Wire::over(secure.plain);
            while conn.request().is_some() {
                conn.answer(200, &[], asked.as_bytes());
            }
        })
    };
    let (users, node) = (secure("users.test"), secure("node.test"));
    let names = Names::default();
    names.say("users.test", 60, &[local()]);
    names.say("node.test", 60, &[local()]);
    names.say("_https._tcp.users.test", 60, &[service(&users, 1, 1)]);
    names.say("_https._tcp.node.users.test", 60, &[service(&node, 1, 1)]);
    let start = |url: &str, tls: &str| {
        let yaml = named(&names, url, &format!(", tls: {{ca: ca.pem{tls}}}"));
        Start::in_home(&copied(&home), &yaml).run()
    };
    let plain = format!("https://users.test:{}", users.address().port());
    for (url, tls, says) in [
        (plain.as_str(), "", Some("users.test")),
        ("https+srv://_https._tcp.users.test", "", Some("users.test")),
        ("https+srv://_https._tcp.node.users.test", "", None),
        ("https+srv://_https._tcp.node.users.test", ", server_name: node.test", Some("node.test")),
    ] {
        let answer = start(url, tls).get("/");
        match says {
            Some(name) => assert_eq!(answer.text(), name, "{url}"),
            None => assert_eq!(answer.error_code(), "upstream_tls", "{url}"),
        }
    }
}
