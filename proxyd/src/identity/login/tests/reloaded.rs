//! What another config means for those who are in: who may come in, and as whom, is judged by the one of now.

use shared::config::identity::{Login, LoginKind};

use super::browser::compile_with;
use super::*;

/// Somebody who is in, by a provider that gives tokens to refresh with or does not, and a way to reload.
struct In {
    stub: Stub,
    state: Arc<State>,
    identity: Identity,
    browser: Browser,
}

impl In {
    async fn begin(store: SessionStore, refreshes: bool) -> Self {
        let stub = Stub::start().await;
        if refreshes {
            stub.set(|script| {
                script.rotates = Some(1);
                script.tokens = json!({"refresh_token": "r1", "expires_in": 300});
            });
        }
        let state = State::in_memory();
        let mut identity = config(&stub);
        identity.session.store = store;
        Arc::make_mut(&mut identity.login[0]).allow.domains = vec!["a.example".into()];
        let mut browser = Browser::new(compile_with(identity.clone(), &state, None).unwrap());
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
        assert!(browser.session().await.is_some());
        Self { stub, state, identity, browser }
    }

    fn reload(&mut self, change: impl FnOnce(&mut Login)) {
        change(Arc::make_mut(&mut self.identity.login[0]));
        let made = compile_with(self.identity.clone(), &self.state, Some(&self.browser.logins));
        self.browser.logins = made.unwrap();
    }

    /// Those that the session has on a route.
    async fn roles(&self) -> Result<String, Answered> {
        match self.browser.answered().await {
            Answered::Good(session) => Ok(session.roles.join(" ")),
            other @ (Answered::Denied(_) | Answered::Unavailable) => Err(other),
        }
    }

    fn asked(&self) -> usize {
        self.stub.count("POST /token")
    }
}

const EXPIRED: Answered = Answered::Denied(Denial::SessionExpired);
const INVALID: Answered = Answered::Denied(Denial::SessionInvalid);
const STORES: [SessionStore; 2] = [SessionStore::Cookie, SessionStore::Local];

