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

#[tokio::test]
async fn tokens_that_were_changed_are_kept_although_nobody_says_whose_they_are() {
    on_worker(async {
        for (store, over) in [
            (SessionStore::Cookie, ("/userinfo", 429, "{}")),
            (SessionStore::Local, ("/userinfo", 429, "{}")),
            (SessionStore::Local, ("/jwks", 500, "{}")),
        ] {
            let (stub, mut browser) = due(|identity| {
                identity.session.store = store;
                Arc::make_mut(&mut identity.login[0]).asks_roles = true;
            })
            .await;
            stub.set(|script| {
                script.claims = json!({"roles": null});
                script.user = json!({"sub": "eve", "roles": ["auditor"]});
                script.tokens = json!({"refresh_token": "r2", "expires_in": 300});
                script.keys = vec![key("two")];
                script.over = vec![over];
            });
            let asked = |stub: &Stub| stub.set(|script| script.asked_with("refresh_token"));
            let session = browser.session().await.unwrap();
            assert_eq!((session.roles.join(" "), session.tokens.refresh.as_deref()), ("user admin".into(), Some("r2")));
            assert_eq!(browser.renew(&session), store == SessionStore::Cookie);
            assert_eq!(asked(&stub), ["r1"]);
            browser.now_s += 9;
            assert!(browser.session().await.is_some());
            assert_eq!(asked(&stub), ["r1"], "not again at once");
            browser.now_s += 1;
            let session = browser.session().await.unwrap();
            browser.renew(&session);
            assert_eq!(asked(&stub), ["r1", "r2"]);
            // Not for ever.
            browser.now_s += 290;
            assert_eq!(browser.answered().await, Answered::Unavailable);
            if over.0 == "/userinfo" && store == SessionStore::Local {
                browser.now_s += 10;
                stub.set(|script| script.over.clear());
                assert_eq!(browser.session().await.unwrap().roles.join(" "), "user auditor");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_refresh_without_an_id_token_asks_userinfo_who_it_is() {
    on_worker(async {
        let check = async |metadata: Json, user: Json, over: Option<(u16, &'static str)>, expected: Option<&str>| {
            let stub = Stub::start().await;
            stub.set(|script| {
                script.metadata = metadata.clone();
                script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
            });
            let mut browser = Browser::new(logins_of(&stub, |identity| {
                let allow = &mut Arc::make_mut(&mut identity.login[0]).allow;
                allow.domains = vec!["a.example".into()];
            }));
            assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
            browser.now_s += 300;
            stub.set(|script| {
                script.tokens = json!({"id_token": null, "refresh_token": "r2", "expires_in": 300});
                script.user = user.clone();
                script.over = over.into_iter().map(|(status, text)| ("/userinfo", status, text)).collect();
            });
            let found = browser.answered().await;
            match expected {
                Some(roles) => {
                    let Answered::Good(session) = found else { panic!("{user} {found:?}") };
                    assert_eq!(
                        (&*session.roles.join(" "), session.tokens.refresh.as_deref()),
                        (roles, Some("r2")),
                        "{user}"
                    );
                    assert!(session.tokens.id_token.is_some());
                }
                None => assert_eq!(found, Answered::Denied(Denial::SessionExpired), "{user}"),
            }
        };
        let whole = json!({
            "sub": "eve", "email": "eve@a.example", "email_verified": true, "roles": ["auditor"], "team": "red",
        });
        let with = |name: &str, value: Json| {
            let mut changed = whole.clone();
            changed[name] = value;
            changed
        };
        let none = json!({});
        check(none.clone(), with("sub", json!("mallory")), None, None).await;
        check(none.clone(), with("sub", Json::Null), None, None).await;
        check(none.clone(), with("email", json!("eve@b.example")), None, None).await;
        check(none.clone(), with("email_verified", json!(false)), None, None).await;
        check(none.clone(), with("roles", Json::Null), None, None).await;
        check(none.clone(), with("team", Json::Null), None, None).await;
        check(none.clone(), whole.clone(), Some((401, "{}")), None).await;
        check(none.clone(), whole.clone(), Some((429, "{}")), Some("user admin")).await;
        check(none, whole.clone(), None, Some("user auditor")).await;
        check(json!({"userinfo_endpoint": null}), whole.clone(), None, Some("user admin")).await;
    })
    .await;
}

/// Somebody of `corp` or `github`, with what was given at the login.
async fn logged_in(login: &str, store: SessionStore, tokens: Json) -> (Stub, Browser) {
    let stub = Stub::start().await;
    stub.set(|script| {
        script.user = json!({"sub": "eve", "login": "eve", "id": 42, "roles": ["admin"], "team": "red"});
        script.tokens = tokens;
    });
    let mut browser = Browser::new(logins_of(&stub, |identity| identity.session.store = store));
    assert_eq!(browser.log_in(&stub, login, "/").await.refused, None);
    (stub, browser)
}

#[tokio::test]
async fn a_provider_that_leaves_a_refresh_token_as_it_was_is_asked_each_time() {
    on_worker(async {
        for (login, store) in
            [("corp", SessionStore::Cookie), ("corp", SessionStore::Local), ("github", SessionStore::Cookie)]
        {
            let (stub, mut browser) = logged_in(login, store, json!({"refresh_token": "r1", "expires_in": 300})).await;
            stub.set(|script| script.tokens = json!({"expires_in": 300}));
            for turn in 1..=3 {
                browser.now_s += 300;
                let Answered::Good(session) = browser.answered_for(login).await else { panic!("{login} {turn}") };
                assert_eq!(session.tokens.refresh.as_deref(), Some("r1"));
                browser.renew(&session);
                assert_eq!(stub.set(|script| script.asked_with("refresh_token").len()), turn, "{login} {store:?}");
            }
            // One that is taken back is noticed.
            stub.set(|script| {
                script.over = vec![
                    ("/token", 400, "{\"error\": \"invalid_grant\"}"),
                    ("/gh/token", 200, "{\"error\": \"bad_refresh_token\"}"),
                ];
            });
            browser.now_s += 300;
            assert_eq!(browser.answered_for(login).await, Answered::Denied(Denial::SessionExpired), "{login}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_ends_and_cannot_be_refreshed_has_nobody_asked() {
    on_worker(async {
        let (stub, mut browser) = logged_in("corp", SessionStore::Local, json!({"expires_in": 300})).await;
        browser.now_s += 300;
        assert_eq!(browser.session().await.unwrap().tokens.until_s, None);
        assert_eq!(stub.count("POST /token"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refresh_gives_no_scope_that_was_never_granted() {
    on_worker(async {
        let check = async |login: &str, refreshed: Json, expected: &str| {
            let given = json!({"refresh_token": "r1", "expires_in": 300, "scope": "email"});
            let (stub, mut browser) = logged_in(login, SessionStore::Cookie, given).await;
            stub.set(|script| script.tokens = refreshed.clone());
            browser.now_s += 300;
            let Answered::Good(session) = browser.answered_for(login).await else { panic!("{login} {refreshed}") };
            assert_eq!(session.scopes.join(" "), expected, "{login} {refreshed}");
        };
        let silent = json!({"refresh_token": "r2", "expires_in": 300, "scope": null});
        let without_id_token = json!({"id_token": null, "refresh_token": "r2", "expires_in": 300});
        check("corp", silent.clone(), "email").await;
        check("corp", without_id_token, "email").await;
        check("github", silent, "email").await;
        // What is said holds.
        let narrower = json!({"refresh_token": "r2", "expires_in": 300, "scope": "a b"});
        check("corp", narrower, "a b").await;
        // At a login silence means what was asked for.
        let (_, browser) = logged_in("corp", SessionStore::Cookie, json!({})).await;
        assert_eq!(browser.session().await.unwrap().scopes.join(" "), "openid email");
    })
    .await;
}

#[tokio::test]
async fn roles_do_not_vanish_where_an_id_token_did_not_fit_into_the_cookie() {
    on_worker(async {
        let check = async |claims: Json, user: Json, expected: Option<&str>| {
            let stub = Stub::start().await;
            stub.set(|script| {
                script.claims = claims.clone();
                script.claims["pad"] = "x".repeat(3000).into();
                script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
            });
            let mut browser = Browser::new(logins_of(&stub, |_| {}));
            assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
            assert_eq!(browser.session().await.unwrap().tokens.id_token, None);
            browser.now_s += 300;
            stub.set(|script| {
                script.tokens = json!({"id_token": null, "refresh_token": "r2", "expires_in": 300});
                script.user = user.clone();
            });
            let found = match browser.answered().await {
                Answered::Good(session) => Some(session.roles.join(" ")),
                denied @ (Answered::Denied(_) | Answered::Unavailable) => {
                    assert_eq!(denied, Answered::Denied(Denial::SessionExpired));
                    None
                }
            };
            assert_eq!(found.as_deref(), expected, "{claims} {user}");
        };
        check(json!({}), json!({"sub": "eve", "team": "red"}), None).await;
        check(json!({}), json!({"sub": "eve", "roles": ["admin"]}), None).await;
        check(json!({}), json!({"sub": "eve", "roles": [], "team": "red"}), Some("user")).await;
        check(json!({}), json!({"sub": "eve", "roles": ["auditor"], "team": "red"}), Some("user auditor")).await;
        // What nobody ever said is not missed, nor what the config gives.
        check(json!({"roles": ["user"], "team": null}), json!({"sub": "eve"}), Some("user")).await;
    })
    .await;
}
