//! Keys at a URL: rotated, unreachable, garbled, and asked for by many at once.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::*;

/// What a provider answers with now, and how often it was asked.
#[derive(Default)]
struct Provider {
    answer: Mutex<String>,
    delay: Mutex<Duration>,
    asked: AtomicUsize,
    conditional: AtomicUsize,
}

impl Provider {
    fn shows(&self, keys: &[Value]) {
        self.says(200, "", &json!({"keys": keys}).to_string());
    }

    fn says(&self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() =
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let provider = Arc::clone(&self);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                provider.asked.fetch_add(1, Ordering::SeqCst);
                if String::from_utf8_lossy(&head).contains("if-none-match: \"one\"") {
                    provider.conditional.fetch_add(1, Ordering::SeqCst);
                }
                let delay = *provider.delay.lock().unwrap();
                tokio::time::sleep(delay).await;
                let answer = provider.answer.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    }
}

/// A provider, and a verifier of its tokens whose keys are looked after.
struct Scene {
    provider: Arc<Provider>,
    verifier: Arc<Verifier>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Scene {
    async fn new(provider: Provider, floor: Duration, refresh: Duration) -> Self {
        Self::of(provider, floor, refresh, None).await
    }

    async fn of(provider: Provider, floor: Duration, refresh: Duration, issuer: Option<&str>) -> Self {
        let provider = Arc::new(provider);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap()).into();
        let serving = tokio::spawn(Arc::clone(&provider).serve(listener));
        let timeout = Duration::from_secs(1);
        let config = config(JwtKeys::JwksUrl { url, refresh, floor, timeout });
        let verifier = verifier(Jwt { issuer: issuer.map(Into::into), ..config });
        let mut scene = Self { provider, verifier, tasks: vec![serving.abort_handle()] };
        scene.tend();
        scene
    }

    fn tend(&mut self) {
        let source = Arc::clone(self.verifier.source().unwrap());
        self.tasks.push(tokio::spawn(tend(source, Arc::default())).abort_handle());
    }

