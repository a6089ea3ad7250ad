//! Cookies of every wrong kind, and the good one.

use super::*;
use crate::exchange::Made;

const KEY: &[u8] = b"a secret of 32 bytes, or longer.";

fn config() -> Config {
    Config { idle: Duration::from_secs(100), absolute: Duration::from_secs(1000), ..Config::default() }
}

fn sessions(config: &Config, key: &[u8], state: &Arc<State>) -> Sessions {
    Sessions::compile(config, Seals::of(&[key]).unwrap(), state, None, None)
}

fn session(sessions: &Sessions, now_s: i64) -> Session {
    Session {
        id: SessionId::draw().unwrap(),
        provider: "login.corp".into(),
        user: "eve".into(),
        email: None,
        roles: vec!["user".into()],
        scopes: Vec::new(),
        claims: Vec::new(),
        started_s: now_s,
        ends_s: sessions.ends_s(now_s),
        seen_s: now_s,
        tokens: Tokens::default(),
        origin: "".into(),
        rules: "".into(),
        is_fresh: false,
        made: Made::default(),
    }
}

/// The name and value of a cookie that is set.
fn pair(cookie: &Value) -> String {
    String::from_utf8(cookie.as_bytes().split(|byte| *byte == b';').next().unwrap().to_vec()).unwrap()
}

fn sent(cookie: &str) -> Headers {
    let mut headers = Headers::new();
    assert!(headers.push(b"cookie", cookie.as_bytes()));
    headers
}

async fn opened(sessions: &Sessions, cookie: &str, now_s: i64) -> Result<Option<Arc<Session>>, Denial> {
    let answered = match sessions.open(&sent(cookie), true, &Way::default(), now_s) {
        Opened::None => return Ok(None),
        Opened::Good(session) => return Ok(Some(session)),
        Opened::Denied(denial) => return Err(denial),
        Opened::Ask(question) => question.await,
    };
    match answered {
        Answered::Good(session) => Ok(Some(session)),
        Answered::Denied(denial) => Err(denial),
        Answered::Unavailable => panic!("the store does not answer"),
    }
}

#[tokio::test]
async fn a_cookie_that_is_not_whole_ours_and_in_time_opens_nothing() {
    let ours = sessions(&config(), KEY, &State::in_memory());
    let cookie = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
    let check = async |cookie: &str, now_s, expected| {
        assert_eq!(opened(&ours, cookie, now_s).await.map(|found| found.is_some()), expected, "{cookie} {now_s}");
    };
    check("a=b", 0, Ok(false)).await;
    check("__Host-proxyd_session=", 0, Ok(false)).await;
    check("proxyd_session=x", 0, Ok(false)).await;
    check("__Host-proxyd_session=x", 0, Err(Denial::SessionInvalid)).await;
    check(&format!("{cookie}; {cookie}"), 0, Err(Denial::Ambiguous)).await;
    check(&format!("__Host-proxyd_session={}", "a".repeat(3801)), 0, Err(Denial::TooLarge)).await;
    check(&cookie[..cookie.len() - 1], 0, Err(Denial::SessionInvalid)).await;
    check(&format!("{cookie}A"), 0, Err(Denial::SessionInvalid)).await;
    check(&cookie, 100, Err(Denial::SessionExpired)).await;
    check(&cookie, 99, Ok(true)).await;
    // Another key, another name, another purpose.
    let other = sessions(&config(), b"another secret of 32 bytes, or so", &State::in_memory());
    let foreign = pair(&other.keep(&session(&other, 0), true, &Way::default(), 0).await.unwrap());
    check(&foreign, 0, Err(Denial::SessionInvalid)).await;
    let plain = pair(&ours.keep(&session(&ours, 0), false, &Way::default(), 0).await.unwrap());
    check(&format!("__Host-{plain}"), 0, Err(Denial::SessionInvalid)).await;
    let text = serde_json::to_vec(&session(&ours, 0)).unwrap();
    let moved = ours.seals.seal(Purpose::Pending, "__Host-proxyd_session", &text).unwrap();
    check(&format!("__Host-proxyd_session={moved}"), 0, Err(Denial::SessionInvalid)).await;
    let garbage = ours.seals.seal(Purpose::Session, "__Host-proxyd_session", b"{}").unwrap();
    check(&format!("__Host-proxyd_session={garbage}"), 0, Err(Denial::SessionInvalid)).await;
    // An earlier key still opens; a shorter time holds for sessions that there are.
    let both = Sessions::compile(&config(), Seals::of(&[b"new", KEY]).unwrap(), &State::in_memory(), None, None);
    assert!(opened(&both, &cookie, 99).await.unwrap().is_some());
    let shorter = sessions(&Config { absolute: Duration::from_secs(50), ..config() }, KEY, &State::in_memory());
    assert_eq!(opened(&shorter, &cookie, 60).await, Err(Denial::SessionExpired));
}

