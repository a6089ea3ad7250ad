//! Claims as providers really write them.

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
