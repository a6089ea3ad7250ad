//! What people see of a login: redirects, and pages without scripts, styles or anybody else's words.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;

use super::provider::Failure;
use crate::exchange::{Body, Headers, Name, Response, ResponseHead, Value, name};
use crate::identity::session::Session;

static CACHE_CONTROL: Name = Name::known("cache-control");
static REFERRER_POLICY: Name = Name::known("referrer-policy");
static CONTENT_TYPE_OPTIONS: Name = Name::known("x-content-type-options");
static CONTENT_SECURITY_POLICY: Name = Name::known("content-security-policy");
static REQUESTED_WITH: Name = Name::known("x-requested-with");
static FETCH_MODE: Name = Name::known("sec-fetch-mode");

/// An answer of these pages.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// The code of a refusal.
    pub refused: Option<&'static str>,
    /// What became of a login, where one ended here.
    pub login: Option<&'static str>,
    pub location: Option<String>,
    pub cookies: Vec<Value>,
    pub text: Option<Text>,
    /// Who is logged in now.
    pub who: Option<Arc<Session>>,
    /// Whether the next request from this page must say where it comes from.
    pub tells_origin: bool,
}

/// A body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text {
    Html(String),
    Json(serde_json::Value),
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            refused: None,
            login: None,
            location: None,
            cookies: Vec::new(),
            text: None,
            who: None,
            tells_origin: false,
        }
    }

    /// Goes on to another place.
    pub(super) fn to(status: u16, location: impl Into<String>) -> Self {
        Self { location: Some(location.into()), ..Self::new(status) }
    }

    /// The same by a page of ours: a browser that comes from another site keeps its strict cookies back until then.
    pub(super) fn on(location: &str) -> Self {
        let to = escaped(location);
        let head = format!("<meta http-equiv=\"refresh\" content=\"0;url={to}\">");
        let text = page("Logged in", &head, &format!("<p><a href=\"{to}\">Go on</a></p>"));
        Self { text: Some(Text::Html(text)), ..Self::new(200) }
    }

    /// One object.
    pub(super) fn json(status: u16, object: serde_json::Value) -> Self {
        Self { text: Some(Text::Json(object)), ..Self::new(status) }
    }

    /// Which login it is to be: name and address of each.
    pub(super) fn choice(logins: &[(&str, String)]) -> Self {
        let mut links = String::new();
        for (name, address) in logins {
            let _ = write!(links, "<li><a href=\"{}\">{}</a></li>", escaped(address), escaped(name));
        }
        let text = page("Log in", "", &format!("<ul>{links}</ul>"));
        Self { text: Some(Text::Html(text)), ..Self::new(200) }
    }

    /// Asks whether it is meant: a link of another site may have led here.
    pub(super) fn confirm(action: &str) -> Self {
        let form = format!("<form method=\"post\" action=\"{}\"><button>Log out</button></form>", escaped(action));
        Self { text: Some(Text::Html(page("Log out", "", &form))), tells_origin: true, ..Self::new(200) }
    }

    /// Nobody is logged in. `again` leads to another attempt.
    pub(super) fn failed(failure: Failure, headers: &Headers, request_id: &str, again: &str) -> Self {
        let refusal = (failure.status(), failure.code(), failure.message());
        Self { login: Some(failure.code()), ..Self::refusal(refusal, headers, request_id, again) }
    }

    /// A refusal: status, code and sentence.
    pub(super) fn refusal(
        (status, code, message): (u16, &'static str, &str),
        headers: &Headers,
        request_id: &str,
        again: &str,
    ) -> Self {
        let text = if takes_html(headers) {
            let link = format!("<p><a href=\"{}\">Try again</a></p>", escaped(again));
            let told = format!("<p>{}</p><p>{code} (request {})</p>{link}", escaped(message), escaped(request_id));
            Text::Html(page("Not logged in", "", &told))
        } else {
            Text::Json(json!({"error": {
                "code": code, "message": message, "status": status, "request_id": request_id,
            }}))
        };
        Self { refused: Some(code), text: Some(text), ..Self::new(status) }
    }

    /// As it is sent.
    pub(super) fn into_response(self) -> Response {
        let mut head = ResponseHead::new(self.status);
        let headers = head.headers_mut();
        headers.set(&CACHE_CONTROL, Value::known("no-store"));
        let referrer = if self.tells_origin { "same-origin" } else { "no-referrer" };
        headers.set(&REFERRER_POLICY, Value::known(referrer));
        headers.set(&CONTENT_TYPE_OPTIONS, Value::known("nosniff"));
        if let Some(location) = self.location {
            headers.set_text(&name::LOCATION, location.as_bytes());
        }
        for cookie in self.cookies {
            headers.add(&name::SET_COOKIE, cookie);
        }
        if self.status == 503 {
            headers.set(&name::RETRY_AFTER, Value::known("1"));
        }
        let text = match self.text {
            None => return Response::new(head, Body::empty()),
            Some(Text::Json(object)) => {
                headers.set(&name::CONTENT_TYPE, Value::known("application/json"));
                format!("{object}\n")
            }
            Some(Text::Html(text)) => {
                headers.set(&name::CONTENT_TYPE, Value::known("text/html; charset=utf-8"));
                let policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";
                headers.set(&CONTENT_SECURITY_POLICY, Value::known(policy));
                text
            }
        };
        Response::new(head, Body::text(text))
    }
}

