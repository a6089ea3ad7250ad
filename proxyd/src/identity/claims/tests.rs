//! What is read as claims, and what is found in them.

use super::*;

#[test]
fn json_is_read_strictly() {
    fn check(json: &str, expected: Result<(), ClaimsError>) {
        assert_eq!(Claims::parse(json.as_bytes()).map(|_| ()), expected, "{json}");
    }
    check("", Err(ClaimsError::Syntax));
    check("{", Err(ClaimsError::Syntax));
    check("[]", Err(ClaimsError::NotAnObject));
    check("\"sub\"", Err(ClaimsError::NotAnObject));
    check("null", Err(ClaimsError::NotAnObject));
    check("{} {}", Err(ClaimsError::Syntax));
    check("{}x", Err(ClaimsError::Syntax));
    check("\u{feff}{}", Err(ClaimsError::Syntax));
    check(r#"{"exp":1e999}"#, Err(ClaimsError::Syntax));
    check(r#"{"exp":NaN}"#, Err(ClaimsError::Syntax));
    check(r#"{"sub":"\ud800"}"#, Err(ClaimsError::Syntax));
    check(r#"{"sub":"a","sub":"b"}"#, Err(ClaimsError::Duplicate));
    check(r#"{"sub":"a","s\u0075b":"b"}"#, Err(ClaimsError::Duplicate));
    check(r#"{"a":[{"b":1,"b":1}]}"#, Err(ClaimsError::Duplicate));
    check(r#"{"a":{"x":1},"b":{"x":1}}"#, Ok(()));
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    check(&nested(MOST_DEPTH as usize), Ok(()));
    check(&nested(MOST_DEPTH as usize + 1), Err(ClaimsError::TooDeep));
    check(&nested(5000), Err(ClaimsError::TooDeep));
    assert_eq!(Claims::parse(b"{\"sub\":\"\xff\"}"), Err(ClaimsError::Syntax));
}

#[test]
fn claims_are_found_by_their_path() {
    let claims = Claims::parse(
        br#"{"sub":"ada","n":7,"f":1.5,"yes":true,"none":null,"scope":"read  write","roles":["a","b",3],
            "realm_access":{"roles":["admin"]},"https://example.com/roles":["x"],"":"empty",
            "deep":{"a.b":{"c":"d"}}}"#,
    )
    .unwrap();
    let check = |path: &str, text: Option<&str>, list: &[&str], number: Option<f64>| {
        assert_eq!(claims.text(path).as_deref(), text, "{path}");
        assert_eq!(claims.list(path), list, "{path}");
        assert_eq!(claims.number(path), number, "{path}");
    };
    check("sub", Some("ada"), &["ada"], None);
    check("missing", None, &[], None);
    check("sub.more", None, &[], None);
    check("none", None, &[], None);
    check("n", Some("7"), &[], Some(7.0));
    check("f", Some("1.5"), &[], Some(1.5));
    check("yes", Some("true"), &[], None);
    check("scope", Some("read  write"), &["read", "write"], None);
    assert_eq!(claims.names("scope"), ["read  write"]);
    assert_eq!(claims.names("roles"), ["a", "b"]);
    assert!(claims.names("n").is_empty() && claims.names("missing").is_empty());
    check("roles", None, &["a", "b"], None);
    check("realm_access.roles", None, &["admin"], None);
    check("realm_access", None, &[], None);
    check("https://example.com/roles", None, &[], None);
    check("\"https://example.com/roles\"", None, &["x"], None);
    check("deep.\"a.b\".c", Some("d"), &["d"], None);
    check("", Some("empty"), &["empty"], None);
    check("\"unclosed", None, &[], None);
    check("..", None, &[], None);
    assert!(claims.holds("roles", "3") && claims.holds("yes", "true") && claims.holds("sub", "ada"));
    assert!(!claims.holds("scope", "read") && !claims.holds("missing", "") && !claims.holds("none", "null"));
    assert!(!format!("{claims:?}").contains("ada"));
}

proptest::proptest! {
    #[test]
    fn what_is_read_strictly_is_what_serde_json_reads(json in r#"[{}\[\]":,a1\\. ]{0,40}"#) {
        if let Ok(claims) = Claims::parse(json.as_bytes()) {
            assert_eq!(serde_json::from_slice::<Map<String, Value>>(json.as_bytes()).unwrap(), claims.0);
        }
    }
}

#[test]
fn a_name_is_a_text_or_a_whole_number() {
    let check = |sub: &str, expected: Option<&str>| {
        let claims = Claims::parse(format!("{{\"sub\":{sub}}}").as_bytes()).unwrap();
        assert_eq!(claims.name("sub").as_deref(), expected, "{sub}");
    };
    check("\"ada\"", Some("ada"));
    check("7", Some("7"));
    check("-9223372036854775808", Some("-9223372036854775808"));
    check("18446744073709551615", Some("18446744073709551615"));
    for none in [
        "18446744073709551616",
        "18446744073709551617",
        "-9223372036854775809",
        "7.0",
        "1e3",
        "true",
        "[\"ada\"]",
        "{}",
    ] {
        check(none, None);
    }
}

#[test]
fn a_list_is_sent_as_its_texts() {
    let check = |value: &str, expected: Option<&str>| {
        let claims = Claims::parse(format!("{{\"a\":{value}}}").as_bytes()).unwrap();
        assert_eq!(claims.told("a").as_deref(), expected, "{value}");
    };
    check("\"b, c\"", Some("b, c"));
    check("7", Some("7"));
    check("[\"b\",\"c d\"]", Some("b,c d"));
    check("[\"b,admin\",\"c\",\" d\",\"\",\"e\\n\",1,null]", Some("c"));
    for none in ["[]", "[1]", "{}", "null"] {
        check(none, None);
    }
    check(&format!("[\"{}\"]", "x".repeat(LONGEST_LIST)), Some(&"x".repeat(LONGEST_LIST)));
    check(&format!("[\"{}\"]", "x".repeat(LONGEST_LIST + 1)), None);
}
