//! What a provider tells of itself: its addresses and keys, and what holds where it tells nothing.

use super::*;

#[tokio::test]
async fn a_provider_elsewhere_names_no_address_of_this_machine() {
    let client = crate::outside::Outside::default().client().unwrap();
    let own = config(&Stub::start().await).login.remove(0);
    let check = |issuer: &str, url: &str, expected: bool| {
        let kind = shared::config::identity::LoginKind::Oidc { issuer: issuer.into() };
        let config = Login { kind, ..(*own).clone() };
        let calls = Provider::compile(&Arc::new(config), &Arc::default()).unwrap().calls(&client, 0);
        assert_eq!(calls.takes(&openidconnect::url::Url::parse(url).unwrap()), expected, "{issuer} {url}");
    };
    for local in ["http://localhost:8080/token", "http://127.0.0.1/", "http://[::1]:1/"] {
        check("https://id.example", local, false);
        check("https://localhost.example", local, false);
        check("http://127.0.0.1:1234", local, true);
        check("https://localhost", local, true);
    }
    check("https://id.example", "https://other.example/token", true);
    check("http://127.0.0.1:1234", "http://id.example/", false);
    check("http://127.0.0.1:1234", "https://a@id.example/", false);
}

#[tokio::test]
async fn keys_that_are_changed_are_read_again() {
    on_worker(async {
        let (stub, mut browser) = begun(|_| {}).await;
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
        stub.set(|script| script.keys = vec![key("two")]);
        // Not at once: whoever sends unknown keys must not make us ask all the time.
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, Some("login_failed"));
        browser.now_s += 31;
        assert_eq!(browser.log_in(&stub, "corp", "/").await.refused, None);
        assert_eq!(stub.count("GET /jwks"), 2);
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_is_down_or_not_to_be_trusted_is_said_to_be_unavailable() {
    on_worker(async {
        let check = async |what: &str, change: &dyn Fn(&mut Script)| {
            let (_stub, mut browser) = begun(|script| change(script)).await;
            let answer = browser.go("login/corp").await;
            assert_eq!((answer.status, answer.refused), (503, Some("auth_unavailable")), "{what}");
            assert!(answer.cookies.is_empty());
        };
        check("500", &|script| script.down = Some(500)).await;
        check("404", &|script| script.down = Some(404)).await;
        check("another issuer", &|script| script.metadata = json!({"issuer": "https://evil.example"})).await;
        let metadata = async |name: &str, url: &str| {
            check(name, &|script| script.metadata = json!({ name: url })).await;
        };
        metadata("authorization_endpoint", "http://evil.example/authorize").await;
        metadata("authorization_endpoint", "https://user@evil.example/authorize").await;
        metadata("authorization_endpoint", "javascript:alert(1)").await;
        metadata("end_session_endpoint", "http://evil.example/").await;
        metadata("jwks_uri", "http://evil.example/").await;
        metadata("jwks_uri", "file:///etc/passwd").await;
        // It is not asked again at once.
        let (stub, mut browser) = begun(|script| script.down = Some(500)).await;
        for _ in 0..5 {
            browser.go("login/corp").await;
        }
        assert_eq!(stub.count("GET"), 1);
        // What it said before serves while it is down.
        let (stub, mut browser) = begun(|_| {}).await;
        browser.begin(&stub, "corp", "/").await;
        stub.set(|script| script.down = Some(500));
        browser.now_s += 3601;
        assert_eq!(browser.go("login/corp").await.status, 302);
        let state = browser.begin(&stub, "corp", "/").await;
        let answer = browser.go(&format!("login/corp/callback?code=good&state={state}")).await;
        assert_eq!((answer.status, answer.refused), (503, Some("auth_unavailable")));
    })
    .await;
}
