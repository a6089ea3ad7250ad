//! Logins from their beginning to their end, with a provider that says what it is told to. What must not succeed comes first.
#![expect(clippy::large_futures, reason = "a test waits for one at a time")]

mod browser;
mod claims;
mod discovered;
mod github_app;
mod refreshed;
mod reloaded;
mod revoked;
mod sessions;
mod stub;

use serde_json::{Value as Json, json};
use shared::config::identity::{Allow, Identity, SessionStore};

use self::browser::{Browser, config, logins_of};
use self::stub::{Script, Stub, key, now_s};
use super::*;
use crate::identity::session::Session;

/// Runs on a worker's kind of runtime.
async fn on_worker(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

/// A provider that does this, and a browser that is sent there.
async fn begun(change: impl FnOnce(&mut Script)) -> (Stub, Browser) {
    let stub = Stub::start().await;
    stub.set(change);
    let logins = logins_of(&stub, |_| {});
    (stub, Browser::new(logins))
}

#[tokio::test]
async fn what_comes_back_must_be_of_a_login_that_this_browser_began() {
    on_worker(async {
        let (stub, mut browser) = begun(|_| {}).await;
        let state = browser.begin(&stub, "corp", "/deep?a=b").await;
        let cookies = browser.cookies.clone();
        let check = async |browser: &mut Browser, page: &str, expected: &str| {
            let answer = browser.go(page).await;
            assert_eq!(
                (answer.refused, answer.status),
                (Some(expected), if expected == "login_state_invalid" { 400 } else { 403 }),
                "{page}"
            );
            assert!(browser.session().await.is_none(), "{page}");
        };
        let wrong = "login_state_invalid";
        check(&mut browser, "login/corp/callback", wrong).await;
        check(&mut browser, "login/corp/callback?code=good", wrong).await;
        check(&mut browser, "login/corp/callback?code=good&state=", wrong).await;
        check(&mut browser, "login/corp/callback?code=good&state=other", wrong).await;
        check(&mut browser, &format!("login/corp/callback?code=good&state={state}&state={state}"), wrong).await;
        // Another login's callback, another host, no cookie, another browser's.
        check(&mut browser, &format!("login/other/callback?code=good&state={state}"), wrong).await;
        browser.host = "evil.example".to_owned();
        check(&mut browser, &format!("login/corp/callback?code=good&state={state}"), wrong).await;
        browser.host = "app.example".to_owned();
        let mut stranger = Browser::new(Arc::clone(&browser.logins));
        check(&mut stranger, &format!("login/corp/callback?code=good&state={state}"), wrong).await;
        stranger.begin(&stub, "corp", "/").await;
        check(&mut stranger, &format!("login/corp/callback?code=good&state={state}"), wrong).await;
        browser.now_s += pending::LASTS_S;
        check(&mut browser, &format!("login/corp/callback?code=good&state={state}"), wrong).await;
        browser.now_s -= pending::LASTS_S;
        // It is over after the first answer, good or bad, even for whoever kept the cookie.
        check(&mut browser, &format!("login/corp/callback?error=access_denied&state={state}"), "login_failed").await;
        assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
        browser.cookies = cookies;
        check(&mut browser, &format!("login/corp/callback?code=good&state={state}"), wrong).await;
        assert_eq!(stub.count("POST /token"), 0);
    })
    .await;
}

#[tokio::test]
async fn a_code_or_an_issuer_that_is_not_good_logs_nobody_in() {
    on_worker(async {
        let (stub, mut browser) = begun(|_| {}).await;
        let long = format!("code={}", "a".repeat(4097));
        for query in ["", "code=", "code=bad", "code=good&code=good", &long, "code=good&iss=https://evil.example"] {
            let state = browser.begin(&stub, "corp", "/").await;
            let answer = browser.go(&format!("login/corp/callback?{query}&state={state}")).await;
            assert_eq!((answer.status, answer.refused), (403, Some("login_failed")), "{query}");
            assert!(browser.session().await.is_none(), "{query}");
        }
        // A provider that says whose its answers are must do so.
        let says = |script: &mut Script| {
            script.metadata = json!({"authorization_response_iss_parameter_supported": true});
        };
        let (stub, mut browser) = begun(says).await;
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, Some("login_failed"));
        let state = browser.begin(&stub, "corp", "/").await;
        let answer = browser.go(&format!("login/corp/callback?code=good&state={state}&iss={}", stub.address)).await;
        assert_eq!(answer.refused, None);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_does_not_hold_logs_nobody_in() {
    on_worker(async {
        let check = async |what: &str, change: &dyn Fn(&mut Script)| {
            let (stub, mut browser) = begun(|script| change(script)).await;
            let answer = browser.log_in(&stub, "corp", "/").await;
            assert_eq!((answer.status, answer.refused), (403, Some("login_failed")), "{what}");
            assert!(browser.session().await.is_none(), "{what}");
        };
        let claims = async |claims: Json| {
            let what = claims.to_string();
            check(&what, &move |script| script.claims = claims.clone()).await;
        };
        claims(json!({"nonce": "another"})).await;
        claims(json!({"nonce": null})).await;
        claims(json!({"iss": "https://evil.example"})).await;
        claims(json!({"iss": null})).await;
        claims(json!({"aud": "another"})).await;
        claims(json!({"aud": ["client", "another"]})).await;
        claims(json!({"aud": []})).await;
        claims(json!({"azp": "another"})).await;
        claims(json!({"exp": now_s() - 1})).await;
        claims(json!({"exp": null})).await;
        claims(json!({"sub": null})).await;
        claims(json!({"at_hash": "another"})).await;
        check("alg none", &|script| script.header = json!({"alg": "none"})).await;
        check("HS256 by the client's secret", &|script| script.header = json!({"alg": "HS256", "kid": null})).await;
        check("RS256 by an Ed25519 key", &|script| script.header = json!({"alg": "RS256"})).await;
        check("an unknown key", &|script| script.header = json!({"kid": "another"})).await;
        check("crit", &|script| script.header = json!({"crit": ["exp"]})).await;
        check("a broken signature", &|script| script.breaks_signature = true).await;
        check("no token", &|script| script.tokens = json!({"id_token": null})).await;
        check("no JWT", &|script| script.tokens = json!({"id_token": "a.b"})).await;
        check("a refusal", &|script| script.refuses = true).await;
        check("userinfo of somebody else", &|script| {
            script.claims = json!({"email": null});
            script.user = json!({"sub": "mallory", "email": "eve@a.example", "email_verified": true});
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_login_leads_back_to_where_somebody_came_from() {
    on_worker(async {
        let (stub, mut browser) = begun(|script| script.claims = json!({"email": null, "roles": null})).await;
        stub.set(|script| {
            script.user = json!({"sub": "eve", "email": "eve@a.example", "email_verified": true, "roles": ["admin"], "team": "blue"});
        });
        let begun = browser.go("login/corp?to=%2Fdeep%3Fa%3Db").await;
        let url = openidconnect::url::Url::parse(begun.location.as_deref().unwrap()).unwrap();
        let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
        for (name, expected) in [
            ("response_type", "code"),
            ("client_id", "client"),
            ("scope", "openid email"),
            ("redirect_uri", "https://app.example/.proxyd/login/corp/callback"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(query.get(name).map(String::as_str), Some(expected), "{url}");
        }
        assert_eq!(["state", "nonce", "code_challenge"].map(|name| query[name].len()), [43, 43, 43]);
        let answer = browser.log_in(&stub, "corp", "/deep?a=b").await;
        assert_eq!((answer.status, answer.location.as_deref()), (302, Some("/deep?a=b")));
        let set: Vec<_> = answer.cookies.iter().map(|cookie| String::from_utf8_lossy(cookie.as_bytes())).collect();
        assert!(set[0].starts_with("__Host-proxyd_session=") && set[0].ends_with("; HttpOnly; Secure; SameSite=Lax"), "{set:?}");
        assert!(set[1].starts_with("__Host-proxyd_session_login_") && set[1].contains("=; Path=/; Max-Age=0;"), "{set:?}");
        let session = browser.session().await.unwrap();
        assert_eq!((&*session.user, session.email.as_deref()), ("eve", Some("eve@a.example")));
        assert_eq!((&*session.provider, &*session.roles.join(" ")), ("login.corp", "user admin"));
        // The token's own claims come before those of userinfo.
        assert_eq!(session.claim("team"), Some("red"));
        let told = browser.go("session").await;
        let Some(pages::Text::Json(told)) = told.text else { panic!("{told:?}") };
        assert_eq!((&told["user"], &told["roles"]), (&json!("eve"), &json!(["user", "admin"])));
        assert_eq!(stub.count("GET /.well-known"), 1, "discovery is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_session_is_always_a_new_one_and_the_one_before_ends() {
    on_worker(async {
        let stub = Stub::start().await;
        let logins = logins_of(&stub, |identity| identity.session.store = SessionStore::Local);
        let mut attacker = Browser::new(Arc::clone(&logins));
        attacker.log_in(&stub, "corp", "/").await;
        let planted = attacker.cookies.clone();
        let mut victim = Browser::new(logins);
        victim.cookies.clone_from(&planted);
        victim.log_in(&stub, "corp", "/").await;
        assert_ne!(victim.cookies, planted);
        assert!(victim.session().await.is_some());
        assert!(attacker.session().await.is_none(), "the planted session has ended");
        // An id that nobody made is not taken up.
        let mut browser = Browser::new(Arc::clone(&victim.logins));
        let name = "__Host-proxyd_session".to_owned();
        let chosen = "A".repeat(43);
        browser.cookies = vec![(name.clone(), chosen.clone())];
        browser.log_in(&stub, "corp", "/").await;
        assert_ne!(browser.cookies, [(name, chosen)]);
    })
    .await;
}

#[tokio::test]
async fn only_those_who_are_named_come_in() {
    on_worker(async {
        let stub = Stub::start().await;
        let logins = logins_of(&stub, |identity| {
            for login in &mut identity.login {
                Arc::make_mut(login).allow = Allow { domains: vec!["b.example".into()], ..Allow::default() };
            }
        });
        for login in ["corp", "github"] {
            let mut browser = Browser::new(Arc::clone(&logins));
            let answer = browser.log_in(&stub, login, "/").await;
            assert_eq!((answer.status, answer.refused), (403, Some("login_refused")), "{login}");
            assert!(browser.cookies.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn github_says_who_it_is_by_its_api() {
    on_worker(async {
        let stub = Stub::start().await;
        let logins = logins_of(&stub, |identity| {
            let allow = Allow { organisations: vec!["Acme".into()], ..Allow::default() };
            for login in &mut identity.login {
                Arc::make_mut(login).allow = allow.clone();
            }
        });
        stub.set(|script| script.user = json!({"login": "eve", "id": 42, "email": "public@evil.example"}));
        let mut browser = Browser::new(logins);
        let answer = browser.log_in(&stub, "github", "/to").await;
        assert_eq!((answer.status, answer.location.as_deref()), (302, Some("/to")), "{answer:?}");
        let session = browser.session().await.unwrap();
        assert_eq!((&*session.user, session.email.as_deref()), ("eve", Some("eve@a.example")));
        assert_eq!(session.scopes.join(" "), "read:org user:email");
        assert_eq!(stub.count("GET /.well-known"), 0);
        stub.set(|script| script.organisations = json!([{"login": "other"}]));
        assert_eq!(browser.log_in(&stub, "github", "/").await.refused, Some("login_refused"));
        stub.set(|script| script.refuses = true);
        assert_eq!(browser.log_in(&stub, "github", "/").await.refused, Some("login_failed"));
        stub.set(|script| script.down = Some(502));
        assert_eq!(browser.log_in(&stub, "github", "/").await.refused, Some("auth_unavailable"));
    })
    .await;
}

#[tokio::test]
async fn a_session_goes_on_as_long_as_its_provider_says() {
    on_worker(async {
        for store in [SessionStore::Cookie, SessionStore::Local] {
            let stub = Stub::start().await;
            let logins = logins_of(&stub, |identity| identity.session.store = store);
            stub.set(|script| script.tokens = json!({"refresh_token": "r1", "expires_in": 300}));
            let mut browser = Browser::new(logins);
            browser.log_in(&stub, "corp", "/").await;
            let asked = |stub: &Stub| stub.count("POST /token") - 1;
            browser.now_s += 299;
            assert!(browser.session().await.is_some());
            assert_eq!(asked(&stub), 0);
            // Ten requests at once ask once, and all go on; new claims hold.
            browser.now_s += 1;
            stub.set(|script| {
                script.claims = json!({"roles": ["auditor"], "nonce": null});
                script.tokens = json!({"refresh_token": "r2", "expires_in": 300});
            });
            let old = browser.cookies.clone();
            let ask = || tokio::task::spawn_local(browser.clone().session_of());
            let several = std::iter::repeat_with(ask).take(10).collect::<Vec<_>>();
            for session in several {
                assert_eq!(session.await.unwrap().unwrap().roles.join(" "), "user auditor");
            }
            assert_eq!(asked(&stub), 1);
            let session = browser.session().await.unwrap();
            assert!(browser.renew(&session) == (store == SessionStore::Cookie));
            assert_eq!(browser.cookies != old, store == SessionStore::Cookie);
            assert_eq!(browser.session().await.unwrap().tokens.refresh.as_deref(), Some("r2"));
            // The provider is away for a while: the session goes on, and not for ever.
            stub.set(|script| script.down = Some(500));
            browser.now_s += 301;
            assert!(browser.session().await.is_some());
            browser.now_s += 300;
            assert_eq!(browser.answered().await, Answered::Unavailable);
            // The provider has ended it.
            stub.set(|script| (script.down, script.refuses) = (None, true));
            browser.now_s += 20;
            assert_eq!(browser.answered().await, Answered::Denied(Denial::SessionExpired));
        }
    })
    .await;
}

#[tokio::test]
async fn a_refresh_that_tells_of_somebody_else_ends_the_session() {
    on_worker(async {
        for claims in [json!({"sub": "mallory"}), json!({"iss": "https://evil.example"}), json!({"exp": 1})] {
            let (stub, mut browser) = begun(|script| {
                script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
            })
            .await;
            browser.log_in(&stub, "corp", "/").await;
            browser.now_s += 300;
            stub.set(|script| {
                script.claims = claims.clone();
                script.user = json!({"sub": claims["sub"].as_str().unwrap_or("eve")});
            });
            assert_eq!(browser.answered().await, Answered::Denied(Denial::SessionExpired), "{claims}");
        }
    })
    .await;
}

#[tokio::test]
async fn somebody_logs_out_here_and_at_the_provider_and_no_other_site_does() {
    on_worker(async {
        for store in [SessionStore::Cookie, SessionStore::Local] {
            let stub = Stub::start().await;
            let logins = logins_of(&stub, |identity| identity.session.store = store);
            let mut browser = Browser::new(logins);
            browser.log_in(&stub, "corp", "/").await;
            let kept = browser.cookies.clone();
            browser.site = "cross-site";
            let asked = browser.go("logout?to=/bye").await;
            let Some(pages::Text::Html(page)) = &asked.text else { panic!("{asked:?}") };
            assert!(page.contains("action=\"/.proxyd/logout?to=%2Fbye\""), "{page}");
            let posted = browser.send("POST", "logout").await;
            assert_eq!((posted.status, posted.refused), (403, Some("cross_site_refused")));
            assert!(browser.session().await.is_some());
            browser.site = "same-origin";
            let out = browser.send("POST", "logout").await;
            assert_eq!(out.status, 303);
            let url = openidconnect::url::Url::parse(out.location.as_deref().unwrap()).unwrap();
            let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
            assert_eq!((url.path(), &*query["a"], &*query["client_id"]), ("/end", "b", "client"));
            assert_eq!(query["post_logout_redirect_uri"], "https://app.example/bye");
            assert_eq!(query["id_token_hint"].split('.').count(), 3);
            assert!(browser.cookies.is_empty());
            assert!(browser.session().await.is_none());
            browser.cookies.clone_from(&kept);
            assert!(browser.session().await.is_none(), "the cookie of before is no good");
            // Nobody to log out: to where it leads, and nowhere else.
            let check = async |browser: &mut Browser, page: &str, expected: &str| {
                assert_eq!(browser.go(page).await.location.as_deref(), Some(expected), "{page}");
            };
            browser.cookies.clear();
            check(&mut browser, "logout", "/bye").await;
            check(&mut browser, "logout?to=/there", "/there").await;
            check(&mut browser, "logout?to=//evil.example", "/").await;
        }
    })
    .await;
}

#[tokio::test]
async fn pages_that_there_are_not_and_methods_that_they_do_not_take_are_refused() {
    on_worker(async {
        let (stub, mut browser) = begun(|_| {}).await;
        for page in
            ["", "login/", "login/nobody", "login/corp/", "login/corp/x", "login/corp/callback/x", "logout/", "x"]
        {
            assert_eq!(browser.try_send("GET", page).await.err(), Some(Rejection::RouteNotFound), "{page}");
        }
        for (method, page) in [
            ("POST", "login/corp"),
            ("HEAD", "login/corp/callback"),
            ("POST", "session"),
            ("HEAD", "logout"),
            ("PUT", "login"),
        ] {
            let refused = browser.try_send(method, page).await.err();
            assert!(matches!(refused, Some(Rejection::MethodNotAllowed(_))), "{method} {page}");
        }
        let nobody = browser.try_send("GET", "session").await.err();
        let Some(Rejection::Unauthenticated { why: Denial::Missing, challenges }) = nobody else {
            panic!("{nobody:?}")
        };
        assert_eq!(
            challenges.0.iter().map(crate::exchange::Value::as_bytes).collect::<Vec<_>>(),
            [b"Session realm=\"proxyd\""]
        );
        let choice = browser.go("login?to=/deep").await;
        let Some(pages::Text::Html(page)) = &choice.text else { panic!("{choice:?}") };
        assert!(page.contains("href=\"/.proxyd/login/github?to=%2Fdeep\""), "{page}");
        // Where there is one login, it is that.
        let only = logins_of(&stub, |identity| identity.login.truncate(1));
        let mut browser = Browser::new(only);
        assert_eq!(browser.go("login?to=/deep").await.location.as_deref(), Some("/.proxyd/login/corp?to=%2Fdeep"));
        browser.host = "evil.example/x".to_owned();
        assert_eq!(browser.go("login/corp").await.status, 400);
    })
    .await;
}

#[tokio::test]
async fn a_strict_cookie_is_sent_on_by_a_page_of_ours_and_a_reload_keeps_what_is_known() {
    on_worker(async {
        let stub = Stub::start().await;
        let strict = |identity: &mut Identity| identity.session.same_site = SameSite::Strict;
        let mut browser = Browser::new(logins_of(&stub, strict));
        let answer = browser.log_in(&stub, "corp", "/deep?a=1&b=2").await;
        let Some(pages::Text::Html(page)) = &answer.text else { panic!("{answer:?}") };
        assert!(page.contains("url=/deep?a=1&amp;b=2"), "{page}");
        let mut identity = config(&stub);
        strict(&mut identity);
        browser.logins = browser::compile(identity.clone(), Some(&browser.logins)).unwrap();
        let session: Option<Arc<Session>> = browser.session().await;
        assert!(session.is_some());
        browser.log_in(&stub, "corp", "/").await;
        assert_eq!(stub.count("GET /.well-known"), 1);
        Arc::make_mut(&mut identity.login[0]).kind =
            shared::config::identity::LoginKind::Oidc { issuer: "no address".into() };
        let error = browser::compile(identity, None).unwrap_err();
        assert!(error.starts_with("login.corp: the issuer is no URL"), "{error}");
    })
    .await;
}
