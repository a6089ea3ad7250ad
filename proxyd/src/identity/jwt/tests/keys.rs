//! Which keys are taken out of files, and which are not.

use std::path::PathBuf;

use aws_lc_rs::rsa::KeySize;
use serde_json::json;

use super::signer::pem;
use super::*;
use crate::identity::jwt::jwks::{self, Origin};

#[test]
fn sets_of_keys_are_read_strictly() {
    let check = |set: &Value, origin: Origin, expected: Result<usize, &str>| {
        let read = jwks::read(set.to_string().as_bytes(), origin);
        match (&read, expected) {
            (Ok(keys), Ok(count)) => assert_eq!(keys.len(), count, "{set:.300}"),
            (Err(told), Err(part)) => assert!(told.contains(part), "{told}"),
            (read, expected) => panic!("{set:.300}: {read:?}, expected {expected:?}"),
        }
    };
    let (ec, ed, secret) =
        (Signer::p256().jwk(Some("a")), Signer::ed25519().jwk(None), Signer::secret(SECRET).jwk(None));
    let url = Origin::Url;
    let one = |key: &Value| json!({"keys": [key]});
    let changed = |change: Value| {
        let mut key = ec.clone();
        for (name, value) in change.as_object().unwrap() {
            key[name] = value.clone();
        }
        json!({"keys": [key, ed]})
    };
    check(&json!([]), url, Err("no key set"));
    check(&json!({}), url, Err("no array `keys`"));
    check(&json!({"keys": {}}), url, Err("no array `keys`"));
    check(&json!({"keys": []}), url, Err("it is empty"));
    check(&json!({"keys": [1, "x"]}), url, Err("a key is no object"));
    check(&json!({"keys": vec![ed.clone(); 101]}), url, Err("more than 100 keys"));
    check(&json!({"keys": vec![ed.clone(); 100]}), url, Ok(100));
    check(&one(&secret), url, Err("a shared secret"));
    check(&one(&secret), Origin::File, Ok(1));
    check(&one(&Signer::secret(&[1; 31]).jwk(None)), Origin::File, Err("shorter than 32 bytes"));
    check(&one(&json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"})), url, Err("kind is not one that is taken"));
    check(&one(&json!({"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"})), url, Err("kind is not one"));
    check(&one(&json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})), url, Err("no point of its curve"));
    check(&one(&json!({"kty": "RSA", "n": ed["x"], "e": "AQAB"})), url, Err("between 2048 and 8192 bits"));
    check(&json!({"keys": [ec, ed, secret]}), url, Ok(2));
    check(&changed(json!({"alg": "ES256", "use": "sig", "key_ops": ["verify"]})), url, Ok(2));
    for other in [
        json!({"use": "enc"}),
        json!({"use": 1}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": "verify"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"alg": null}),
        json!({"kid": 1}),
        json!({"kid": "k".repeat(257)}),
        json!({"kty": "rsa"}),
        json!({"kty": null}),
        json!({"x": "AAAA"}),
        json!({"x": "!"}),
        json!({"x": 1}),
        json!({"y": ec["x"]}),
        json!({"crv": "P-384"}),
    ] {
        check(&changed(other), url, Ok(1));
    }
    let rsa = Signer::rsa().jwk(None);
    for exponent in ["AQ", "AA", "", "Ag", "AAAAAA", "____________"] {
        let mut weak = rsa.clone();
        weak["e"] = exponent.into();
        check(&one(&weak), url, Err("exponent"));
    }
    check(&one(&rsa), url, Ok(1));
    check(&one(&Signer::rsa_of(KeySize::Rsa4096).jwk(None)), url, Ok(1));
    assert!(jwks::read(&vec![b' '; jwks::MAX_BYTES + 1], url).unwrap_err().contains("larger than"));
    assert!(jwks::read(br#"{"keys":[],"keys":[]}"#, url).unwrap_err().contains("twice"));
}

#[test]
fn a_key_that_names_its_algorithm_is_used_for_that_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let rsa = Signer::rsa();
    let mut jwk = rsa.jwk(Some("a"));
    jwk["alg"] = "PS256".into();
    std::fs::write(&path, json!({"keys": [jwk]}).to_string()).unwrap();
    let verifier = verifier(config(JwtKeys::JwksFile(path)));
    let check = |algorithm: &str, kid: Option<&str>, expected: Result<&str, Denial>| {
        let token = rsa.token(algorithm, kid, &claims());
        let expected = expected.map(str::to_owned).map_err(Denial::code);
        assert_eq!(said(&verifier.check(token.as_bytes(), NOW)), expected, "{algorithm} {kid:?}");
    };
    check("PS256", Some("a"), Ok("ada"));
    check("PS256", None, Ok("ada"));
    check("RS256", Some("a"), Err(Denial::TokenAlgorithm));
    check("RS256", None, Err(Denial::TokenAlgorithm));
    check("PS256", Some("b"), Err(Denial::TokenKeyUnknown));
    check("PS256", Some("A"), Err(Denial::TokenKeyUnknown));
}

#[test]
fn files_in_pem_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let compiled = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Verifier::compile(&Arc::new(config(JwtKeys::Pem(path.clone()))), None, &nobody_gone())
    };
    let refused = |text: &str, part: &str| {
        let told = compiled(text).unwrap_err();
        assert!(told.contains(part) && told.contains("key.pem"), "{told}");
    };
    refused("", "no public key");
    refused("nothing", "no public key");
    refused("-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n", "PEM");
    refused(&pem("PUBLIC KEY", b"garbage"), "cannot be read");
    refused(&pem("CERTIFICATE", b"garbage"), "cannot be read");
    refused(&pem("PRIVATE KEY", &Mint::generate().unwrap()), "private key");
    refused(&pem("EC PRIVATE KEY", b"x"), "private key");
    refused(&pem("DH PARAMETERS", b"x"), "`DH PARAMETERS`");
    refused(&" ".repeat(jwks::MAX_BYTES + 1), "larger than");
    let missing = Arc::new(config(JwtKeys::Pem(PathBuf::from("/nowhere/key.pem"))));
    assert!(Verifier::compile(&missing, None, &nobody_gone()).unwrap_err().contains("cannot be read"));

    let rsa = Signer::rsa();
    for (signer, algorithm) in [
        (&rsa, "RS256"),
        (&Signer::p256(), "ES256"),
        (&Signer::p384(), "ES384"),
        (&Signer::p521(), "ES512"),
        (&Signer::ed25519(), "EdDSA"),
    ] {
        let verifier = compiled(&signer.pem()).unwrap();
        for kid in [None, Some("anything")] {
            let token = signer.token(algorithm, kid, &claims());
            assert_eq!(said(&verifier.check(token.as_bytes(), NOW)), Ok("ada".to_owned()), "{algorithm}");
        }
    }
    let (one, other) = (Signer::p256(), Signer::p256());
    let both = compiled(&format!("# a comment\n{}\n{}", one.pem(), other.pem())).unwrap();
    assert_eq!(said(&both.check(other.token("ES256", None, &claims()).as_bytes(), NOW)), Ok("ada".to_owned()));

    let certified = rcgen::generate_simple_self_signed(["id.example.com".to_owned()]).unwrap();
    assert!(compiled(&certified.cert.pem()).unwrap().counts().keys == 1);
    // PKCS#1, as older tools write it.
    let spki = rsa.spki();
    assert_eq!(compiled(&pem("RSA PUBLIC KEY", &spki[24..])).unwrap().counts().keys, 1);
}

#[test]
fn a_secret_is_as_long_as_its_hash() {
    let check = |length: usize, algorithm: &str, expected: Result<&str, &str>| {
        let text = "s".repeat(length);
        let config = config(JwtKeys::Secret(Secret::new(text.as_str())));
        let told =
            Verifier::compile(&Arc::new(config), None, &nobody_gone()).map_err(|_| "refused").and_then(|verifier| {
                let token = Signer::secret(text.as_bytes()).token(algorithm, None, &claims());
                said(&verifier.check(token.as_bytes(), NOW))
            });
        assert_eq!(told, expected.map(str::to_owned), "{length} {algorithm}");
    };
    check(0, "HS256", Err("refused"));
    check(31, "HS256", Err("refused"));
    check(32, "HS256", Ok("ada"));
    check(32, "HS384", Err("token_algorithm"));
    check(48, "HS384", Ok("ada"));
    check(48, "HS512", Err("token_algorithm"));
    check(64, "HS512", Ok("ada"));
}
