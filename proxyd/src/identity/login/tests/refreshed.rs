//! What a provider's answers to a refresh mean for a session, and what the same answers mean for a login.

use super::*;

/// Answers that say nothing of the person.
const NOTHING: [(u16, &str); 8] = [
    (429, "{}"),
    (404, "{}"),
    (404, "<html>not found</html>"),
    (200, "<html>back soon</html>"),
    (200, "{}"),
    (400, ""),
    (401, "{\"error\": \"invalid_client\"}"),
    (400, "{\"error\": \"slow_down\"}"),
];

/// Somebody whose session must be refreshed now.
async fn due(change: impl FnOnce(&mut Identity)) -> (Stub, Browser) {
    let stub = Stub::start().await;
    stub.set(|script| script.tokens = json!({"refresh_token": "r1", "expires_in": 300}));
    let mut browser = Browser::new(logins_of(&stub, change));
    assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
    browser.now_s += 300;
    (stub, browser)
}

#[tokio::test]
async fn only_a_provider_that_says_so_ends_a_session() {
    on_worker(async {
        for (status, text) in NOTHING {
            let (stub, mut browser) = due(|_| {}).await;
            stub.set(|script| script.over = vec![("/token", status, text)]);
            assert!(browser.session().await.is_some(), "{status} {text}");
            browser.now_s += 300;
            assert_eq!(browser.answered().await, Answered::Unavailable, "{status} {text}");
            browser.now_s += 10;
            stub.set(|script| script.over.clear());
            assert!(browser.session().await.is_some(), "{status} {text}");
        }
        let (stub, browser) = due(|_| {}).await;
        stub.set(|script| script.over = vec![("/token", 400, "{\"error\": \"invalid_grant\"}")]);
        assert_eq!(browser.answered().await, Answered::Denied(Denial::SessionExpired));
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_says_nothing_of_somebody_is_unavailable_to_logins() {
    on_worker(async {
        let (stub, mut browser) = begun(|script| script.claims = json!({"roles": null})).await;
        browser.logins = logins_of(&stub, |identity| Arc::make_mut(&mut identity.login[0]).asks_roles = true);
        let userinfo = [(429, "{}"), (404, "{}"), (302, ""), (200, ""), (200, "<html>back soon</html>")];
        let of = |path: &'static str| move |(status, text)| (path, status, text);
        for over in NOTHING.into_iter().map(of("/token")).chain(userinfo.into_iter().map(of("/userinfo"))) {
            stub.set(|script| script.over = vec![over]);
            let answer = browser.log_in(&stub, "corp", "/").await;
            assert_eq!((answer.status, answer.refused), (503, Some("auth_unavailable")), "{over:?}");
        }
        stub.set(|script| script.over.clear());
        for (error, expected) in [
            ("temporarily_unavailable", "auth_unavailable"),
            ("server_error", "auth_unavailable"),
            ("access_denied", "login_failed"),
        ] {
            let state = browser.begin(&stub, "corp", "/").await;
            let answer = browser.go(&format!("login/corp/callback?error={error}&state={state}")).await;
            assert_eq!(answer.refused, Some(expected), "{error}");
        }
        stub.set(|script| script.user = json!({"login": "eve", "id": 42}));
        assert_eq!(browser.log_in(&stub, "github", "/").await.refused, None);
        for (path, status, text, expected) in [
            ("/gh/token", 200, "{\"error\": \"bad_verification_code\"}", "login_failed"),
            ("/gh/token", 200, "{\"error\": \"incorrect_client_credentials\"}", "auth_unavailable"),
            ("/gh/token", 404, "<html>", "auth_unavailable"),
            ("/user", 429, "{}", "auth_unavailable"),
            ("/user", 401, "{}", "login_failed"),
        ] {
            stub.set(|script| script.over = vec![(path, status, text)]);
            let answer = browser.log_in(&stub, "github", "/").await;
            assert_eq!(answer.refused, Some(expected), "{path} {status} {text}");
        }
    })
    .await;
}
