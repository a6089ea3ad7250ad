//! Tokens that are not good, one of each kind, and those that are.

mod cost;
mod fetching;
mod keys;
mod signer;
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::config::Secret;
use shared::config::identity::{Jwt, JwtAlgorithm, JwtKeys};

use self::signer::Signer;
use super::*;
use crate::exchange::Denial;
use crate::identity::mint::{Mint, TokenType};

const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A few names of tokens that were revoked; the rest is as with the real one.
#[derive(Debug, Default)]
struct Gone {
    epoch: AtomicU64,
    jtis: arc_swap::ArcSwap<Vec<(String, String)>>,
}

impl Gone {
    fn revoke(&self, provider: &str, jti: &str) {
        self.jtis.store(Arc::new(vec![(provider.to_owned(), jti.to_owned())]));
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

impl Revocations for Gone {
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn is_revoked(&self, provider: &str, jti: &str) -> bool {
        self.jtis.load().iter().any(|(of, gone)| of == provider && gone == jti)
    }
}

fn nobody_gone() -> Arc<dyn Revocations> {
    Arc::new(Gone::default())
}

fn config(keys: JwtKeys) -> Jwt {
    Jwt {
        name: "main".into(),
        from: Vec::new(),
        keys,
        algorithms: Vec::new(),
        issuer: None,
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        require: Vec::new(),
        require_exp: true,
        max_age: None,
        user_claim: "sub".into(),
        roles_claim: "roles".into(),
        scopes_claim: "scope".into(),
    }
}

fn secret() -> Jwt {
    config(JwtKeys::Secret(Secret::new(std::str::from_utf8(SECRET).unwrap())))
}

fn verifier(config: Jwt) -> Arc<Verifier> {
    Verifier::compile(&Arc::new(config), None, &nobody_gone()).unwrap()
}

fn said(checked: &Checked) -> Result<String, &'static str> {
    match checked {
        Checked::Good(verified) => Ok(verified.user.to_string()),
        Checked::Denied(denial) => Err(denial.code()),
        Checked::NeedsKeys(_) => Err("needs keys"),
        Checked::Unavailable => Err("unavailable"),
    }
}

fn claims() -> Value {
    json!({"sub": "ada", "exp": NOW + 60})
}

fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn part(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// A token with this header and body as they stand, signed with the secret and HS256.
fn raw(header: &str, body: &str) -> String {
    Signer::secret(SECRET).sign_raw(&part(header), &part(body))
}

#[test]
fn a_malformed_token_is_refused() {
    let verifier = verifier(secret());
    let check = |token: &str, expected: Denial| {
        assert_eq!(said(&verifier.check(token.as_bytes(), NOW)), Err(expected.code()), "{token:.200}");
    };
    let good = Signer::secret(SECRET).token("HS256", None, &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(said(&verifier.check(good.as_bytes(), NOW)), Ok("ada".to_owned()));
    for token in ["", ".", "..", "...", "a.b.c", "a.b", "Bearer", "\u{0}.\u{0}.\u{0}", "é.é.é"] {
        check(token, Denial::TokenMalformed);
    }
    check(&format!("{good}."), Denial::TokenMalformed);
    check(&format!("{good}="), Denial::TokenMalformed);
    check(&format!(" {good}"), Denial::TokenMalformed);
    check(&format!("{good}\n"), Denial::TokenMalformed);
    check(&format!("{good}.{signature}.{signature}"), Denial::TokenMalformed);
    check(&good.replace('.', ".."), Denial::TokenMalformed);
    check(&format!("{message}.{}", signature.replace(['-', '_'], "+") + "+/"), Denial::TokenMalformed);
    // The last letter's spare bits: written otherwise it is the same signature.
    let last = signature.chars().last().unwrap();
    let next = char::from(last as u8 + 1);
    check(&format!("{message}.{}{next}", signature.strip_suffix(last).unwrap()), Denial::TokenMalformed);
    assert_eq!(said(&verifier.check(b"\xff.\xff.\xff", NOW)), Err(Denial::TokenMalformed.code()));
    check(&"a".repeat(MAX_TOKEN + 1), Denial::TooLarge);
    check(&"a".repeat(MAX_TOKEN), Denial::TokenMalformed);
    check(&format!("{}.e30.AAAA", "a".repeat(6000)), Denial::TooLarge);

    let body = claims().to_string();
    let header = r#"{"alg":"HS256"}"#;
    for header in [
        "",
        "{}",
        "[]",
        "null",
        "\"HS256\"",
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{}}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256"} "x""#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","typ":""}"#,
        r#"{"alg":"HS256","typ":"application/"}"#,
    ] {
        check(&raw(header, &body), Denial::TokenMalformed);
    }
    let long = "k".repeat(257);
    check(&raw(&format!(r#"{{"alg":"HS256","kid":"{long}"}}"#), &body), Denial::TokenMalformed);
    check(
        &raw(&format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(16), "]".repeat(16)), &body),
        Denial::TokenMalformed,
    );
    for body in [
        "",
        "null",
        "[]",
        "1",
        r#"{"sub":"ada""#,
        r#"{"sub":"ada","sub":"eve"}"#,
        r#"{"sub":"ada","exp":1e999}"#,
        r#"{"a":{"b":1,"b":2}}"#,
    ] {
        check(&raw(header, body), Denial::TokenMalformed);
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(4000), "]".repeat(4000));
    check(&raw(header, &deep), Denial::TokenMalformed);
}

#[test]
fn only_the_keys_own_algorithms_are_taken() {
    let check = |verifier: &Verifier, header: &str, signer: &Signer, expected: Result<&str, Denial>| {
        let token = signer.sign_raw(&part(header), &part(&claims().to_string()));
        let expected = expected.map(str::to_owned).map_err(Denial::code);
        assert_eq!(said(&verifier.check(token.as_bytes(), NOW)), expected, "{header}");
    };
    let by_secret = verifier(secret());
    let hmac = Signer::secret(SECRET);
    for name in
        ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS1", "RS256", "ES256", "EdDSA", "PS256", "HS512\0"]
    {
        check(&by_secret, &json!({"alg": name}).to_string(), &hmac, Err(Denial::TokenAlgorithm));
        // Without a signature, as `none` wants it.
        let bare = format!("{}.{}.", part(&json!({"alg": name}).to_string()), part(&claims().to_string()));
        assert_eq!(said(&by_secret.check(bare.as_bytes(), NOW)), Err(Denial::TokenAlgorithm.code()), "{name}");
    }
    let bare = format!("{}.{}.", part(r#"{"alg":"HS256"}"#), part(&claims().to_string()));
    assert_eq!(said(&by_secret.check(bare.as_bytes(), NOW)), Err(Denial::TokenSignature.code()));
    for extension in
        [r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, r#"{"alg":"HS256","crit":[]}"#, r#"{"alg":"HS256","b64":false}"#]
    {
        check(&by_secret, extension, &hmac, Err(Denial::TokenAlgorithm));
    }

    // A public key as the secret of an HMAC: in PEM, in DER, as the modulus.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let rsa = Signer::rsa();
    let pem = rsa.pem();
    std::fs::write(&path, &pem).unwrap();
    let by_rsa = verifier(config(JwtKeys::Pem(path.clone())));
    check(&by_rsa, r#"{"alg":"RS256"}"#, &rsa, Ok("ada"));
    for text in [pem.as_bytes().to_vec(), pem.trim_end().as_bytes().to_vec(), rsa.spki()] {
        check(&by_rsa, r#"{"alg":"HS256"}"#, &Signer::secret(&text), Err(Denial::TokenAlgorithm));
        check(&by_rsa, r#"{"alg":"HS512"}"#, &Signer::secret(&text), Err(Denial::TokenAlgorithm));
        check(&by_rsa, r#"{"alg":"RS256"}"#, &Signer::secret(&text), Err(Denial::TokenSignature));
    }
    check(&by_rsa, r#"{"alg":"RS384"}"#, &rsa, Err(Denial::TokenSignature));
    check(&by_rsa, r#"{"alg":"ES256"}"#, &Signer::p256(), Err(Denial::TokenAlgorithm));
    check(&by_rsa, r#"{"alg":"RS256"}"#, &Signer::rsa(), Err(Denial::TokenSignature));

    // The config narrows what a key allows.
    let only = |algorithms: &[JwtAlgorithm]| {
        let narrowed = Jwt { algorithms: algorithms.to_vec(), ..config(JwtKeys::Pem(path.clone())) };
        Verifier::compile(&Arc::new(narrowed), None, &nobody_gone())
    };
    check(&only(&[JwtAlgorithm::Ps256]).unwrap(), r#"{"alg":"RS256"}"#, &rsa, Err(Denial::TokenAlgorithm));
    check(&only(&[JwtAlgorithm::Rs256, JwtAlgorithm::Hs256]).unwrap(), r#"{"alg":"RS256"}"#, &rsa, Ok("ada"));
    assert!(only(&[JwtAlgorithm::Hs256]).unwrap_err().contains("no key"), "a key that can never be used");
}

#[test]
fn a_header_has_no_say_in_which_key_is_taken() {
    let verifier = verifier(secret());
    let eve = Signer::p256();
    let check = |extra: Value| {
        let mut header = json!({"alg": "HS256"});
        for (name, value) in extra.as_object().unwrap() {
            header[name] = value.clone();
        }
        let good = Signer::secret(SECRET).sign_raw(&part(&header.to_string()), &part(&claims().to_string()));
        assert_eq!(said(&verifier.check(good.as_bytes(), NOW)), Ok("ada".to_owned()), "{header}");
        let other = Signer::secret(&[7; 32]).sign_raw(&part(&header.to_string()), &part(&claims().to_string()));
        assert_eq!(said(&verifier.check(other.as_bytes(), NOW)), Err(Denial::TokenSignature.code()), "{header}");
    };
    check(json!({}));
    check(json!({"jwk": eve.jwk(Some("x"))}));
    check(json!({"jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/x", "x5c": ["AAAA"], "x5t": "AAAA"}));
    for kid in
        ["", "../../../../dev/null", "/etc/passwd", "' OR 1=1 --", "a\0b", "http://127.0.0.1:1/", &"k".repeat(256)]
    {
        check(json!({"kid": kid}));
    }
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/JWT"] {
        check(json!({"typ": typ}));
    }
}

#[test]
fn claims_must_be_what_the_config_asks_for() {
    type Change = fn(&mut Jwt);
    let check = |change: Change, claims: Value, expected: Result<&str, Denial>| {
        let mut config = secret();
        change(&mut config);
        let token = Signer::secret(SECRET).token("HS256", None, &claims);
        let expected = expected.map(str::to_owned).map_err(Denial::code);
        assert_eq!(said(&verifier(config).check(token.as_bytes(), NOW)), expected, "{claims}");
    };
    let same: Change = |_| {};
    // Times.
    check(same, with(json!({"exp": NOW - 30})), Err(Denial::TokenExpired));
    check(same, with(json!({"exp": NOW - 29})), Ok("ada"));
    check(same, with(json!({"exp": NOW as f64 - 29.5})), Ok("ada"));
    check(same, with(json!({"exp": NOW as f64 - 30.5})), Err(Denial::TokenExpired));
    check(same, with(json!({"exp": 0})), Err(Denial::TokenExpired));
    check(same, with(json!({"nbf": NOW + 31})), Err(Denial::TokenNotYetValid));
    check(same, with(json!({"nbf": NOW + 30})), Ok("ada"));
    check(same, with(json!({"nbf": NOW as f64 + 30.5})), Err(Denial::TokenNotYetValid));
    check(same, with(json!({"iat": NOW + 31})), Err(Denial::TokenNotYetValid));
    check(same, with(json!({"iat": NOW + 30, "nbf": NOW - 1000})), Ok("ada"));
    check(|config| config.leeway = Duration::ZERO, with(json!({"exp": NOW})), Err(Denial::TokenExpired));
    check(|config| config.leeway = Duration::MAX, with(json!({"exp": 1, "nbf": 253_402_300_799_i64})), Ok("ada"));
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("1900000000"),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(253_402_300_800_i64),
            json!(null),
            json!([NOW]),
            json!({}),
            json!(true),
        ] {
            check(same, with(json!({name: value})), Err(Denial::TokenClaims));
        }
    }
    check(same, json!({"sub": "ada"}), Err(Denial::TokenClaims));
    check(|config| config.require_exp = false, json!({"sub": "ada"}), Ok("ada"));
    let hour: Change = |config| config.max_age = Some(Duration::from_hours(1));
    check(hour, with(json!({"exp": NOW + 3630})), Ok("ada"));
    check(hour, with(json!({"exp": NOW + 3631})), Err(Denial::TokenClaims));
    let hour_or_none: Change = |config| {
        config.max_age = Some(Duration::from_hours(1));
        config.require_exp = false;
    };
    check(hour_or_none, json!({"sub": "ada"}), Err(Denial::TokenClaims));
    // Issuer and audience.
    let issuer: Change = |config| config.issuer = Some("https://id.example.com".into());
    for other in [json!("https://id.example.com/"), json!(""), json!(null), json!(["https://id.example.com"]), json!(1)]
    {
        check(issuer, with(json!({"iss": other})), Err(Denial::TokenIssuer));
    }
    check(issuer, claims(), Err(Denial::TokenIssuer));
    check(issuer, with(json!({"iss": "https://id.example.com"})), Ok("ada"));
    let audience: Change = |config| config.audience = vec!["api".into(), "app".into()];
    for other in [
        json!("API"),
        json!("ap"),
        json!("api app"),
        json!([]),
        json!(["x"]),
        json!(["api", 1]),
        json!({"api": 1}),
        json!(null),
        json!([["api"]]),
    ] {
        check(audience, with(json!({"aud": other})), Err(Denial::TokenAudience));
    }
    check(audience, claims(), Err(Denial::TokenAudience));
    check(audience, with(json!({"aud": "app"})), Ok("ada"));
    check(audience, with(json!({"aud": ["x", "api"]})), Ok("ada"));
    check(same, with(json!({"aud": "anybody"})), Ok("ada"));
    // Required claims.
    let verified: Change = |config| config.require = vec![("email_verified".into(), Some("true".into()))];
    check(verified, claims(), Err(Denial::TokenClaims));
    check(verified, with(json!({"email_verified": false})), Err(Denial::TokenClaims));
    check(verified, with(json!({"email_verified": true})), Ok("ada"));
    let group: Change =
        |config| config.require = vec![("realm.groups".into(), Some("staff".into())), ("org".into(), None)];
    check(group, with(json!({"realm": {"groups": ["staff"]}})), Err(Denial::TokenClaims));
    check(group, with(json!({"realm": {"groups": ["staff"]}, "org": null})), Err(Denial::TokenClaims));
    check(group, with(json!({"realm": {"groups": ["staffing"]}, "org": 1})), Err(Denial::TokenClaims));
    check(group, with(json!({"realm": {"groups": ["a", "staff"]}, "org": 1})), Ok("ada"));
    // Who it is.
    for nobody in [
        json!(""),
        json!(null),
        json!(["ada"]),
        json!({}),
        json!("ada\r\nx: y"),
        json!("a\u{0}"),
        json!("u".repeat(257)),
        json!(" ada"),
        json!("ada\u{a0}"),
        json!("  "),
        json!(true),
        json!(1.5),
        json!(18_446_744_073_709_551_616.0),
    ] {
        check(same, with(json!({"sub": nobody})), Err(Denial::TokenClaims));
    }
    check(|config| config.user_claim = "user.id".into(), with(json!({"user": {"id": 7}})), Ok("7"));
    check(same, with(json!({"sub": u64::MAX})), Ok("18446744073709551615"));
    check(same, with(json!({"sub": i64::MIN})), Ok("-9223372036854775808"));
    check(same, with(json!({"jti": 7})), Err(Denial::TokenClaims));
}

#[test]
fn a_good_token_says_what_it_claims() {
    let verifier = verifier(secret());
    let claims = with(json!({"roles": ["admin", "a b", "x\ny", "", 1], "scope": "read  write", "jti": "t1", "nbf": 5}));
    let token = Signer::secret(SECRET).token("HS512", None, &claims);
    let Checked::Good(verified) = verifier.check(token.as_bytes(), NOW) else { panic!() };
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (texts(&verified.roles), texts(&verified.scopes)),
        (vec!["admin".into(), "a b".into()], vec!["read".into(), "write".into()])
    );
    assert_eq!((verified.jti.as_deref(), verified.from_s, verified.until_s), (Some("t1"), 5 - 30, NOW + 60 + 30));
    let made = std::cell::Cell::new(0);
    for generation in [1, 1, 2, 2] {
        let principal = verified.made.principal(generation, |_| {
            made.set(made.get() + 1);
            Some(crate::exchange::Principal { user: verified.user.clone(), ..signer::nobody() })
        });
        assert_eq!(&*principal.unwrap().user, "ada");
    }
    assert_eq!(made.get(), 2);
    assert!(!format!("{verifier:?} {verified:?}").contains("0123456789abcdef"));
}

#[test]
fn a_verdict_is_remembered_until_time_or_revocation_end_it() {
    let gone = Arc::new(Gone::default());
    let revoked: Arc<dyn Revocations> = gone.clone();
    let config = Arc::new(secret());
    let verifier = Verifier::compile(&config, None, &revoked).unwrap();
    let token = Signer::secret(SECRET).token("HS256", None, &with(json!({"jti": "t1", "nbf": NOW})));
    let check = |now_s: i64, expected: Result<&str, Denial>| {
        let expected = expected.map(str::to_owned).map_err(Denial::code);
        assert_eq!(said(&verifier.check(token.as_bytes(), now_s)), expected, "{now_s}");
    };
    check(NOW, Ok("ada"));
    check(NOW, Ok("ada"));
    assert_eq!((verifier.counts().hits, verifier.counts().misses), (1, 1));
    check(NOW + 89, Ok("ada"));
    check(NOW + 90, Err(Denial::TokenExpired));
    check(NOW - 31, Err(Denial::TokenNotYetValid));
    gone.revoke("jwt.other", "t1");
    check(NOW, Ok("ada"));
    gone.revoke("jwt.main", "t1");
    check(NOW, Err(Denial::TokenRevoked));
    check(NOW, Err(Denial::TokenRevoked));
    gone.revoke("jwt.main", "t2");
    check(NOW, Ok("ada"));
    // The same config and keys: it goes on. Another one: it begins anew, but for what was counted.
    assert!(Arc::ptr_eq(&Verifier::compile(&config, Some(&verifier), &revoked).unwrap(), &verifier));
    let other = Arc::new(Jwt { issuer: Some("x".into()), ..secret() });
    let next = Verifier::compile(&other, Some(&verifier), &revoked).unwrap();
    assert_eq!(said(&next.check(token.as_bytes(), NOW)), Err(Denial::TokenIssuer.code()));
    assert_eq!(next.counts().hits, verifier.counts().hits);
}

#[test]
fn tokens_of_our_own_are_taken_for_nothing_else() {
    let claims = crate::identity::claims::Claims::parse(claims().to_string().as_bytes()).unwrap();
    for mint in [Mint::ed_dsa(&Mint::generate().unwrap()).unwrap(), Mint::hs256(SECRET).unwrap()] {
        let verifier = Verifier::of_own("accounts", &Arc::new(secret()), &mint, None, &nobody_gone()).unwrap();
        let check = |token: String, expected: Result<&str, Denial>| {
            let expected = expected.map(str::to_owned).map_err(Denial::code);
            assert_eq!(said(&verifier.check(token.as_bytes(), NOW)), expected);
        };
        check(mint.sign(TokenType::Jwt, &claims).unwrap(), Err(Denial::TokenMalformed));
        check(mint.sign(TokenType::Access, &claims).unwrap(), Ok("ada"));
        let forged = Signer::secret(&[9; 64]).sign_raw(&part(r#"{"alg":"HS256","typ":"at+jwt"}"#), &part("{}"));
        let is_secret = mint.jwks() == r#"{"keys":[]}"#;
        check(forged, Err(if is_secret { Denial::TokenSignature } else { Denial::TokenAlgorithm }));
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_let_anybody_in(token in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let verifier = verifier(secret());
        proptest::prop_assert!(matches!(verifier.check(&token, NOW), Checked::Denied(_)));
    }

    #[test]
    fn no_header_and_claims_make_it_panic(header in ".{0,60}", body in ".{0,120}") {
        let verifier = verifier(secret());
        proptest::prop_assert!(matches!(verifier.check(raw(&header, &body).as_bytes(), NOW), Checked::Denied(_)));
    }

    #[test]
    fn a_changed_byte_spoils_it(at in 0_usize..200, to in proptest::num::u8::ANY) {
        let verifier = verifier(secret());
        let mut token = Signer::secret(SECRET).token("HS256", None, &claims()).into_bytes();
        let at = at % token.len();
        proptest::prop_assume!(token[at] != to);
        token[at] = to;
        proptest::prop_assert!(matches!(verifier.check(&token, NOW), Checked::Denied(_)));
    }
}
