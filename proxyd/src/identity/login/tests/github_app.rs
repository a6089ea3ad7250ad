//! GitHub Apps: user tokens that end, and what refreshes them.

use super::*;

/// Eight hours.
const LASTS_S: i64 = 28_800;

/// Somebody of `acme`, who came by GitHub.
async fn logged_in(tokens: Json) -> (Stub, Browser) {
    let stub = Stub::start().await;
    stub.set(|script| {
        script.user = json!({"login": "eve", "id": 42});
        script.tokens = tokens;
    });
    let logins = logins_of(&stub, |identity| {
        identity.login.retain(|login| &*login.name == "github");
        Arc::make_mut(&mut identity.login[0]).allow.organisations = vec!["acme".into()];
        identity.session.idle = std::time::Duration::from_hours(24);
        identity.session.absolute = std::time::Duration::from_hours(24);
    });
    let mut browser = Browser::new(logins);
    assert_eq!(browser.log_in(&stub, "github", "/").await.refused, None);
    browser.now_s += LASTS_S;
    (stub, browser)
}

#[tokio::test]
async fn a_session_of_an_app_goes_on_as_long_as_github_says() {
    on_worker(async {
        let check = async |change: &dyn Fn(&mut Script), expected: Option<&str>| {
            let (stub, browser) = logged_in(json!({"refresh_token": "ghr_1", "expires_in": LASTS_S})).await;
            stub.set(|script| script.tokens = json!({"refresh_token": "ghr_2", "expires_in": LASTS_S}));
            stub.set(change);
            match (browser.answered_for("github").await, expected) {
                (Answered::Good(session), Some(refresh)) => {
                    assert_eq!((&*session.user, session.tokens.refresh.as_deref()), ("eve", Some(refresh)));
                }
                (Answered::Denied(Denial::SessionExpired), None) => {}
                (other, _) => panic!("{other:?}, not {expected:?}"),
            }
            assert_eq!(stub.set(|script| script.asked_with("refresh_token")), ["ghr_1"]);
        };
        check(&|script| script.organisations = json!([{"login": "other"}]), None).await;
        check(&|script| script.user = json!({"login": "eve", "id": 43}), None).await;
        check(&|script| script.over = vec![("/gh/token", 200, "{\"error\": \"bad_refresh_token\"}")], None).await;
        check(&|script| script.over = vec![("/user", 401, "{}")], None).await;
        check(
            &|script| script.over = vec![("/gh/token", 200, "{\"error\": \"incorrect_client_credentials\"}")],
            Some("ghr_1"),
        )
        .await;
        check(&|script| script.over = vec![("/gh/token", 429, "")], Some("ghr_1")).await;
        check(&|script| script.over = vec![("/user/orgs", 429, "{}")], Some("ghr_2")).await;
        check(&|_| {}, Some("ghr_2")).await;
    })
    .await;
}

#[tokio::test]
async fn tokens_that_do_not_end_are_not_refreshed() {
    on_worker(async {
        let (stub, browser) = logged_in(json!({})).await;
        stub.set(|script| script.organisations = json!([]));
        let Answered::Good(session) = browser.answered_for("github").await else { panic!("it is not good") };
        assert_eq!(
            (session.tokens.clone(), stub.count("POST /gh/token")),
            (crate::identity::session::Tokens::default(), 1)
        );
    })
    .await;
}