    /// As a request does it.
    async fn check(&self, token: &str) -> Result<String, &'static str> {
        match self.verifier.check(token.as_bytes(), NOW) {
            Checked::NeedsKeys(_) => {
                self.verifier.fetch_keys().await;
                said(&self.verifier.check_again(token.as_bytes(), NOW))
            }
            checked @ (Checked::Good(_) | Checked::Denied(_) | Checked::Unavailable) => said(&checked),
        }
    }

    async fn until(&self, what: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !what(&self.verifier.counts()) {
            assert!(Instant::now() < deadline, "{:?}", self.verifier.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// What is said of a good token.
#[allow(clippy::unnecessary_wraps, reason = "it is compared with what was said")]
fn good() -> Result<String, &'static str> {
    Ok("ada".to_owned())
}

#[tokio::test]
async fn a_token_of_another_issuer_wakes_no_fetch() {
    let (one, other) = (Signer::p256(), Signer::p256());
    let provider = Provider::default();
    provider.shows(&[one.jwk(Some("one"))]);
    let scene = Scene::of(provider, Duration::from_millis(10), HOUR, Some("us")).await;
    scene.until(|counts| counts.keys == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let check = |kid: Option<&str>, iss: Value, expected: &str| {
        let token = other.token("ES256", kid, &with(json!({"iss": iss})));
        assert_eq!(said(&scene.verifier.check(token.as_bytes(), NOW)).unwrap_err(), expected, "{kid:?} {iss}");
    };
    for kid in [Some("two"), None] {
        check(kid, json!("them"), "token_issuer");
        check(kid, json!(["us"]), "token_issuer");
        check(kid, Value::Null, "token_issuer");
    }
    // What claims nothing that can be read is nobody's.
    let garbled = other.sign_raw(&part(r#"{"alg":"ES256","kid":"two"}"#), &part("[]"));
    assert_eq!(said(&scene.verifier.check(garbled.as_bytes(), NOW)), Err("token_malformed"));
    assert_eq!(scene.provider.asked(), 1);
    // Its own is looked for.
    check(Some("two"), json!("us"), "needs keys");
    check(None, json!("us"), "needs keys");
}

#[tokio::test]
async fn a_key_is_rotated_in_and_the_old_one_out() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let provider = Provider::default();
    provider.shows(&[old.jwk(Some("old"))]);
    let scene = Scene::new(provider, Duration::from_millis(50), HOUR).await;
    let before = old.token("ES256", Some("old"), &claims());
    assert_eq!(scene.check(&before).await, good());
    assert_eq!(scene.check(&before).await, good());
    assert_eq!(scene.provider.asked(), 1);

    scene.provider.shows(&[new.jwk(Some("new"))]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    let after = new.token("ES256", Some("new"), &claims());
    assert_eq!(scene.check(&after).await, good());
    assert_eq!(scene.provider.asked(), 2);
    // What the old key has signed is good no longer, remembered or not.
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(scene.check(&before).await, Err("token_key_unknown"));
    // Nor is another signer's token under the new name.
    assert_eq!(scene.check(&old.token("ES256", Some("new"), &claims())).await, Err("token_signature"));
}

#[tokio::test]
async fn an_unknown_kid_fetches_no_sooner_than_the_floor() {
    let signer = Signer::ed25519();
    let provider = Provider::default();
    provider.shows(&[signer.jwk(Some("a"))]);
    let scene = Scene::new(provider, HOUR, HOUR).await;
    assert_eq!(scene.check(&signer.token("EdDSA", Some("a"), &claims())).await, good());
    for kid in 0..50 {
        let token = signer.token("EdDSA", Some(&format!("unknown-{kid}")), &claims());
        assert_eq!(scene.check(&token).await, Err("token_key_unknown"));
    }
    // Without a name a token might be of a newer key; it too waits for the floor.
    assert_eq!(scene.check(&Signer::ed25519().token("EdDSA", None, &claims())).await, Err("token_signature"));
    assert_eq!(scene.check(&Signer::p256().token("ES256", None, &claims())).await, Err("token_algorithm"));
    // A secret is never a key of a set that others can read.
    assert_eq!(scene.check(&Signer::secret(SECRET).token("HS256", Some("b"), &claims())).await, Err("token_algorithm"));
    assert_eq!(scene.provider.asked(), 1);
}

#[tokio::test]
async fn many_that_wait_are_served_by_one_fetch() {
    let signer = Signer::ed25519();
    let provider = Provider::default();
    provider.shows(&[signer.jwk(Some("a"))]);
    *provider.delay.lock().unwrap() = Duration::from_millis(200);
    let scene = Arc::new(Scene::new(provider, Duration::from_millis(20), HOUR).await);
    for round in 1..=2 {
        let checks: Vec<_> = (0..100)
            .map(|_| {
                let scene = Arc::clone(&scene);
                let token = signer.token("EdDSA", Some(if round == 1 { "a" } else { "b" }), &claims());
                tokio::spawn(async move { scene.check(&token).await })
            })
            .collect();
        if round == 2 {
            scene.provider.shows(&[signer.jwk(Some("b"))]);
        }
        for check in checks {
            assert_eq!(check.await.unwrap(), good());
        }
        assert_eq!(scene.provider.asked(), round);
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(scene.provider.asked(), round, "nobody asks for it any more");
    }
}

#[tokio::test]
async fn the_last_good_keys_are_kept() {
    let signer = Signer::p384();
    let provider = Provider::default();
    provider.shows(&[signer.jwk(Some("a"))]);
    let scene = Scene::new(provider, Duration::from_millis(1), Duration::from_millis(30)).await;
    let token = || signer.token("ES384", Some("a"), &claims());
    assert_eq!(scene.check(&token()).await, good());
    let huge = json!({"keys": [signer.jwk(Some("a")), {"kty": "x", "pad": "x".repeat(600 * 1024)}]}).to_string();
    let redirect = "location: http://127.0.0.1:1/\r\n";
    let another = json!({"keys": [signer.jwk(Some("b"))]}).to_string();
    let others = json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string();
    for (status, headers, body) in [
        (500, "", another.as_str()),
        (203, "", &another),
        (404, "", ""),
        (204, "", ""),
        (302, redirect, ""),
        (304, "", ""),
        (200, "", "garbage"),
        (200, "", "{}"),
        (200, "", r#"{"keys":[]}"#),
        (200, "", &others),
        (200, "", &huge),
    ] {
        let before = scene.verifier.counts().fetches.unwrap();
        scene.provider.says(status, headers, body);
        scene.until(|counts| counts.fetches.unwrap().failed >= before.failed + 2).await;
        assert_eq!(scene.check(&token()).await, good(), "{status} {body:.40}");
        assert_eq!(scene.check(&signer.token("ES384", Some("b"), &claims())).await, Err("token_key_unknown"));
        scene.provider.shows(&[signer.jwk(Some("a"))]);
        scene.until(|counts| counts.fetches.unwrap().succeeded > before.succeeded).await;
    }
}

#[tokio::test]
async fn without_any_key_nobody_is_let_in_and_nobody_is_told_that_the_token_is_bad() {
    let signer = Signer::p256();
    let provider = Provider::default();
    provider.says(500, "", "");
    let scene = Scene::new(provider, HOUR, HOUR).await;
    let token = signer.token("ES256", Some("a"), &claims());
    assert_eq!(scene.check(&token).await, Err("unavailable"));
    assert_eq!(scene.check("garbage").await, Err("token_malformed"));
    // It is asked again on its own, floor or not.
    scene.provider.shows(&[signer.jwk(Some("a"))]);
    scene.until(|counts| counts.keys == 1).await;
    assert_eq!(scene.check(&token).await, good());
}

#[tokio::test]
async fn a_provider_that_hangs_costs_one_timeout() {
    let provider = Provider::default();
    *provider.delay.lock().unwrap() = HOUR;
    let scene = Scene::new(provider, HOUR, HOUR).await;
    let began = Instant::now();
    assert_eq!(scene.check(&Signer::p256().token("ES256", None, &claims())).await, Err("unavailable"));
    let took = began.elapsed();
    assert!((900..1900).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_the_same_address_alone() {
    let signer = Signer::p256();
    let provider = Provider::default();
    provider.shows(&[signer.jwk(Some("a"))]);
    let scene = Scene::new(provider, HOUR, HOUR).await;
    let token = signer.token("ES256", Some("a"), &claims());
    assert_eq!(scene.check(&token).await, good());
    let JwtKeys::JwksUrl { url, refresh, floor, timeout } = scene.verifier.config().keys.clone() else { panic!() };
    let next = |keys: JwtKeys, issuer: Option<&str>| {
        let config = Jwt { issuer: issuer.map(Into::into), ..config(keys) };
        Verifier::compile(&Arc::new(config), Some(&scene.verifier), scene.verifier.revoked()).unwrap()
    };
    let same = JwtKeys::JwksUrl { url: url.clone(), refresh, floor, timeout };
    assert!(Arc::ptr_eq(&next(same.clone(), None), &scene.verifier));
    let stricter = next(same, Some("x"));
    assert!(Arc::ptr_eq(stricter.source().unwrap(), scene.verifier.source().unwrap()));
    assert_eq!(said(&stricter.check(token.as_bytes(), NOW)), Err("token_issuer"));
    let slower = next(JwtKeys::JwksUrl { url, refresh: HOUR * 2, floor, timeout }, None);
    assert_eq!(said(&slower.check(token.as_bytes(), NOW)), good());
    let other = next(JwtKeys::JwksUrl { url: "http://127.0.0.1:1/".into(), refresh, floor, timeout }, None);
    assert_eq!(said(&other.check(token.as_bytes(), NOW)), Err("needs keys"));
}

#[tokio::test]
async fn keys_that_have_not_changed_are_not_sent_again() {
    let signer = Signer::p256();
    let provider = Provider::default();
    provider.says(200, "etag: \"one\"\r\n", &json!({"keys": [signer.jwk(Some("a"))]}).to_string());
    let scene = Scene::new(provider, HOUR, Duration::from_millis(20)).await;
    assert_eq!(scene.check(&signer.token("ES256", Some("a"), &claims())).await, good());
    scene.provider.says(304, "", "");
    let before = scene.verifier.counts().fetches.unwrap();
    scene.until(|counts| counts.fetches.unwrap().succeeded > before.succeeded + 2).await;
    assert!(scene.provider.conditional.load(Ordering::SeqCst) > 1);
    assert_eq!(scene.check(&signer.token("ES256", None, &claims())).await, good());
}

#[tokio::test]
async fn a_task_that_is_ended_leaves_nobody_waiting() {
    let provider = Provider::default();
    *provider.delay.lock().unwrap() = HOUR;
    let mut scene = Scene::new(provider, Duration::ZERO, HOUR).await;
    while scene.provider.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = tokio::spawn(scene.verifier.fetch_keys());
    tokio::task::yield_now().await;
    scene.tasks.pop().unwrap().abort();
    let began = Instant::now();
    assert!(waiting.await.unwrap());
    assert!(began.elapsed() < Duration::from_millis(500));
}
