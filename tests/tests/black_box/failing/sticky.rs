//! The cookie that brings clients back to their endpoint.

use serde_json::json;
use tests::http2::get_fields;
use tests::tls::{Authority, Client};
use tests::{Home, Http2, Proxyd, Request, Response, Start, Upstream, Wire};

use super::{Moody, PROBED, becomes, letters, one_worker, users};

/// What a client was told to bring back; none where nothing was.
fn cookie(answer: &Response) -> Option<String> {
    let set = answer.header("set-cookie")?;
    Some(set.split(';').next().unwrap_or_default().to_owned())
}

fn with(proxyd: &Proxyd, cookie: &str) -> Response {
    Request::get("/").header("Cookie", &format!("theme=dark; {cookie}; x=1")).send(proxyd.address())
}

/// A first visit: where it went, and the cookie.
#[track_caller]
fn first(proxyd: &Proxyd) -> (String, String) {
    let answer = proxyd.get("/");
    (answer.text(), cookie(&answer).expect("a cookie"))
}

#[test]
fn clients_come_back_over_reloads_and_upgrades() {
    let (held, urls) = letters(3);
    let yaml = users(&urls, "sticky: {}");
    let mut proxyd = Start::new(&yaml).run();
    let answer = proxyd.get("/");
    let (home, text) = (answer.text(), answer.header("set-cookie").unwrap().to_owned());
    assert!(text.starts_with("proxyd_node=") && text.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{text}");
    let value = cookie(&answer).unwrap();
    for upstream in &held {
        let port = upstream.address().port().to_string();
        assert!(!text.contains(&port) && !text.contains(&format!("{:x}", upstream.address().port())), "{text}");
    }
    let stays = |proxyd: &Proxyd, when: &str| {
        for _ in 0..6 {
            let again = with(proxyd, &value);
            assert_eq!((again.text(), cookie(&again)), (home.clone(), None), "{when}");
        }
    };
    stays(&proxyd, "at once");
    proxyd.reload_with(&yaml.replace("name: all", "name: every"));
    stays(&proxyd, "after a reload");
    proxyd.reload_with(&users(&urls, "sticky: {}, timeouts: {connect: 3s}"));
    stays(&proxyd, "after a reload of the upstream");
    proxyd.ask("upgrade", &json!({}));
    proxyd.follow();
    stays(&proxyd, "after an upgrade");
}

#[test]
fn cookies_survive_a_restart() {
    let (_held, urls) = letters(3);
    let yaml = users(&urls, "sticky: {}");
    let proxyd = Proxyd::start(&yaml);
    let (home, value) = first(&proxyd);
    let folder = proxyd.kill_nine();
    let proxyd = Start::in_home(&folder, &yaml).run();
    for _ in 0..6 {
        let again = with(&proxyd, &value);
        assert_eq!((again.text(), cookie(&again)), (home.clone(), None));
    }
}

#[test]
fn what_was_not_signed_here_is_nothing() {
    let (held, urls) = letters(2);
    let proxyd = Proxyd::start(&users(&urls, "sticky: {cookie: node}"));
    let (_, good) = first(&proxyd);
    let mut flipped = good.clone();
    let last = if flipped.pop() == Some('0') { '1' } else { '0' };
    flipped.push(last);
    let other = Proxyd::start(&users(&urls, "sticky: {cookie: node}"));
    let (_, foreign) = first(&other);
    let address = held[0].address();
    for forged in [
        "node=".to_owned(),
        "node=a".to_owned(),
        format!("node={address}"),
        format!("node={}", "0".repeat(32)),
        format!("node={}", "f".repeat(5000)),
        flipped,
        foreign,
        good.to_ascii_uppercase(),
        good.replace("node=", "nodes="),
        format!("{good}0"),
    ] {
        let answer = with(&proxyd, &forged);
        assert_eq!(answer.status, 200, "{forged}");
        assert!(cookie(&answer).is_some(), "{forged}: a new one");
    }
    assert_eq!(cookie(&with(&proxyd, &good)), None);
}

#[test]
fn a_client_moves_on_when_its_endpoint_is_out() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let urls = [one.upstream.url(), two.upstream.url()];
    let proxyd = Proxyd::start(&users(&urls, &format!("sticky: {{}}, {PROBED}")));
    let (home, value) = first(&proxyd);
    let place = usize::from(home == "b");
    let other = if home == "a" { "b" } else { "a" };
    let set = |state: &str| {
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[place], "state": state}));
    };
    let moves = |when: &str| {
        let moved = with(&proxyd, &value);
        let new = cookie(&moved);
        assert_eq!(moved.text(), other, "{when}");
        assert!(new.is_some() && new.as_ref() != Some(&value), "{when}: {new:?}");
        let again = with(&proxyd, &new.unwrap());
        assert_eq!((again.text().as_str(), cookie(&again)), (other, None), "{when}");
    };
    set("drain");
    moves("drained");
    set("down");
    moves("down");
    set("ready");
    assert_eq!(with(&proxyd, &value).text(), home, "back again");
    [&one, &two][place].says(500);
    becomes(&proxyd, place, "unhealthy");
    moves("unhealthy");
    [&one, &two][place].says(200);
    becomes(&proxyd, place, "ready");
    assert_eq!(with(&proxyd, &value).text(), home, "well again");
    proxyd.reload_with(&users(&[urls[1 - place].clone()], "sticky: {}"));
    moves("gone");
}