#[tokio::test]
async fn use_is_noted_now_and_then_and_the_end_stays() {
    let ours = sessions(&config(), KEY, &State::in_memory());
    let mut cookie = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
    let first = opened(&ours, &cookie, 9).await.unwrap().unwrap();
    assert_eq!(ours.renew(&first, true, &Way::default(), 9), None, "a tenth of the idle time has not gone by");
    for now_s in (90..1000).step_by(90) {
        let found = opened(&ours, &cookie, now_s).await.unwrap().unwrap();
        let renewed = ours.renew(&found, true, &Way::default(), now_s).unwrap();
        let text = String::from_utf8_lossy(renewed.as_bytes()).into_owned();
        assert!(text.contains(&format!("; Max-Age={};", 1000 - now_s)), "{text}");
        cookie = pair(&renewed);
    }
    assert_eq!(opened(&ours, &cookie, 1000).await, Err(Denial::SessionExpired));
}

#[tokio::test]
async fn what_does_not_fit_into_a_cookie_is_left_out_and_the_rest_refused() {
    let ours = sessions(&config(), KEY, &State::in_memory());
    let text = |bytes: usize| Some("x".repeat(bytes).into());
    let check = async |tokens: Tokens, user: usize, expected: Option<(bool, bool)>| {
        let session = Session { tokens, user: "u".repeat(user).into(), ..session(&ours, 0) };
        let kept = ours.keep(&session, true, &Way::default(), 0).await;
        let Ok(cookie) = kept else {
            assert_eq!((kept, expected), (Err(KeepError::TooLarge), None));
            return;
        };
        assert!(pair(&cookie).len() <= cookie::LONGEST);
        let tokens = opened(&ours, &pair(&cookie), 0).await.unwrap().unwrap().tokens.clone();
        assert_eq!(Some((tokens.id_token.is_some(), tokens.refresh.is_some())), expected);
    };
    let of = |id_token, refresh| Tokens { id_token: text(id_token), refresh: text(refresh), ..Tokens::default() };
    check(of(1000, 1000), 10, Some((true, true))).await;
    check(of(2000, 1000), 10, Some((false, true))).await;
    check(of(10, 4000), 10, Some((false, false))).await;
    check(of(10, 10), 4000, None).await;
}

#[tokio::test]
async fn a_store_knows_its_sessions_until_they_end() {
    let state = State::in_memory();
    let config = Config { store: SessionStore::Local, ..config() };
    let ours = sessions(&config, KEY, &state);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let new = session(&ours, 0);
            let set = ours.keep(&new, true, &Way::default(), 0).await.unwrap();
            let cookie = pair(&set);
            assert_eq!(cookie, format!("__Host-proxyd_session={}", new.id.reveal()));
            for wrong in ["x", "__proto__", SessionId::draw().unwrap().reveal(), &new.id.reveal()[1..]] {
                let found = opened(&ours, &format!("__Host-proxyd_session={wrong}"), 0).await;
                assert_eq!(found, Err(Denial::SessionInvalid), "{wrong}");
            }
            // Another proxy, or this one after a restart: nothing is remembered there.
            let fresh = || sessions(&config, KEY, &state);
            assert_eq!(opened(&fresh(), &cookie, 99).await.unwrap().unwrap().user, new.user);
            assert_eq!(opened(&fresh(), &cookie, 100).await, Err(Denial::SessionInvalid));
            let foreign = sessions(&config, b"another secret of 32 bytes, or so", &state);
            assert_eq!(opened(&foreign, &cookie, 0).await, Err(Denial::SessionInvalid), "sealed with another key");
            // Used after half of its time it goes on.
            let found = opened(&fresh(), &cookie, 50).await.unwrap().unwrap();
            assert_eq!(ours.renew(&found, true, &Way::default(), 50), None);
            let until = std::time::Instant::now() + Duration::from_secs(5);
            while opened(&fresh(), &cookie, 120).await.is_err() {
                assert!(std::time::Instant::now() < until, "its use was not noted");
                tokio::task::yield_now().await;
            }
            assert_eq!(opened(&fresh(), &cookie, 120).await.unwrap().unwrap().seen_s, 50);
            ours.end(&new, &Way::default(), 120).await.unwrap();
            assert_eq!(opened(&ours, &cookie, 120).await, Err(Denial::SessionInvalid));
            assert_eq!(opened(&fresh(), &cookie, 120).await, Err(Denial::SessionInvalid));
        })
        .await;
}

