//! Lines of the access log, read back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn full() -> RequestFacts<'static> {
    RequestFacts {
        time_us: 1_795_389_275_123_456,
        request_id: "5f1c",
        client: "192.0.2.7",
        method: "GET",
        scheme: "https",
        listener: "0.0.0.0:443",
        host: "api.example.com",
        path: "/users/1",
        query: "page=2&token=present",
        protocol: "HTTP/1.1",
        route: "users",
        upstream: "users",
        endpoint: "127.0.0.1:8001",
        status: 200,
        outcome: "served",
        bytes_in: 3,
        bytes_out: 1024,
        duration_us: 12_045,
        upstream_us: 11_000,
        attempts: 2,
        tries: "127.0.0.1:8002 connect",
        principal: "ann",
        credential: "jwt.main",
        generation: 7,
        user_agent: "curl/8",
        matched: "",
    }
}

fn line(write: fn(&RequestFacts<'_>, &TimeText, &mut Vec<u8>), facts: &RequestFacts<'_>) -> String {
    let mut out = Vec::new();
    write(facts, &TimeText::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn read(facts: &RequestFacts<'_>) -> Value {
    serde_json::from_str(&line(json, facts)).unwrap()
}

#[test]
fn json_says_everything() {
    let expected = json!({
        "time": "2026-11-22T23:14:35.123456Z", "request_id": "5f1c", "client": "192.0.2.7", "method": "GET",
        "scheme": "https", "host": "api.example.com", "path": "/users/1", "query": "page=2&token=present",
        "protocol": "HTTP/1.1", "status": 200, "outcome": "served", "route": "users", "upstream": "users",
        "endpoint": "127.0.0.1:8001", "bytes_in": 3, "bytes_out": 1024, "duration_ms": 12.045, "upstream_ms": 11.0,
        "attempts": 2, "tries": "127.0.0.1:8002 connect", "principal": "ann", "credential": "jwt.main",
        "generation": 7, "user_agent": "curl/8",
    });
    assert_eq!(read(&full()), expected);
}

#[test]
fn the_reference_page_has_every_field_and_no_other() {
    let page = include_str!("../../../../../docs/reference/logs.md");
    let line = line(json, &full());
    let fields: serde_json::Map<String, Value> = serde_json::from_str(&line).unwrap();
    let mut documented: Vec<_> = page
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .filter(|name| *name != "dropped_lines")
        .collect();
    documented.sort_unstable();
    let mut written: Vec<_> = fields.keys().map(String::as_str).collect();
    written.sort_unstable();
    assert_eq!(documented, written);
}

#[test]
fn json_leaves_out_what_is_empty() {
    let expected = json!({
        "time": "1970-01-01T00:00:00.000000Z", "status": 0, "bytes_in": 0, "bytes_out": 0, "duration_ms": 0.0,
        "generation": 0,
    });
    assert_eq!(read(&RequestFacts::default()), expected);
}

#[test]
fn text_is_the_combined_format_and_more() {
    let expected = concat!(
        r#"192.0.2.7 - ann [22/Nov/2026:23:14:35 +0000] "GET /users/1?page=2&token=present HTTP/1.1" 200 1024 "-" "#,
        r#""curl/8" id="5f1c" host="api.example.com" route="users" upstream="users" endpoint="127.0.0.1:8001" "#,
        r#"outcome="served" in=3 ms=12.045 upstream_ms=11.000 attempts=2 tries="127.0.0.1:8002 connect" "#,
        r#"credential="jwt.main" generation=7"#,
        "\n"
    );
    assert_eq!(line(combined, &full()), expected);
    let expected = "- - a\\x20\\x20b\\x0a [01/Jan/1970:00:00:00 +0000] \"  \" 0 0 \"-\" \"\\x22\\x5c\\xc2\\x9b\" in=0 ms=0.000 generation=0\n";
    let odd = RequestFacts { principal: "a  b\n", user_agent: "\"\\\u{9b}", ..RequestFacts::default() };
    assert_eq!(line(combined, &odd), expected);
}

/// Every byte, at every place of texts of every length that is looked at in its own way.
#[test]
fn special_bytes_are_found_wherever_they_stand() {
    for length in 1..40 {
        for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            let mut value = vec![b'a'; length];
            value[at] = byte;
            let (mut as_json, mut as_text) = (Vec::new(), Vec::new());
            escape_json(&value, &mut as_json);
            escape_text(&value, &mut as_text);
            let in_json = byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f);
            let in_text = in_json || byte > 0x7f;
            assert_eq!((as_json != value, as_text != value), (in_json, in_text), "{byte:#x} at {at} of {length}");
        }
    }
}

#[test]
fn numbers_are_decimal() {
    fn check(value: u64) {
        let mut out = Vec::new();
        decimal(value, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
    [0, 9, 10, 99, 100, 999, 1_000, 65_535, u64::MAX].into_iter().for_each(check);
}

proptest! {
    #[test]
    fn whatever_peers_send_reads_back(
        path in any::<String>(), query in "\\PC*|[\\x00-\\x7f]*", agent in any::<String>(), host in "[\\x00-\\x7f]*",
        status in any::<u16>(), duration_us in 0_u64..1 << 50, bytes_out in any::<u64>(), time_us in any::<i64>(),
    ) {
        let facts = RequestFacts {
            path: &path, query: &query, user_agent: &agent, host: &host, status, duration_us, bytes_out, time_us,
            ..full()
        };
        let text = line(json, &facts);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        prop_assert!(!text.trim_end().contains(|letter: char| letter.is_ascii_control()));
        let value = read(&facts);
        for (name, sent) in [("path", &path), ("query", &query), ("user_agent", &agent), ("host", &host)] {
            prop_assert_eq!(value.get(name).and_then(Value::as_str).unwrap_or_default(), sent);
        }
        prop_assert_eq!(&value["status"], &json!(status));
        prop_assert_eq!(&value["bytes_out"], &json!(bytes_out));
        let told = value["duration_ms"].as_f64().unwrap();
        prop_assert!((told * 1_000.0 - duration_us as f64).abs() < 0.5);

        let text = line(combined, &facts);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        prop_assert!(text.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        prop_assert_eq!(text.matches('"').count() % 2, 0);
    }
}