#[tokio::test]
async fn who_may_come_in_and_as_whom_is_judged_anew() {
    on_worker(async {
        for store in STORES {
            let mut one = In::begin(store, true).await;
            one.reload(|login| login.roles = vec!["boss".into()]);
            assert_eq!(one.roles().await.unwrap(), "boss admin", "{store:?}");
            // Once, also for whoever brings the cookie of before, and not for what says nothing of who may come in.
            assert_eq!((one.roles().await.unwrap(), one.asked()), ("boss admin".to_owned(), 2));
            one.reload(|login| login.timeout = std::time::Duration::from_secs(4));
            assert_eq!((one.roles().await.unwrap(), one.asked()), ("boss admin".to_owned(), 2));
            one.reload(|login| login.roles_claim = "team".into());
            assert_eq!((one.roles().await.unwrap(), one.asked()), ("boss red".to_owned(), 3));
            // Back, though what was heard under those rules is remembered.
            one.reload(|login| (login.roles, login.roles_claim) = (vec!["user".into()], "roles".into()));
            // The cookie of before is of those very rules.
            let asked = 3 + usize::from(store == SessionStore::Local);
            assert_eq!((one.roles().await.unwrap(), one.asked()), ("user admin".to_owned(), asked));
            one.reload(|login| login.allow.domains = vec!["other.example".into()]);
            assert_eq!(one.roles().await, Err(EXPIRED), "{store:?}");
            one.reload(|login| login.allow.domains = vec!["a.example".into()]);
            assert_eq!(one.roles().await, Err(INVALID), "what has ended stays so");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_cannot_be_judged_anew_ends() {
    on_worker(async {
        for store in STORES {
            let mut one = In::begin(store, false).await;
            one.reload(|login| login.public_url = Some("https://app.example".into()));
            assert_eq!(one.roles().await.unwrap(), "user admin");
            one.reload(|login| login.roles = vec!["boss".into()]);
            let told = one.browser.try_send("GET", "session").await;
            assert!(matches!(told, Err(Rejection::Unauthenticated { .. })), "{store:?} {told:?}");
            assert_eq!(one.roles().await, Err(INVALID));
            assert_eq!(one.browser.log_in(&one.stub, "corp", "/").await.refused, None);
            assert_eq!(one.roles().await.unwrap(), "boss admin");
        }
        // One that only says that it goes on has nothing to judge by.
        let mut one = In::begin(SessionStore::Local, true).await;
        one.stub.set(|script| {
            script.metadata = json!({"userinfo_endpoint": null});
            script.rotates = None;
            script.tokens = json!({"id_token": null, "refresh_token": "r1", "expires_in": 300});
        });
        one.reload(|login| login.roles = vec!["boss".into()]);
        assert_eq!(one.roles().await, Err(EXPIRED));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_let_in_by_rules_of_before_while_the_provider_is_silent() {
    on_worker(async {
        for store in STORES {
            let mut one = In::begin(store, true).await;
            one.stub.set(|script| (script.rotates, script.over) = (None, vec![("/token", 503, "{}")]));
            one.reload(|login| login.allow.domains = vec!["A.example".into(), "b.example".into()]);
            assert_eq!(one.roles().await, Err(Answered::Unavailable), "{store:?}");
            one.stub.set(|script| (script.rotates, script.over) = (Some(1), Vec::new()));
            one.browser.now_s += 10;
            assert_eq!(one.roles().await.unwrap(), "user admin");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reload_while_the_provider_is_asked_spends_no_token_twice() {
    on_worker(async {
        for store in STORES {
            let mut one = In::begin(store, true).await;
            one.browser.now_s += 300;
            one.stub.set(|script| script.holds = Some("/token"));
            let before = tokio::task::spawn_local(one.browser.clone().session_of());
            while one.asked() == 1 {
                tokio::task::yield_now().await;
            }
            one.reload(|login| login.roles = vec!["boss".into()]);
            let after = tokio::task::spawn_local(one.browser.clone().session_of());
            tokio::task::yield_now().await;
            one.stub.set(|script| script.holds = None);
            assert_eq!(before.await.unwrap().unwrap().roles.join(" "), "user admin");
            assert_eq!(after.await.unwrap().unwrap().roles.join(" "), "boss admin", "{store:?}");
            assert_eq!(one.stub.set(|script| script.asked_with("refresh_token")), ["r1", "r2"]);
        }
    })
    .await;
}

#[tokio::test]
async fn scopes_that_are_not_asked_for_any_more_are_none() {
    on_worker(async {
        let mut one = In::begin(SessionStore::Local, true).await;
        one.reload(|login| login.scopes = vec!["openid".into(), "more".into()]);
        assert_eq!(one.browser.session().await.unwrap().scopes.join(" "), "openid");
    })
    .await;
}

#[tokio::test]
async fn whoever_came_by_another_provider_is_out_and_it_is_told_nothing() {
    on_worker(async {
        for store in STORES {
            let other = Stub::start().await;
            let changes: [&dyn Fn(&mut Login); 3] = [
                &|login| login.kind = LoginKind::Oidc { issuer: other.address.as_str().into() },
                &|login| login.client_id = "another".into(),
                &|login| {
                    let [authorize_url, token_url, api_url] =
                        ["a", "b", ""].map(|path| format!("{}/{path}", other.address).into());
                    login.kind = LoginKind::GitHub { authorize_url, token_url, api_url };
                },
            ];
            for change in changes {
                for logs_out in [false, true] {
                    let mut one = In::begin(store, true).await;
                    let before = one.identity.login[0].clone();
                    one.reload(change);
                    if logs_out {
                        assert_eq!(one.browser.send("POST", "logout").await.location.as_deref(), Some("/bye"));
                        assert!(one.browser.cookies.is_empty());
                    } else {
                        assert_eq!(one.roles().await, Err(INVALID), "{store:?}");
                        one.reload(|login| *login = Login::clone(&before));
                        assert_eq!(one.roles().await, Err(INVALID), "{store:?}: it has ended");
                    }
                    assert_eq!((one.asked(), other.set(|script| script.seen.len())), (1, 0));
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_of_an_earlier_version_is_judged_anew() {
    on_worker(async {
        for refreshes in [true, false] {
            let mut one = In::begin(SessionStore::Cookie, refreshes).await;
            let session = one.browser.session().await.unwrap();
            let earlier = Session { origin: "".into(), rules: "".into(), ..Session::clone(&session) };
            let sessions = &one.browser.logins.sessions;
            let cookie = sessions.keep(&earlier, true, &Way::default(), one.browser.now_s).await.unwrap();
            one.browser.take(&cookie);
            let expected = if refreshes { Ok("user admin".to_owned()) } else { Err(EXPIRED) };
            assert_eq!((one.roles().await, one.asked()), (expected, 1 + usize::from(refreshes)));
        }
    })
    .await;
}
