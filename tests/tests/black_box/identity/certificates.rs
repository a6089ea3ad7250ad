//! Whom a listener has verified by a client certificate is somebody, with a name that upstreams are told and limits count.

use std::time::{Duration, Instant};

use tests::config::forward_all;
use tests::tls::{Authority, Client, Pair};
use tests::{Http2, PATIENCE, Proxyd, Request, Response, Upstream, Wire};

use crate::black_box::tls::{certificates, home, serve};

#[test]
fn a_certificate_says_who_it_is() {
    let (home, ..) = home();
    let clients = Authority::new("clients");
    home.write("clients.pem", clients.pem());
    let upstream = Upstream::echo();
    let url = upstream.url();
    let yaml = format!(
        "identity: {{send: {{user: x-user, provider: x-provider}}, jwt: {{main: {{keys: {{secret: '{}'}}}}}}}}\n\
         auth: [certificate, jwt.main]\nrate_limit: {{requests_per_minute: 2, by: [user]}}\nroutes:\n  \
         - {{path: /both, target: '{url}', auth: {{all_of: [certificate, jwt.main]}}, rate_limit: off}}\n  \
         - {{path: /kept, target: '{url}', auth: {{any_of: certificate, forward_credentials: false}}, rate_limit: off}}\n  - {{path: /, target: '{url}'}}\n",
        tests::token::SECRET
    );
    let tls = format!("{}, client_ca: clients.pem, client_auth: optional", certificates(&["default"]));
    let proxyd = serve(&home, &tls, &yaml);
    let ask = |who: Option<&str>, request: Request| -> Response {
        let client = who.map_or_else(|| Client::new(&[]), |who| Client::showing(&[], &clients.signs(who, &[])));
        let secure = client.connect(proxyd.address(), "default.test").expect("TLS");
        request.send_on(&mut Wire::over(secure.plain))
    };
    let told = |answer: &Response, name: &str| {
        let seen = answer.json();
        let lines = seen["headers"].as_array().unwrap().clone();
        lines.iter().find(|line| line[0] == name).map(|line| line[1].as_str().unwrap().to_owned())
    };
    let answer = ask(Some("billing"), Request::get("/").header("X-User", "root"));
    assert_eq!(
        (told(&answer, "x-user").as_deref(), told(&answer, "x-provider").as_deref()),
        (Some("billing"), Some("certificate"))
    );
    assert!(told(&answer, "x-forwarded-client-cert").is_some_and(|told| told.contains("CN=billing")));
    let answer = ask(Some("billing"), Request::get("/kept").header("X-Forwarded-Client-Cert", "Subject=\"root\""));
    assert_eq!((told(&answer, "x-user").as_deref(), told(&answer, "x-forwarded-client-cert")), (Some("billing"), None));
    // Without one there are the others, and without those nobody.
    let refused = ask(None, Request::get("/"));
    assert_eq!((refused.status, refused.error_code().as_str()), (401, "auth_required"));
    let token = format!("Bearer {}", tests::token::hs256("alice", &serde_json::json!({})));
    let answer = ask(None, Request::get("/").header("Authorization", &token));
    assert_eq!(told(&answer, "x-user").as_deref(), Some("alice"));
    assert_eq!(ask(None, Request::get("/both").header("Authorization", &token)).status, 401);
    assert_eq!(ask(Some("billing"), Request::get("/both")).status, 401);
    let answer = ask(Some("billing"), Request::get("/both").header("Authorization", &token));
    assert_eq!(told(&answer, "x-user").as_deref(), Some("billing"), "who it is says the first");
    // Each counts by its own name, over connections.
    assert_eq!(ask(Some("billing"), Request::get("/")).status, 200);
    assert_eq!(ask(Some("billing"), Request::get("/")).status, 429);
    assert_eq!(ask(Some("shipping"), Request::get("/")).status, 200);
}

/// A connection of HTTP/1.1 and one of HTTP/2 with this certificate, each of which was served.
fn both(proxyd: &Proxyd, pair: &Pair) -> (Wire, Http2) {
    let connect = |alpn| Client::showing(&[alpn], pair).connect(proxyd.address(), "default.test").expect("TLS").plain;
    let (mut wire, mut http2) = (Wire::over(connect("http/1.1")), Http2::client(connect("h2")));
    assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
    assert_eq!(http2.get(1, "/").status(), 200);
    (wire, http2)
}

/// The next request on each is refused, and the connection ends.
fn ends(mut wire: Wire, mut http2: Http2, stream: u32, code: &str) {
    let refused = Request::get("/").send_on(&mut wire);
    assert_eq!((refused.status, refused.error_code().as_str()), (401, code));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(wire.closes_within(PATIENCE));
    let refused = http2.get(stream, "/");
    assert_eq!(refused.status(), 401);
    assert!(refused.text().contains(code), "{}", refused.text());
    assert!(http2.until(|http2| !http2.goaways.is_empty()));
}

#[test]
fn a_certificate_is_good_no_longer_than_it_says_and_its_authority_is_trusted() {
    let (home, ..) = home();
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    home.write("clients.pem", clients.pem());
    home.write("both.pem", &format!("{}{}", clients.pem(), others.pem()));
    home.write("others.pem", others.pem());
    let upstream = Upstream::saying("ok");
    let forward = forward_all(upstream.address());
    let keys = |ca: &str| format!("{}, client_ca: {ca}", certificates(&["default"]));
    let proxyd = serve(&home, &keys("clients.pem"), &forward);
    // Time ends it.
    let lasts = Duration::from_secs(3);
    let short = clients.signs_for("short", lasts);
    let (mut wire, http2) = both(&proxyd, &short);
    let (mut served, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
        served += 1;
    }
    assert!(served > 0);
    std::thread::sleep((lasts + Duration::from_millis(1500)).saturating_sub(began.elapsed()));
    ends(wire, http2, 3, "certificate_expired");
    // So do other authorities, but not more of them.
    let pair = clients.signs("billing", &[]);
    let (mut wire, mut http2) = both(&proxyd, &pair);
    let reload = |ca: &str| {
        let listen = format!("server: {{listen: [{{address: '127.0.0.1:0', tls: {{{}}}}}]}}\n", keys(ca));
        proxyd.reload_with(&format!("{listen}{forward}"));
    };
    reload("both.pem");
    assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
    assert_eq!(http2.get(3, "/").status(), 200);
    let (first, second) = both(&proxyd, &pair);
    reload("others.pem");
    ends(wire, http2, 5, "certificate_untrusted");
    ends(first, second, 3, "certificate_untrusted");
}