/// Whether somebody looks at the answer in a browser: it goes to a new page, and no script asks for it.
pub(super) fn is_navigation(method: &str, headers: &Headers) -> bool {
    let mode = headers.get(&FETCH_MODE);
    method == "GET"
        && takes_html(headers)
        && !headers.has(&REQUESTED_WITH)
        && mode.is_none_or(|mode| mode.eq_ignore_ascii_case(b"navigate"))
}

fn takes_html(headers: &Headers) -> bool {
    headers.all(&name::ACCEPT).flat_map(|line| line.split(|&byte| byte == b',')).any(|range| {
        let range = range.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        range.eq_ignore_ascii_case(b"text/html")
    })
}

fn page(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>{head}</head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            assert!(headers.push(name.as_bytes(), value.as_bytes()));
        }
        headers
    }

    #[test]
    fn only_a_browser_on_its_way_to_a_page_is_sent_to_log_in() {
        const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let check = |method: &str, lines: &[(&str, &str)], expected: bool| {
            assert_eq!(is_navigation(method, &of(lines)), expected, "{method} {lines:?}");
        };
        check("GET", &[], false);
        check("GET", &[("accept", "*/*")], false);
        check("GET", &[("accept", "application/json")], false);
        check("GET", &[BROWSER, ("x-requested-with", "XMLHttpRequest")], false);
        check("GET", &[BROWSER, ("sec-fetch-mode", "cors")], false);
        check("GET", &[BROWSER, ("sec-fetch-mode", "no-cors")], false);
        check("POST", &[BROWSER], false);
        check("HEAD", &[BROWSER], false);
        check("GET", &[("accept", "xtext/html")], false);
        check("GET", &[BROWSER], true);
        check("GET", &[("accept", "application/xml;q=0.9, TEXT/HTML;q=1")], true);
        check("GET", &[BROWSER, ("sec-fetch-mode", "navigate")], true);
    }

    #[test]
    fn no_page_repeats_anything_unescaped_or_runs_a_script() {
        let evil = "/\"><script>alert(1)</script>";
        let browser = of(&[("accept", "text/html")]);
        for answer in [
            Answer::on(evil),
            Answer::choice(&[("<b>", evil.to_owned())]),
            Answer::confirm(evil),
            Answer::failed(Failure::State, &browser, evil, evil),
        ] {
            let Some(Text::Html(text)) = &answer.text else { panic!("{answer:?}") };
            assert!(!text.contains("<script") && !text.contains("<b>"), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_read_by_people_and_by_programs() {
        let check = |lines: &[(&str, &str)], is_html: bool| {
            let answer = Answer::failed(Failure::Refused, &of(lines), "id", "/");
            assert_eq!((answer.status, answer.refused), (403, Some("login_refused")));
            assert_eq!(matches!(answer.text, Some(Text::Html(_))), is_html, "{lines:?}");
        };
        check(&[], false);
        check(&[("accept", "application/json")], false);
        check(&[("accept", "text/html")], true);
    }
}
