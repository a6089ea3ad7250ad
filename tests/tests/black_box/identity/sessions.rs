//! Sessions over time and over several proxies: refreshed once, noted, ended, and read by whoever makes their ids up.

use std::sync::atomic::{AtomicBool, Ordering};

use tests::oidc::{CLIENT, Provider};
use tests::token::in_seconds;
use tests::{Proxyd, Redis, Upstream, eventually};

use super::login::Person;

fn yaml(provider: &Provider, upstream: &Upstream, session: &str) -> String {
    let (id, secret) = CLIENT;
    format!(
        "identity:\n  login:\n    corp: {{kind: oidc, issuer: '{}', client_id: {id}, client_secret: {secret}}}\n  session: {session}\n  send: {{user: x-user}}\n\
         routes:\n  - {{path: /, target: '{}', auth: login.corp}}\n",
        provider.url(),
        upstream.url()
    )
}

fn shared(redis: &Redis, rest: &str) -> String {
    format!("redis: {{url: '{}', timeout: 2s, connect_timeout: 2s}}\n{rest}", redis.url())
}

const SESSION: &str = "{store: redis, secrets: ['0123456789abcdef0123456789abcdef']}";

#[test]
fn two_proxies_of_one_store_refresh_a_session_once() {
    let (provider, upstream, redis) = (Provider::start(1), Upstream::echo(), Redis::start());
    let yaml = shared(&redis, &yaml(&provider, &upstream, SESSION));
    let proxies = [Proxyd::start(&yaml), Proxyd::start(&yaml)];
    for round in 1..=3 {
        let mut person = Person::default();
        let entered = person.log_in(&proxies[0], &provider.upstream, "/");
        assert_eq!(entered.status, 302, "{}", entered.text());
        // Both know the session, and ask for it without a pause when its tokens end.
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for proxyd in proxies.iter().chain(&proxies) {
                let (mut person, is_over) = (person.clone(), &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::SeqCst) {
                        let page = person.go(proxyd, "/");
                        assert_eq!(page.status, 200, "round {round}: {}", page.text());
                    }
                });
            }
            eventually("the session is refreshed", || (provider.refreshes().0 >= round).then_some(()));
            for proxyd in &proxies {
                assert_eq!(person.clone().go(proxyd, "/").status, 200);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        for proxyd in &proxies {
            assert_eq!(person.clone().go(proxyd, "/").status, 200);
        }
        assert_eq!(provider.refreshes(), (round, 0));
    }
    assert_eq!(redis.ask(&["KEYS", "*:lock"]), "", "whoever had asked gave it back");
    // The last use stands beside each session.
    let used = redis.ask(&["KEYS", "*:used"]);
    let used: Vec<_> = used.lines().collect();
    assert_eq!(used.len(), 3, "{used:?}");
    for key in used {
        let seen_s: i64 = redis.ask(&["GET", key]).parse().unwrap();
        assert!((in_seconds(0) - seen_s).abs() < 300, "{key} {seen_s}");
    }
}

#[test]
fn tokens_that_the_store_did_not_take_are_written_down_later() {
    let redis = std::sync::Arc::new(Redis::start());
    let own = std::sync::Arc::clone(&redis);
    // Just then it takes nothing: it wants to copy to somebody who is not there.
    let provider = Provider::start_with(1, move || {
        own.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    });
    let upstream = Upstream::echo();
    // A short time, which the lock follows from.
    let yaml = yaml(&provider, &upstream, SESSION).replace("client_id", "timeout: 500ms, client_id");
    let yaml = shared(&redis, &yaml);
    let proxies = [Proxyd::start(&yaml), Proxyd::start(&yaml)];
    let mut person = Person::default();
    assert_eq!(person.log_in(&proxies[0], &provider.upstream, "/").status, 302);
    let go = |proxyd: &Proxyd| person.clone().go(proxyd, "/").status;
    eventually("the session is refreshed and not kept", || (go(&proxies[0]) == 503).then_some(()));
    redis.ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    // The lock could not be given back either, and ends by itself.
    eventually("the lock ends", || redis.ask(&["KEYS", "*:lock"]).is_empty().then_some(()));
    eventually("the session goes on", || (go(&proxies[0]) == 200).then_some(()));
    eventually("for everybody", || (go(&proxies[1]) == 200).then_some(()));
    assert_eq!(provider.refreshes(), (1, 0));
}

#[test]
fn nobody_is_told_that_they_are_out_where_the_store_does_not_answer() {
    let (provider, upstream, mut redis) = (Provider::start(3600), Upstream::echo(), Redis::start());
    let proxyd = Proxyd::start(&shared(&redis, &yaml(&provider, &upstream, SESSION)));
    let mut person = Person::default();
    person.log_in(&proxyd, &provider.upstream, "/");
    redis.end();
    let out = person.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
    let kept = person.cookies.clone();
    let answer = person.send(&out, proxyd.address());
    assert_eq!((answer.status, answer.error_code()), (503, "auth_unavailable".to_owned()), "{}", answer.text());
    assert_eq!(person.cookies, kept, "the cookie stays");
    // Whoever has no session is out.
    let mut stranger = Person::default();
    let out = stranger.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
    assert_eq!(stranger.send(&out, proxyd.address()).status, 303);
}

