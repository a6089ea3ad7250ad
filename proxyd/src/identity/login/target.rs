//! Where people are sent once they are logged in, or out: a place on this very origin, whatever a link says.

use openidconnect::url::form_urlencoded;

/// The longest, in bytes.
const LONGEST: usize = 2048;

/// How often something may have been percent-encoded, one time over another.
const ROUNDS: usize = 4;

/// The place that `asked` names, if it is one of this origin; else the front page. Pages of our own (`own`) are none: from
/// one of those people would be sent on at once, perhaps out again.
pub(super) fn place<'a>(asked: Option<&'a str>, own: &str) -> &'a str {
    asked.filter(|asked| is_local(asked, own)).unwrap_or("/")
}

/// The query that tells a login page where to send people afterwards; empty for the front page.
pub(super) fn query(to: &str) -> String {
    if to == "/" {
        return String::new();
    }
    format!("?to={}", form_urlencoded::byte_serialize(to.as_bytes()).collect::<String>())
}

/// Whether every browser takes it for a path of the origin that it came from. Browsers drop tabs and line ends, and read a
/// backslash as a slash: `/\evil.example` names another host.
fn is_local(asked: &str, own: &str) -> bool {
    let plain = asked.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !plain || asked.len() > LONGEST {
        return false;
    }
    // Something behind us may decode the path before it looks; what is in a query leads nowhere.
    let mut path = asked.split(['?', '#']).next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..ROUNDS {
        let leads_here = path.first() == Some(&b'/') && !matches!(path.get(1), Some(b'/' | b'\\'));
        if !leads_here || path.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
            return false;
        }
        // Browsers take dot segments out, and the path then begins with something else.
        let is_dots = |step: &[u8]| matches!(step, b"." | b"..");
        if path.starts_with(own.as_bytes()) || path.split(|byte| *byte == b'/').any(is_dots) {
            return false;
        }
        let decoded = decode(&path);
        if decoded == path {
            return true;
        }
        path = decoded;
    }
    false
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &str, expected: &str) {
        assert_eq!(place(Some(asked), "/.proxyd/"), expected, "{asked}");
    }

    #[test]
    fn nothing_leads_away() {
        for asked in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
            "@evil.example",
            ".evil.example",
            " /page",
            "\t//evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\nset-cookie: a=b",
            "/\u{0}",
            "/page\u{7f}",
            "/päge",
            "/%2fevil.example",
            "/%2F%2Fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "/%255cevil.example",
            "/%252fevil.example",
            "/%25252fevil.example",
            "/%2525252525252fevil.example",
            "/%09/evil.example",
            "/%0d%0aset-cookie:a",
            "/page%5c..",
            "/page%00",
            "%2f%2fevil.example",
            "/page\\..",
            "/page?a=\\",
            "/.proxyd/logout",
            "/.proxyd/login/github",
            "/.proxyd/logout?to=/page",
            "/x/../.proxyd/logout",
            "/./.proxyd/logout",
            "/x/%2e%2e/.proxyd/logout",
            "/%2E%2e/.proxyd/logout",
            "/x/.%2e/.proxyd/logout",
            "/%2e/.proxyd/logout",
            "/x%2f..%2f.proxyd/logout",
            "/x/%252e%252e/.proxyd/logout",
            "/%2eproxyd/logout",
            "/.proxyd%2flogout",
            "/%252eproxyd/logout",
            "/.proxyd//logout",
            "/x/..//.proxyd/logout",
            "/x/..//evil.example",
            "/x\\..\\.proxyd\\logout",
            "/x/..%5c.proxyd/logout",
            "/x/..",
            "/..",
        ] {
            check(asked, "/");
        }
        check(&format!("/{}", "a".repeat(LONGEST)), "/");
        assert_eq!(place(None, "/.proxyd/"), "/");
    }

    #[test]
    fn places_of_this_origin_are_kept_as_they_are() {
        for asked in [
            "/",
            "/page",
            "/a//b",
            "/deep/link?a=1&b=%2F%2Fevil.example&c=%5c#part",
            "/?to=https://evil.example/",
            "/a%20b/%C3%A4",
            "/a%252Fb",
            "/100%",
            "/a@b:c",
            "/.well-known/x",
            "/a/..b/c../...",
            "/.proxydx",
            "/x/.proxyd/logout",
            "/page?from=/../.proxyd/logout#/../x",
        ] {
            check(asked, asked);
        }
        let longest = format!("/{}", "a".repeat(LONGEST - 1));
        check(&longest, &longest);
    }

    #[test]
    fn a_query_carries_it_and_gives_it_back() {
        assert_eq!(query("/"), "");
        let link = "/deep/link?a=1&b=%2F+c#part";
        let told = query(link);
        assert_eq!(told, "?to=%2Fdeep%2Flink%3Fa%3D1%26b%3D%252F%2Bc%23part");
        let back = form_urlencoded::parse(told.trim_start_matches('?').as_bytes()).next().unwrap();
        assert_eq!(back.1, link);
    }
}
