//! Claims: as providers really write them, and from where they come.

use super::*;

#[tokio::test]
async fn times_and_truths_that_are_texts_are_read_and_only_a_true_one_verifies() {
    on_worker(async {
        for (verified, expected) in
            [(json!("false"), Some("login_refused")), (json!(false), Some("login_refused")), (json!("true"), None)]
        {
            let stub = Stub::start().await;
            // Auth0's time, and Cognito's truth.
            let claims = json!({"updated_at": "2026-01-02T03:04:05.678Z", "email_verified": verified});
            stub.set(|script| script.claims = claims.clone());
            let logins = logins_of(&stub, |identity| {
                Arc::make_mut(&mut identity.login[0]).allow.domains = vec!["a.example".into()];
            });
            let mut browser = Browser::new(logins);
            assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, expected, "{claims}");
            // The same of userinfo.
            stub.set(|script| {
                script.claims = json!({"email": null, "email_verified": null});
                script.user = json!({"sub": "eve", "email": "eve@a.example", "email_verified": verified});
            });
            assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, expected, "{claims}");
        }
    })
    .await;
}

#[tokio::test]
async fn userinfo_is_asked_where_something_is_missing_and_fails_a_login_that_needs_it() {
    on_worker(async {
        let check = async |claims: Json, user: Json, change: &dyn Fn(&mut Login), expected: (usize, Option<&str>)| {
            let stub = Stub::start().await;
            stub.set(|script| (script.claims, script.user) = (claims.clone(), user.clone()));
            let logins = logins_of(&stub, |identity| change(Arc::make_mut(&mut identity.login[0])));
            let answer = Browser::new(logins).log_in(&stub, "corp", "/").await;
            assert_eq!((stub.count("GET /userinfo"), answer.refused), expected, "{claims} {user}");
        };
        let none = |_: &mut Login| {};
        let asks_roles = |login: &mut Login| login.asks_roles = true;
        let by_name = |login: &mut Login| login.user_claim = "name".into();
        let by_domain = |login: &mut Login| login.allow.domains = vec!["a.example".into()];
        let no_roles = json!({"roles": null});
        check(no_roles.clone(), json!({"sub": "eve"}), &none, (0, None)).await;
        check(no_roles.clone(), json!({"sub": "eve"}), &asks_roles, (1, None)).await;
        check(json!({}), json!("a JWT"), &asks_roles, (0, None)).await;
        check(no_roles, json!("a JWT"), &asks_roles, (1, Some("login_failed"))).await;
        check(json!({"email": null}), json!("a JWT"), &none, (1, None)).await;
        check(json!({"team": null}), json!("a JWT"), &none, (1, None)).await;
        check(json!({}), json!("a JWT"), &by_name, (1, Some("login_failed"))).await;
        check(json!({}), json!({"sub": "eve", "name": "Eve"}), &by_name, (1, None)).await;
        check(json!({"team": null}), json!("a JWT"), &by_domain, (1, None)).await;
        check(json!({"email_verified": null}), json!("a JWT"), &by_domain, (1, Some("login_failed"))).await;
        let proof = json!({"sub": "eve", "email_verified": true});
        check(json!({"email_verified": null}), proof, &by_domain, (1, Some("login_refused"))).await;
    })
    .await;
}