#[test]
fn sessions_move_with_their_store_and_those_that_ended_stay_so() {
    let (provider, upstream, redis) = (Provider::start(3600), Upstream::echo(), Redis::start());
    let of = |store: &str| shared(&redis, &yaml(&provider, &upstream, &SESSION.replace("redis", store)));
    let proxyd = Proxyd::start(&of("local"));
    let in_redis = || redis.ask(&["KEYS", "*session:*"]).lines().filter(|key| !key.ends_with(":used")).count();
    let mut people = [Person::default(), Person::default(), Person::default()];
    for person in &mut people {
        assert_eq!(person.log_in(&proxyd, &provider.upstream, "/").status, 302);
    }
    let go = |person: &Person| person.clone().go(&proxyd, "/").status;
    let log_out = |person: &Person| {
        let out = person.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
        assert_eq!(person.clone().send(&out, proxyd.address()).status, 303);
    };
    let reload = |store: &str, moves: &str| {
        let told = proxyd.reload_with(&of(store))["changes"]["kept"].to_string();
        assert!(told.contains(&format!("the store of sessions moves from {moves}")), "{told}");
    };
    let [ann, bob, eve] = people;
    reload("redis", "local to redis");
    // All at once, and none of them is told that there is no such session.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(go(&ann), 200));
        }
    });
    log_out(&bob);
    assert_eq!((go(&bob), in_redis()), (302, 1), "and eve has not come yet");
    reload("local", "redis to local");
    assert_eq!((go(&ann), go(&bob), go(&eve), in_redis()), (200, 302, 200, 0));
    log_out(&ann);
    reload("redis", "local to redis");
    assert_eq!((go(&ann), go(&bob), go(&eve), in_redis()), (302, 302, 200, 1));
}

#[test]
fn a_session_in_a_silent_store_of_before_may_be_good() {
    let (provider, upstream, mut redis) = (Provider::start(3600), Upstream::echo(), Redis::start());
    let of = |store: &str| yaml(&provider, &upstream, &SESSION.replace("redis", store));
    let proxyd = Proxyd::start(&shared(&redis, &of("redis")));
    let (mut ann, mut bob) = (Person::default(), Person::default());
    ann.log_in(&proxyd, &provider.upstream, "/");
    redis.end();
    proxyd.reload_with(&shared(&redis, &of("local")));
    assert_eq!(ann.clone().go(&proxyd, "/").status, 503);
    // Whoever comes now notices nothing.
    assert_eq!(bob.log_in(&proxyd, &provider.upstream, "/").status, 302);
    assert_eq!(bob.go(&proxyd, "/").status, 200);
    proxyd.reload_with(&of("local"));
    assert_eq!((ann.go(&proxyd, "/").status, bob.go(&proxyd, "/").status), (302, 200));
}

#[test]
fn a_reload_that_lets_in_others_holds_for_those_who_are_in() {
    let (provider, other, upstream) = (Provider::start(3600), Provider::start(3600), Upstream::echo());
    for store in ["cookie", "local"] {
        let of = |provider: &Provider, rules: &str| {
            let yaml = yaml(provider, &upstream, &SESSION.replace("redis", store));
            yaml.replace("client_secret:", &format!("{rules}, client_secret:"))
        };
        let ann = "allow: {claims: {sub: ann}}, roles: [staff]";
        let proxyd = Proxyd::start(&of(&provider, ann));
        let mut person = Person::default();
        let mut check = |provider: &Provider, rules: &str, login: u16| {
            if login == 302 {
                assert_eq!(person.go(&proxyd, "/").status, 302, "{store} {rules}: nobody is in");
            }
            let entered = person.log_in(&proxyd, &provider.upstream, "/");
            assert_eq!(entered.status, login, "{store} {rules}: {}", entered.text());
            if login == 302 {
                assert_eq!(person.go(&proxyd, "/").status, 200);
            }
        };
        check(&provider, ann, 302);
        for rules in ["allow: {claims: {sub: ann}}, roles: [boss]", "roles: [boss]"] {
            proxyd.reload_with(&of(&provider, rules));
            check(&provider, rules, 302);
        }
        proxyd.reload_with(&of(&other, "roles: [boss]"));
        check(&other, "another issuer", 302);
        proxyd.reload_with(&of(&other, "allow: {claims: {sub: bob}}, roles: [boss]"));
        check(&other, "allow bob", 403);
    }
}
