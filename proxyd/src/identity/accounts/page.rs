//! The pages behind a mail's link, where no other page is set up for it. A link is only looked at when it is fetched: programs
//! that check mails fetch it too. What it is for happens when the form is sent.

use super::answer::unstored;
use crate::exchange::{Body, Name, Response, ResponseHead, Value, name};

static CONTENT_SECURITY_POLICY: Name = Name::known("content-security-policy");
static REFERRER_POLICY: Name = Name::known("referrer-policy");

/// A sentence.
pub(super) fn said(status: u16, sentence: &str) -> Response {
    page(status, &format!("<p>{}</p>", escaped(sentence)))
}

/// A button that verifies an e-mail address.
pub(super) fn verify(token: &str) -> Response {
    let token = escaped(token);
    page(
        200,
        &format!(
            "<form method=\"post\" action=\"verify\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             <p>Is this your e-mail address?</p><button>Verify</button></form>"
        ),
    )
}

/// A form that takes a new password.
pub(super) fn reset(token: &str) -> Response {
    let token = escaped(token);
    page(
        200,
        &format!(
            "<form method=\"post\" action=\"reset\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             <p><label>New password <input type=\"password\" name=\"password\" autocomplete=\"new-password\" \
             required></label></p><button>Set</button></form>"
        ),
    )
}

fn page(status: u16, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Account</title>{body}</html>\n"
    );
    let mut response = Response::new(ResponseHead::new(status), Body::text(html));
    let headers = response.head.headers_mut();
    headers.set(&name::CONTENT_TYPE, Value::known("text/html; charset=utf-8"));
    headers.set(
        &CONTENT_SECURITY_POLICY,
        Value::known("default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    );
    // The token stands in the address. Not `no-referrer`: with it the form would come without its origin.
    headers.set(&REFERRER_POLICY, Value::known("same-origin"));
    unstored(response)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_brings_stays_text() {
        let check = |token: &str, expected: &str| {
            for response in [verify(token), reset(token)] {
                let text = String::from_utf8(response.body.chunk().to_vec()).unwrap();
                assert!(text.contains(&format!("value=\"{expected}\"")), "{text}");
                assert!(response.head.headers().has(&CONTENT_SECURITY_POLICY));
            }
        };
        check("abc-_", "abc-_");
        check("\"><script>alert('&')</script>", "&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;");
    }
}