#[tokio::test]
async fn a_logout_wins_over_whatever_crosses_it() {
    for store in [SessionStore::Local, SessionStore::Cookie] {
        let ours = sessions(&Config { store, ..config() }, KEY, &State::in_memory());
        let way = Way::default();
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let new = session(&ours, 0);
                let cookie = pair(&ours.keep(&new, true, &way, 0).await.unwrap());
                let found = opened(&ours, &cookie, 0).await.unwrap().unwrap();
                ours.end(&new, &way, 50).await.unwrap();
                // A request that had the session notes its use, and a refresh that had asked the provider its new tokens.
                ours.renew(&found, true, &way, 50);
                assert_eq!(opened(&ours, &cookie, 50).await, Err(Denial::SessionInvalid), "{store:?}");
                assert_eq!(ours.change(&found, &way, 50).await, Ok(false));
                assert_eq!(opened(&ours, &cookie, 50).await, Err(Denial::SessionInvalid), "{store:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn what_was_read_before_a_logout_is_not_remembered_after_it() {
    let ours = sessions(&Config { store: SessionStore::Local, ..config() }, KEY, &State::in_memory());
    let (kept, way, new) = (ours.kept.as_ref().unwrap(), Way::default(), session(&ours, 0));
    ours.keep(&new, true, &way, 0).await.unwrap();
    assert!(kept.known(&new.id, 0).is_some());
    assert!(kept.known(&new.id, 1).is_none(), "another proxy's logout is noticed within a second");
    // It reads the disk on a thread of its own, and goes on when it is asked again: after the logout.
    let mut reads = Box::pin(kept.get(&new.id, &way, 1));
    let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(reads.as_mut().poll(cx).is_pending())).await;
    if begun {
        std::thread::sleep(Duration::from_millis(50));
        ours.end(&new, &way, 1).await.unwrap();
        assert!(reads.await.unwrap().is_some(), "it was read before");
        assert!(kept.known(&new.id, 1).is_none());
    }
}

#[tokio::test]
async fn a_cookie_that_was_copied_is_no_good_after_the_logout() {
    let state = State::in_memory();
    let ours = sessions(&config(), KEY, &state);
    let new = session(&ours, 0);
    let cookie = pair(&ours.keep(&new, true, &Way::default(), 0).await.unwrap());
    let other = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
    ours.end(&new, &Way::default(), 1).await.unwrap();
    assert_eq!(opened(&ours, &cookie, 1).await, Err(Denial::SessionInvalid));
    assert!(opened(&ours, &other, 1).await.unwrap().is_some());
    let rows = state.directory(|directory| directory.revoked(1)).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(!format!("{rows:?}").contains(new.id.reveal()));
}

#[tokio::test]
async fn a_logout_from_a_store_is_noted_for_as_long_as_tunnels_look() {
    for (store, provider, expected) in [
        (SessionStore::Local, "login.corp", Some(3601)),
        // One that cannot be noted: it is gone all the same.
        (SessionStore::Local, "", None),
        (SessionStore::Cookie, "login.corp", Some(10_000)),
    ] {
        let state = State::in_memory();
        let absolute = Duration::from_secs(10_000);
        let ours = sessions(&Config { store, absolute, ..config() }, KEY, &state);
        let new = Session { provider: provider.into(), ..session(&ours, 0) };
        let cookie = pair(&ours.keep(&new, true, &Way::default(), 0).await.unwrap());
        assert_eq!(ours.end(&new, &Way::default(), 1).await, Ok(()));
        assert_eq!(opened(&ours, &cookie, 1).await, Err(Denial::SessionInvalid));
        let rows = state.directory(|directory| directory.revoked(1)).unwrap();
        assert_eq!(rows.first().map(|row| row.expires_s), expected, "{store:?}");
    }
    // Where it cannot be noted, a cookie stays good.
    let ours = sessions(&config(), KEY, &State::in_memory());
    let new = Session { provider: "".into(), ..session(&ours, 0) };
    assert_eq!(ours.end(&new, &Way::default(), 1).await, Err(KeepError::Store));
}

#[tokio::test]
async fn a_shorter_idle_time_holds_for_sessions_that_there_are() {
    let state = State::in_memory();
    let of = |seconds| {
        let idle = Duration::from_secs(seconds);
        sessions(&Config { store: SessionStore::Local, idle, ..config() }, KEY, &state)
    };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let ours = of(100);
            let cookie = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
            assert_eq!(opened(&of(30), &cookie, 30).await, Err(Denial::SessionExpired));
            assert!(opened(&of(30), &cookie, 29).await.is_ok());
            let found = opened(&ours, &cookie, 50).await.unwrap().unwrap();
            ours.renew(&found, true, &Way::default(), 50);
            let until = std::time::Instant::now() + Duration::from_secs(5);
            while opened(&of(100), &cookie, 60).await.unwrap().unwrap().seen_s != 50 {
                assert!(std::time::Instant::now() < until, "its use was not noted");
                tokio::task::yield_now().await;
            }
            assert!(opened(&of(30), &cookie, 79).await.is_ok());
            assert_eq!(opened(&of(30), &cookie, 80).await, Err(Denial::SessionExpired));
            assert!(opened(&of(100), &cookie, 80).await.is_ok());
        })
        .await;
}

