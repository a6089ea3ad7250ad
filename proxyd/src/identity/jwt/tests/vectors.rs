//! Examples that others have worked out: RFC 7515 appendix A, RFC 7519 section 3.1, RFC 8037 appendix A.

use serde_json::json;

use super::*;
use crate::identity::jwt::jwks::{self, Origin};
use crate::identity::jwt::key_set::Found;
use crate::identity::jwt::token::Token;

const BODY: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

#[test]
fn the_tokens_of_rfc_7515_hold() {
    let folder = tempfile::tempdir().unwrap();
    let check = |jwk: Value, header: &str, signature: &str| {
        let path = folder.path().join("keys.json");
        std::fs::write(&path, json!({"keys": [jwk]}).to_string()).unwrap();
        let config = Jwt { user_claim: "iss".into(), issuer: Some("joe".into()), ..config(JwtKeys::JwksFile(path)) };
        let verifier = verifier(config);
        let token = format!("{header}.{BODY}.{signature}");
        let Checked::Good(verified) = verifier.check(token.as_bytes(), 1_300_819_379) else { panic!("{jwk}") };
        assert!(
            verified.claims.holds("http://example\"", "true")
                || verified.claims.holds("\"http://example.com/is_root\"", "true")
        );
        assert_eq!(said(&verifier.check(token.as_bytes(), 1_300_819_380 + 30)), Err("token_expired"));
    };
    check(
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    );
    check(
        json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"}),
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    check(
        json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
}

#[test]
fn the_signature_of_rfc_8037_holds() {
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let set = jwks::read(set.to_string().as_bytes(), Origin::Url).unwrap();
    let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let token = Token::split(text.as_bytes()).unwrap();
    let Found::Keys(keys) = set.find(None, JwtAlgorithm::EdDsa) else { panic!() };
    assert!(keys[0].verify(JwtAlgorithm::EdDsa, token.message, token.signature));
    assert!(!keys[0].verify(JwtAlgorithm::Es256, token.message, token.signature));
    // What it signs is no claims.
    assert_eq!(token.claims().err(), Some(Denial::TokenMalformed));
}

#[test]
fn the_unsecured_token_of_rfc_7519_is_refused() {
    let token = format!("eyJhbGciOiJub25lIn0.{BODY}.");
    assert_eq!(said(&verifier(secret()).check(token.as_bytes(), 1_300_819_379)), Err("token_algorithm"));
}

#[test]
fn every_algorithm_is_taken_from_a_key_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let signers = [
        ("h", Signer::secret(SECRET), &["HS256", "HS384", "HS512"][..]),
        ("r", Signer::rsa(), &["RS256", "RS512", "PS256", "PS384", "PS512"]),
        ("e", Signer::p256(), &["ES256"]),
        ("f", Signer::p384(), &["ES384"]),
        ("g", Signer::p521(), &["ES512"]),
        ("o", Signer::ed25519(), &["EdDSA", "Ed25519"]),
    ];
    let keys: Vec<Value> = signers.iter().map(|(kid, signer, _)| signer.jwk(Some(kid))).collect();
    std::fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
    let verifier = verifier(config(JwtKeys::JwksFile(path)));
    let all = || signers.iter().flat_map(|(_, _, algorithms)| algorithms.iter().copied());
    for (kid, signer, own) in &signers {
        for algorithm in all() {
            for named in [Some(*kid), None] {
                let token = signer.token(algorithm, named, &claims());
                let told = said(&verifier.check(token.as_bytes(), NOW));
                let expected = match (own.contains(&algorithm), named) {
                    (true, _) => Ok("ada".to_owned()),
                    (false, Some(_)) => Err("token_algorithm"),
                    // Another key of the set is of this kind.
                    (false, None) => Err("token_signature"),
                };
                assert_eq!(told, expected, "{algorithm} by {kid}, named: {}", named.is_some());
            }
        }
    }
}
