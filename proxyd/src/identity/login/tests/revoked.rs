//! Which tokens are given back to the provider, and when.

use super::*;

/// Somebody with a token to refresh with, at a provider that takes it back.
async fn logged_in(metadata: Json) -> (Stub, Browser) {
    let stub = Stub::start().await;
    let mut whole = json!({"revocation_endpoint": format!("{}/revoke", stub.address)});
    whole.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    stub.set(|script| {
        script.metadata = whole;
        script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
    });
    let allow = Allow { domains: vec!["a.example".into()], ..Allow::default() };
    let logins = logins_of(&stub, |identity| Arc::make_mut(&mut identity.login[0]).allow = allow);
    let mut browser = Browser::new(logins);
    assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
    (stub, browser)
}

/// The tokens that were given back, once this one was.
async fn given_back(stub: &Stub, wanted: &str) -> Vec<String> {
    for _ in 0..500 {
        let tokens = stub.set(|script| script.asked_with("token"));
        if tokens.iter().any(|token| token == wanted) {
            return tokens;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{wanted} was not given back")
}

/// What the provider was told, once it was.
async fn revoked(stub: &Stub) -> Vec<(String, String)> {
    for _ in 0..500 {
        let form = stub
            .set(|script| script.seen.iter().find(|(line, _)| line == "POST /revoke").map(|(_, form)| form.clone()));
        if let Some(form) = form {
            return form;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nothing was given back")
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_logout_gives_back_what_refreshes() {
    on_worker(async {
        let (stub, mut browser) = logged_in(json!({})).await;
        // Another login in the same browser does not: of some providers it would end that one too.
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
        browser.go("logout").await;
        assert_eq!(revoked(&stub).await, [pair("token", "r1"), pair("token_type_hint", "refresh_token")]);
        assert!(stub.set(|script| script.authorization.starts_with("Basic ")));
        assert_eq!(stub.count("POST /revoke"), 1);
        let (stub, mut browser) =
            logged_in(json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]})).await;
        browser.go("logout").await;
        let form = revoked(&stub).await;
        assert!(
            form.contains(&pair("client_id", "client")) && form.contains(&pair("client_secret", "s&cret")),
            "{form:?}"
        );
        assert_eq!(stub.set(|script| script.authorization.clone()), "");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_named_no_more_leaves_no_token_behind() {
    on_worker(async {
        let (stub, mut browser) = logged_in(json!({})).await;
        browser.now_s += 300;
        stub.set(|script| {
            script.claims = json!({"email": "eve@b.example"});
            script.tokens = json!({"refresh_token": "r2", "expires_in": 300});
        });
        assert_eq!(browser.answered().await, Answered::Denied(Denial::SessionExpired));
        assert!(revoked(&stub).await.contains(&pair("token", "r2")));
    })
    .await;
}

#[tokio::test]
async fn a_logout_waits_for_no_revocation_and_needs_none() {
    on_worker(async {
        for metadata in [
            json!({"revocation_endpoint": null}),
            json!({"revocation_endpoint": "no address"}),
            json!({"revocation_endpoint": "http://evil.example/revoke"}),
            json!({"revocation_endpoint": "http://127.0.0.1:1/revoke"}),
        ] {
            let (stub, mut browser) = logged_in(metadata.clone()).await;
            let out = browser.go("logout").await;
            assert!(out.location.as_deref().unwrap().starts_with(&format!("{}/end", stub.address)), "{metadata}");
            assert!(browser.session().await.is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn a_logout_gives_back_what_a_cookie_of_before_does_not_know() {
    on_worker(async {
        let (stub, mut browser) = logged_in(json!({})).await;
        stub.set(|script| script.tokens = json!({"refresh_token": "r2", "expires_in": 300}));
        browser.now_s += 300;
        assert!(browser.session().await.is_some());
        browser.send("POST", "logout").await;
        assert_eq!(given_back(&stub, "r2").await, ["r2"]);
    })
    .await;
}

#[tokio::test]
async fn a_logout_while_the_provider_is_asked_leaves_no_token_behind() {
    on_worker(async {
        for store in [SessionStore::Cookie, SessionStore::Local] {
            let (stub, mut browser) = logged_in(json!({})).await;
            browser.logins = logins_of(&stub, |identity| identity.session.store = store);
            assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
            stub.set(|script| {
                script.tokens = json!({"refresh_token": "r2", "expires_in": 300});
                script.holds = Some("/token");
            });
            let before = stub.count("POST /token");
            browser.now_s += 300;
            let asked = tokio::task::spawn_local(browser.clone().session_of());
            while stub.count("POST /token") == before {
                tokio::task::yield_now().await;
            }
            browser.send("POST", "logout").await;
            stub.set(|script| script.holds = None);
            assert!(asked.await.unwrap().is_none(), "{store:?}");
            given_back(&stub, "r2").await;
        }
    })
    .await;
}