/// What is known of a question once it was looked at.
async fn looked_at(question: &mut Asking) -> Option<Answered> {
    std::future::poll_fn(|context| match question.as_mut().poll(context) {
        std::task::Poll::Ready(answered) => std::task::Poll::Ready(Some(answered)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn ids_that_are_made_up_take_few_turns_and_none_of_those_who_are_in() {
    let state = State::in_memory();
    let ours = sessions(&Config { store: SessionStore::Local, ..config() }, KEY, &state);
    let cookie = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
    let asked =
        |cookie: &str, network: &str| match ours.open(&sent(cookie), true, &Way::from(network.parse().unwrap()), 5) {
            Opened::Ask(question) => question,
            Opened::None | Opened::Good(_) | Opened::Denied(_) => panic!("{cookie}"),
        };
    let made_up = || format!("__Host-proxyd_session={}", SessionId::draw().unwrap().reveal());
    let (free, held) = std::sync::mpsc::sync_channel::<()>(1);
    let slow = Arc::clone(&state);
    let slow = std::thread::spawn(move || {
        slow.directory(|_| {
            held.recv().unwrap();
            Ok(())
        })
    });
    while !state.is_directory_busy() {
        std::thread::yield_now();
    }
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut question = asked(&made_up(), "192.0.2.1");
        match looked_at(&mut question).await {
            None => waiting.push(question),
            Some(answered) => assert_eq!(answered, Answered::Unavailable),
        }
    }
    // Two are asked about, and sixteen of one network wait.
    assert_eq!(waiting.len(), 18);
    let mut in_already: Vec<_> = std::iter::repeat_with(|| asked(&cookie, "192.0.2.1")).take(100).collect();
    for question in &mut in_already {
        assert_eq!(looked_at(question).await, None);
    }
    free.send(()).unwrap();
    slow.join().unwrap().unwrap();
    for question in waiting {
        assert_eq!(question.await, Answered::Denied(Denial::SessionInvalid));
    }
    for question in in_already {
        assert!(matches!(question.await, Answered::Good(_)));
    }
    // Nobody asks again for a second.
    let cookie = made_up();
    assert_eq!(asked(&cookie, "192.0.2.1").await, Answered::Denied(Denial::SessionInvalid));
    let again = looked_at(&mut asked(&cookie, "192.0.2.1")).await;
    assert_eq!(again, Some(Answered::Denied(Denial::SessionInvalid)));
}

#[tokio::test]
async fn a_cookie_that_is_remembered_is_judged_as_one_that_is_not() {
    let state = State::in_memory();
    let ours = sessions(&config(), KEY, &state);
    let new = session(&ours, 0);
    let cookie = pair(&ours.keep(&new, true, &Way::default(), 0).await.unwrap());
    let other = session(&ours, 0);
    let first = opened(&ours, &cookie, 0).await.unwrap().unwrap();
    let again = opened(&ours, &cookie, 99).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &again), "it was remembered");
    // It is sealed for its name.
    let plain = cookie.trim_start_matches("__Host-");
    assert!(matches!(ours.open(&sent(plain), false, &Way::default(), 0), Opened::Denied(Denial::SessionInvalid)));
    assert_eq!(opened(&ours, &cookie, 100).await, Err(Denial::SessionExpired));
    ours.end(&other, &Way::default(), 1).await.unwrap();
    assert!(opened(&ours, &cookie, 1).await.is_ok(), "another one has ended");
    ours.end(&new, &Way::default(), 1).await.unwrap();
    for _ in 0..2 {
        assert_eq!(opened(&ours, &cookie, 1).await, Err(Denial::SessionInvalid));
    }
    assert!(state.revoked.is_revoked(ENDED, &new.id.name()));
}

#[tokio::test]
async fn who_it_is_is_made_once_and_again_where_something_changes() {
    let made = std::cell::Cell::new(0);
    let make = || {
        made.set(made.get() + 1);
        Some(crate::exchange::Principal::default())
    };
    for store in [SessionStore::Cookie, SessionStore::Local] {
        let ours = sessions(&Config { store, ..config() }, KEY, &State::in_memory());
        let cookie = pair(&ours.keep(&session(&ours, 0), true, &Way::default(), 0).await.unwrap());
        made.set(0);
        for now_s in [0, 0, 1, 5] {
            let found = opened(&ours, &cookie, now_s).await.unwrap().unwrap();
            found.principal(1, ours.until_s(&found), make).unwrap();
        }
        assert_eq!(made.get(), 1, "{store:?}");
        let found = opened(&ours, &cookie, 5).await.unwrap().unwrap();
        let who = found.principal(2, ours.until_s(&found), make).unwrap();
        assert_eq!(made.get(), 2, "another config");
        let copy = Session::clone(&found);
        copy.principal(2, ours.until_s(&copy), make).unwrap();
        assert_eq!(made.get(), 3);
        let other = Session { roles: Vec::new(), ..Session::clone(&found) };
        other.take_over(&found);
        other.principal(2, ours.until_s(&other), make).unwrap();
        assert_eq!(made.get(), 4, "other roles");
        // Used since: it lasts longer, and the token of our own goes on.
        who.minted.or_mint(2, 5, || Some((100, Value::known("token")))).unwrap();
        let used = Session { seen_s: 5, ..Session::clone(&found) };
        used.take_over(&found);
        assert!(ours.until_s(&used) > ours.until_s(&found));
        let later = used.principal(2, ours.until_s(&used), make).unwrap();
        assert_eq!(made.get(), 5);
        assert_eq!(later.minted.or_mint(2, 5, || None).unwrap().as_bytes(), b"token");
    }
}

#[test]
fn nothing_secret_shows() {
    let ours = sessions(&config(), KEY, &State::in_memory());
    let tokens = Tokens { id_token: Some("secret".into()), refresh: Some("secret".into()), ..Tokens::default() };
    let session = Session { tokens, ..session(&ours, 0) };
    let shown = format!("{session:?}");
    assert!(!shown.contains("secret") && !shown.contains(session.id.reveal()), "{shown}");
}