#[test]
fn a_retry_elsewhere_brings_its_own_cookie() {
    let (bad, good) = (Moody::new("bad"), Upstream::saying("good"));
    let yaml = users(&[bad.upstream.url(), good.url()], "sticky: {}, retry: {}");
    let proxyd = one_worker(&yaml);
    let value = std::iter::from_fn(|| Some(first(&proxyd))).take(20).find(|(said, _)| said == "bad").unwrap().1;
    bad.says(503);
    let moved = with(&proxyd, &value);
    assert_eq!(moved.text(), "good");
    assert_ne!(cookie(&moved).expect("the cookie of whoever answered"), value);
}

#[test]
fn its_attributes_are_those_that_are_asked_for() {
    let (_held, urls) = letters(2);
    let authority = Authority::new("ours");
    let home = Home::default();
    authority.signs("proxy.test", &["proxy.test"]).write(&home, "own");
    let yaml = users(&urls, "sticky: {cookie: back, max_age: 2h, secret: '${env:STICKY}'}");
    let yaml = format!(
        "server: {{listen: {{address: '127.0.0.1:0', tls: {{certificates: [{{cert: own.crt, key: own.key}}]}}}}}}\n{yaml}"
    );
    let secret = "sixteen bytes and more";
    let proxyd = Start::in_home(&home, &yaml).leave("server.listen").env("STICKY", secret).run();
    let visit = |cookie: &str| {
        let secure = Client::new(&[]).connect(proxyd.address(), "proxy.test").expect("TLS");
        Request::get("/").header("Cookie", cookie).send_on(&mut Wire::over(secure.plain))
    };
    let answer = visit("a=b");
    let text = answer.header("set-cookie").unwrap();
    assert!(text.starts_with("back="), "{text}");
    assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=7200"), "{text}");
    assert!(!text.contains(secret));
    // Another proxy with the same secret knows the cookie.
    let value = cookie(&answer).unwrap();
    let other = users(&urls, "sticky: {cookie: back, secret: '${env:STICKY}'}");
    let other = Start::new(&other).env("STICKY", secret).run();
    for _ in 0..4 {
        let again = with(&other, &value);
        assert_eq!((again.text(), cookie(&again)), (answer.text(), None));
    }
    assert!(!other.ctl(&["config", "show"]).stdout.contains(secret), "no sink tells the secret");
}

#[test]
fn clients_of_http2_may_send_cookies_apart() {
    // RFC 9113 section 8.2.3.
    let (_held, urls) = letters(3);
    let proxyd = Proxyd::start(&users(&urls, "sticky: {}"));
    let (home, value) = first(&proxyd);
    let mut client = Http2::connect(proxyd.address());
    for stream in [1, 3, 5, 7] {
        let fields = [&get_fields("/")[..], &[("cookie", "a=b"), ("cookie", &value), ("cookie", "c=d")]].concat();
        client.head(stream, &fields, true);
        let answer = client.whole(stream);
        assert_eq!((answer.text(), answer.header("set-cookie")), (home.clone(), None));
    }
}
