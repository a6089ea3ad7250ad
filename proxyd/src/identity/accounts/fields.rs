//! What bodies hold: JSON objects and forms, read strictly. A field that nobody knows, or that comes twice, is an error: what
//! one reader overlooks another takes. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

/// More pairs than this are in no form of ours.
const MOST_PAIRS: usize = 16;

/// A password as somebody typed it. Not to be shown: it has no `Debug`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Typed(pub(super) String);

/// `POST register`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) password: Typed,
    pub(super) to: Option<String>,
}

/// `POST login`: one of the two says who.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) password: Typed,
}

/// `POST refresh`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    pub(super) refresh_token: Typed,
}

/// `POST change-password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword {
    pub(super) password: Typed,
    pub(super) new_password: Typed,
}

/// `POST forgot` and `POST resend-verification`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Email {
    pub(super) email: String,
    pub(super) to: Option<String>,
}

/// `POST reset`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    pub(super) token: Typed,
    pub(super) password: Typed,
    pub(super) to: Option<String>,
}

/// `POST verify`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Verify {
    pub(super) token: Typed,
    pub(super) to: Option<String>,
}

/// `POST logout`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logout {
    pub(super) refresh_token: Option<Typed>,
}

/// `POST logout-all`: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A JSON object; none where it is malformed, or has other fields, or one of them twice.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    // A list would be read as the fields in their order.
    body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok()).flatten()
}

/// A form (`application/x-www-form-urlencoded`), by the same rules.
pub(super) fn from_form<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let mut fields = Map::new();
    for (name, value) in pairs(body)? {
        if fields.insert(name, Json::String(value)).is_some() {
            return None;
        }
    }
    T::deserialize(Json::Object(fields)).ok()
}

/// The one value of this name in a query; none too where there are more.
pub(super) fn in_query(query: &str, name: &str) -> Option<String> {
    let mut found = pairs(query.as_bytes())?.into_iter().filter(|(given, _)| given == name).map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

fn pairs(text: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MOST_PAIRS {
            return None;
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        pairs.push((decoded(halves.next().unwrap_or_default())?, decoded(halves.next().unwrap_or_default())?));
    }
    Some(pairs)
}

/// None where an escape is broken or the text is no UTF-8.
fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(body: &[u8], read: impl Fn(&[u8]) -> Option<Login>) -> Option<(Option<String>, Option<String>, String)> {
        read(body).map(|login| (login.name, login.email, login.password.0))
    }

    #[test]
    fn json_is_read_strictly() {
        let check = |body: &str, expected: Option<(&str, &str)>| {
            let got = login(body.as_bytes(), from_json);
            let got = got.as_ref().map(|(name, _, password)| (name.as_deref().unwrap_or_default(), password.as_str()));
            assert_eq!(got, expected, "{body}");
        };
        check("", None);
        check("null", None);
        check(r#"["ann",null,"x"]"#, None);
        check(r#"{"name":"ann"}"#, None);
        check(r#"{"name":"ann","password":7}"#, None);
        check(r#"{"name":["ann"],"password":"x"}"#, None);
        check(r#"{"name":{"$ne":""},"password":"x"}"#, None);
        check(r#"{"name":"ann","password":"x","admin":true}"#, None);
        check(r#"{"name":"ann","name":"eve","password":"x"}"#, None);
        check(r#"{"name":"ann","password":"x","password":"y"}"#, None);
        check(r#"{"name":"ann","password":"x"} {}"#, None);
        check(r#"{"name":"ann","password":"x",}"#, None);
        check(r#"{"name":"ann","password":"\ud800"}"#, None);
        check(&format!("{}1{}", "[".repeat(4000), "]".repeat(4000)), None);
        check(&format!(r#"{{"name":{}1{}"#, "[".repeat(4000), "]".repeat(4000)), None);
        check(r#"{"name":"ann","password":"x"}"#, Some(("ann", "x")));
        check(" {\"password\":\"\\u00e4\",\"name\":null} ", Some(("", "ä")));
        assert!(login(b"{\"name\":\"ann\",\"password\":\"\xff\"}", from_json).is_none());
    }

    #[test]
    fn forms_are_read_by_the_same_rules() {
        let check = |body: &str, expected: Option<(&str, &str)>| {
            let got = login(body.as_bytes(), from_form);
            let got = got.as_ref().map(|(name, _, password)| (name.as_deref().unwrap_or_default(), password.as_str()));
            assert_eq!(got, expected, "{body}");
        };
        check("", None);
        check("name=ann", None);
        check("name=ann&name=eve&password=x", None);
        check("name=ann&%6eame=eve&password=x", None);
        check("name=ann&password=x&admin=1", None);
        check("name=ann&password=%", None);
        check("name=ann&password=%f", None);
        check("name=ann&password=%zz", None);
        check("name=ann&password=%+1", None);
        check("name=ann&password=%ff", None);
        check(&format!("name=ann&password=x{}", "&a=b".repeat(20)), None);
        check("name=ann&password=x", Some(("ann", "x")));
        check("&name=ann&&password=a+b%2Bc%3D%26=&", Some(("ann", "a b+c=&=")));
        check("password=%C3%A4", Some(("", "ä")));
        assert!(from_form::<Nothing>(b"").is_some() && from_form::<Nothing>(b"a=b").is_none());
    }

    #[test]
    fn a_query_gives_one_value() {
        let check = |query: &str, expected: Option<&str>| {
            assert_eq!(in_query(query, "token").as_deref(), expected, "{query}");
        };
        check("", None);
        check("tokens=a", None);
        check("token=a&token=b", None);
        check("token=%zz", None);
        check("token=a%2Db&x=y", Some("a-b"));
    }
}
