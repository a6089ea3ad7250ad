//! What becomes of a session that several ask for at once, here and in another process, with cookies of now and of before.

use super::browser::compile_with;
use super::*;

fn rotating(stub: &Stub) {
    stub.set(|script| {
        script.rotates = Some(1);
        script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
    });
}

#[tokio::test]
async fn two_processes_of_one_store_lose_no_session_to_each_other() {
    on_worker(async {
        let stub = Stub::start().await;
        rotating(&stub);
        let mut identity = config(&stub);
        identity.session.store = SessionStore::Local;
        let state = State::in_memory();
        let process = || compile_with(identity.clone(), &state, None).unwrap();
        let mut old = Browser::new(process());
        old.log_in(&stub, "corp", "/").await;
        let mut new = Browser::new(process());
        new.cookies.clone_from(&old.cookies);
        new.now_s = old.now_s;
        for _ in 0..3 {
            // Both ask at once when its tokens end.
            (old.now_s, new.now_s) = (old.now_s + 300, new.now_s + 300);
            let asked = [old.clone(), new.clone(), old.clone(), new.clone()].map(Browser::session_of);
            for session in asked.map(tokio::task::spawn_local) {
                assert!(session.await.unwrap().is_some());
            }
            let good = |session: Option<Arc<Session>>| session.unwrap().tokens.refresh.clone();
            assert_eq!(good(old.session().await), good(new.session().await));
        }
        // One after the other.
        (old.now_s, new.now_s) = (old.now_s + 300, new.now_s + 300);
        let before = stub.count("POST /token");
        assert!(old.session().await.is_some() && new.session().await.is_some());
        assert_eq!(stub.count("POST /token"), before + 1);
    })
    .await;
}

#[tokio::test]
async fn a_session_is_refreshed_for_its_own_login_alone() {
    on_worker(async {
        for store in [SessionStore::Cookie, SessionStore::Local] {
            let stub = Stub::start().await;
            rotating(&stub);
            let mut browser = Browser::new(logins_of(&stub, |identity| identity.session.store = store));
            browser.log_in(&stub, "corp", "/").await;
            let before = stub.count("POST /token");
            browser.now_s += 300;
            // The session as it is, which is none there.
            let Answered::Good(session) = browser.answered_for("other").await else { panic!("{store:?}") };
            assert_eq!((session.login(), session.tokens.refresh.as_deref()), ("corp", Some("r1")));
            assert_eq!(stub.count("POST /token"), before);
            assert!(browser.session().await.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_leaves_late_does_not_put_spent_tokens_back() {
    on_worker(async {
        let stub = Stub::start().await;
        rotating(&stub);
        let mut browser = Browser::new(logins_of(&stub, |_| {}));
        browser.log_in(&stub, "corp", "/").await;
        browser.now_s += 299;
        let mut session = Session::clone(&*browser.session().await.unwrap());
        // Its use is due to be noted too.
        session.seen_s -= 3600;
        let late = browser.news(&Arc::new(session)).unwrap();
        let before = browser.cookies.clone();
        browser.now_s += 1;
        let refreshed = browser.session().await.unwrap();
        assert!(browser.renew(&refreshed));
        let (_, cookie) = late.told().unwrap();
        browser.take(&cookie);
        assert_eq!(browser.session().await.unwrap().tokens.refresh.as_deref(), Some("r2"));
        // A cookie of before may come for as long as it likes: its tokens are never tried.
        for turn in 0..3 {
            browser.now_s += 299;
            browser.cookies.clone_from(&before);
            let session = browser.session().await.unwrap();
            assert_eq!(session.tokens.refresh, Some(format!("r{}", turn + 2).into()));
            browser.now_s += 1;
            assert_eq!(browser.session().await.unwrap().tokens.refresh, Some(format!("r{}", turn + 3).into()));
        }
        // Nothing is set for whoever has logged out in the meantime.
        let session = browser.session().await.unwrap();
        let late = browser.news(&session).unwrap();
        assert_eq!(browser.send("POST", "logout").await.status, 303);
        assert!(late.told().is_none());
    })
    .await;
}

#[tokio::test]
async fn who_cannot_be_logged_out_is_told_so_and_keeps_the_cookie() {
    on_worker(async {
        let stub = Stub::start().await;
        // There is no store, so that every question fails.
        let mut browser = Browser::new(logins_of(&stub, |identity| identity.session.store = SessionStore::Redis));
        assert_eq!(browser.send("POST", "logout").await.status, 303, "nobody is logged in");
        browser.cookies = vec![("__Host-proxyd_session".to_owned(), "A".repeat(43))];
        let kept = browser.cookies.clone();
        assert_eq!(browser.try_send("POST", "logout").await.err(), Some(Rejection::AuthUnavailable));
        assert_eq!(browser.cookies, kept);
        browser.cookies[0].1 = "made up".to_owned();
        assert_eq!(browser.send("POST", "logout").await.status, 303);
        assert!(browser.cookies.is_empty());
    })
    .await;
}

/// Keeps the disk busy until it is told to let go.
fn busy(state: &Arc<State>) -> impl FnOnce() {
    let (free, held) = std::sync::mpsc::sync_channel::<()>(1);
    let slow = Arc::clone(state);
    let slow = std::thread::spawn(move || {
        slow.directory(|_| {
            held.recv().unwrap();
            Ok(())
        })
    });
    while !state.is_directory_busy() {
        std::thread::yield_now();
    }
    move || {
        free.send(()).unwrap();
        slow.join().unwrap().unwrap();
    }
}

/// Somebody whose session is in a store on the disk, and that disk.
async fn on_disk(stub: &Stub) -> (Arc<State>, Identity, Browser) {
    let state = State::in_memory();
    let mut identity = config(stub);
    identity.session.store = SessionStore::Local;
    let mut browser = Browser::new(compile_with(identity.clone(), &state, None).unwrap());
    assert_eq!(browser.log_in(stub, "corp", "/").await.refused, None);
    (state, identity, browser)
}

#[tokio::test]
async fn a_reload_does_not_forget_who_is_in() {
    on_worker(async {
        let stub = Stub::start().await;
        let (state, identity, mut browser) = on_disk(&stub).await;
        browser.logins = compile_with(identity, &state, Some(&browser.logins)).unwrap();
        browser.now_s += 2;
        let free = busy(&state);
        let made_up = || {
            let id = crate::identity::session::SessionId::draw().unwrap();
            let mut other = browser.clone();
            other.cookies[0].1 = id.reveal().to_owned();
            tokio::task::spawn_local(other.session_of())
        };
        let flood: Vec<_> = std::iter::repeat_with(made_up).take(100).collect();
        tokio::task::yield_now().await;
        let asked = tokio::task::spawn_local(browser.clone().session_of());
        tokio::task::yield_now().await;
        free();
        assert!(asked.await.unwrap().is_some());
        for asked in flood {
            assert!(asked.await.unwrap().is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn tokens_that_a_store_did_not_take_are_written_down_once_it_does() {
    on_worker(async {
        for (later_s, expected) in [(60, vec!["r1"]), (400, vec!["r1", "r2"])] {
            let stub = Stub::start().await;
            rotating(&stub);
            let (state, _, mut browser) = on_disk(&stub).await;
            browser.now_s += 300;
            stub.set(|script| script.holds = Some("/token"));
            let asked = tokio::task::spawn_local(browser.clone().answered_of());
            while stub.count("POST /token") == 1 {
                tokio::task::yield_now().await;
            }
            // Nobody finds a place any more.
            let free = busy(&state);
            let waits = || {
                let state = Arc::clone(&state);
                tokio::task::spawn_local(async move {
                    let disk = Arc::clone(&state);
                    state.queues.sessions.run(None, move || disk.directory(|_| Ok(()))).await.is_some()
                })
            };
            let waiting: Vec<_> = std::iter::repeat_with(waits).take(4200).collect();
            tokio::task::yield_now().await;
            stub.set(|script| script.holds = None);
            assert_eq!(asked.await.unwrap(), Answered::Unavailable);
            free();
            for one in waiting {
                one.await.unwrap();
            }
            browser.now_s += later_s;
            let Answered::Good(session) = browser.answered().await else { panic!("it is lost after {later_s} s") };
            assert_eq!(session.tokens.refresh, Some(format!("r{}", expected.len() + 1).into()));
            assert_eq!(stub.set(|script| script.asked_with("refresh_token")), expected);
            // It was written down.
            browser.now_s += 2;
            assert_eq!(browser.session().await.unwrap().tokens, session.tokens);
        }
    })
    .await;
}

#[tokio::test]
async fn a_question_counts_for_as_long_as_its_answer_may_take() {
    on_worker(async {
        let stub = Stub::start().await;
        rotating(&stub);
        let mut browser = Browser::new(logins_of(&stub, |identity| {
            Arc::make_mut(&mut identity.login[0]).timeout = std::time::Duration::from_mins(1);
        }));
        browser.log_in(&stub, "corp", "/").await;
        stub.set(|script| script.holds = Some("/token"));
        browser.now_s += 300;
        let mut asked = vec![tokio::task::spawn_local(browser.clone().session_of())];
        while stub.count("POST /token") == 1 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            browser.now_s += 61;
            asked.push(tokio::task::spawn_local(browser.clone().session_of()));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(stub.count("POST /token"), 2);
        stub.set(|script| script.holds = None);
        for session in asked {
            assert_eq!(session.await.unwrap().unwrap().tokens.refresh.as_deref(), Some("r2"));
        }
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_once_a_refresh_has_had_its_time() {
    on_worker(async {
        let stub = Stub::start().await;
        rotating(&stub);
        let mut browser = Browser::new(logins_of(&stub, |_| {}));
        browser.log_in(&stub, "corp", "/").await;
        let (session, provider) = (browser.session().await.unwrap(), browser.logins.provider("corp").unwrap());
        let calls = provider.calls(&crate::outside::Outside::default().client().unwrap(), browser.now_s);
        let ask = async |lasts| provider.refresh(&session, &calls.within(lasts)).await;
        let refreshed = ask(std::time::Duration::ZERO).await;
        assert!(matches!(refreshed, provider::Refreshed::Unavailable));
        assert_eq!(stub.count("POST /token"), 1, "its token would be spent, and the answer lost");
        let refreshed = ask(std::time::Duration::from_secs(5)).await;
        assert!(matches!(refreshed, provider::Refreshed::Good(..)));
    })
    .await;
}

#[tokio::test]
async fn a_shorter_time_is_told_of_sessions_that_there_are() {
    on_worker(async {
        let stub = Stub::start().await;
        let mut browser = Browser::new(logins_of(&stub, |_| {}));
        browser.log_in(&stub, "corp", "/").await;
        browser.logins = logins_of(&stub, |identity| {
            identity.session.absolute = std::time::Duration::from_secs(1000);
        });
        let told = browser.go("session").await;
        let Some(pages::Text::Json(told)) = told.text else { panic!("{told:?}") };
        let expires: jiff::Timestamp = told["expires"].as_str().unwrap().parse().unwrap();
        assert_eq!(expires.as_second(), browser.now_s + 1000);
        // The idle time does not bound what tokens of our own rest on.
        let session = browser.session().await.unwrap();
        assert_eq!(browser.logins.who(&session).until_s, Some(browser.now_s + 1000));
    })
    .await;
}
