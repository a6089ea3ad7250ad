//! Names and other short texts with a form of their own: names of things, hosts, header names and values, methods.

use std::net::IpAddr;
use std::sync::Arc;

use super::Name;
use super::report::Fault;

/// The longest name of a thing, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The longest header value of a config, in bytes.
const MAX_VALUE_BYTES: usize = 8 << 10;

/// A name without spaces: letters, digits and `_ . -`. It goes into headers, metrics and URLs.
pub(super) fn plain(text: &str) -> Result<Name, Fault> {
    let sound = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !sound {
        return Err(Fault::invalid("a name is made of letters, digits, `_`, `.` and `-`, at most 128 of them"));
    }
    Ok(text.into())
}

/// A name for people: anything that can be seen.
pub(super) fn free(text: &str) -> Result<Name, Fault> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) || text.trim() != text {
        return Err(Fault::invalid("a name has 1 to 128 bytes, no control characters and no spaces around it"));
    }
    Ok(text.into())
}

/// The token of RFC 9110, 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A cookie's name (RFC 6265, 4.1.1).
pub(super) fn cookie(text: &str) -> Result<Arc<str>, Fault> {
    if !is_token(text) || text.len() > MAX_NAME_BYTES {
        return Err(Fault::invalid("this is not the name of a cookie")
            .hint("a cookie's name has no spaces, quotes, commas, semicolons or `=`"));
    }
    Ok(text.into())
}

/// A header's name in lower case (RFC 9110, 5.1).
pub(super) fn header(text: &str) -> Result<Arc<str>, Fault> {
    if text.starts_with(':') {
        return Err(Fault::invalid("pseudo-headers of HTTP/2 cannot be named here"));
    }
    if !is_token(text) || text.len() > MAX_NAME_BYTES {
        return Err(
            Fault::invalid("this is not the name of a header").hint("a header name is made of letters, digits and `-`")
        );
    }
    Ok(text.to_ascii_lowercase().into())
}

/// A header that may be edited: not one that frames a message or belongs to one hop (RFC 9110, 7.6.1).
pub(super) fn editable_header(text: &str) -> Result<Arc<str>, Fault> {
    let name = header(text)?;
    let reserved = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if reserved.contains(&&*name) {
        let fault = Fault::invalid(format!(
            "the header `{name}` frames the message or belongs to one connection: it cannot be edited"
        ));
        return Err(if &*name == "host" {
            fault.hint("`forward_host` says which Host the upstream sees")
        } else {
            fault
        });
    }
    Ok(name)
}

/// A role: one of a list apart by commas.
pub(super) fn role(text: &str) -> Result<Name, Fault> {
    let name = free(text).map_err(|_| Fault::invalid("this is not a role").hint(ROLE_FORM))?;
    if text.contains(',') {
        return Err(Fault::invalid("a role has no comma: roles stand in headers apart by commas").hint(ROLE_FORM));
    }
    Ok(name)
}

const ROLE_FORM: &str = "a role has 1 to 128 bytes, no commas, no control characters and no spaces around it";

/// A scope-token of OAuth (RFC 6749, 3.3): one of a list apart by spaces.
pub(super) fn scope(text: &str) -> Result<Arc<str>, Fault> {
    let sound = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !sound {
        return Err(Fault::invalid("this is not a scope")
            .hint("a scope has 1 to 128 visible ASCII characters, without quotes and backslashes: `read:users`"));
    }
    Ok(text.into())
}

/// What `WWW-Authenticate` names in quotes (RFC 9110, 11.5).
pub(super) fn realm(text: &str) -> Result<Arc<str>, Fault> {
    let sound = text.bytes().all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b'"' && b != b'\\');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !sound {
        return Err(Fault::invalid("this is not a realm")
            .hint("a realm has 1 to 128 ASCII characters, without quotes and backslashes"));
    }
    Ok(text.into())
}

/// A header's value (RFC 9110, 5.5): visible characters, spaces and tabs within.
pub(super) fn header_value(text: &str) -> Result<Arc<str>, Fault> {
    let sound = text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
    if !sound || text.len() > MAX_VALUE_BYTES || text.trim_matches([' ', '\t']) != text {
        return Err(Fault::invalid("this is not the value of a header")
            .hint("no control characters or line ends, no spaces around it"));
    }
    Ok(text.into())
}

/// A method in upper case (RFC 9110, 9.1).
pub(super) fn method(text: &str) -> Result<Arc<str>, Fault> {
    // A token, but the name of no request: it would be taken, and match none.
    if text == "*" {
        return Err(Fault::invalid("`*` is no method").hint("leave `methods` out: then all are meant"));
    }
    if !is_token(text) || text.len() > 32 {
        return Err(Fault::invalid("this is not a method").hint("methods: [GET, POST]"));
    }
    if text.eq_ignore_ascii_case("connect") {
        return Err(Fault::invalid("CONNECT asks for a tunnel, which this proxy does not open"));
    }
    Ok(text.to_ascii_uppercase().into())
}

/// A host name or address in lower case, without port and final dot; IPv6 without brackets.
pub(super) fn host(text: &str) -> Result<Arc<str>, Fault> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if let Some(bare) = bare {
        return match bare.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => Ok(address.to_string().into()),
            _ => Err(Fault::invalid("only an IPv6 address stands in brackets")),
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string().into());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        let fault = Fault::invalid("this is not a host name");
        return Err(if text.contains("://") {
            fault.hint("a host stands without scheme and path")
        } else if text.contains(':') {
            fault.hint("a host stands without its port")
        } else if !text.is_ascii() {
            fault.hint("write international names in their ASCII form (`xn--…`)")
        } else {
            fault
        });
    }
    Ok(name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: AsRef<str>>(found: Result<T, Fault>, expected: Option<&str>) {
        assert_eq!(found.ok().as_ref().map(AsRef::as_ref), expected);
    }

    #[test]
    fn hosts() {
        check(host("API.Example.com."), Some("api.example.com"));
        check(host("[::1]"), Some("::1"));
        check(host("127.0.0.1"), Some("127.0.0.1"));
        check(host("my_service"), Some("my_service"));
        for wrong in ["", ".", "a..b", "-a", "a:80", "http://a", "münchen.de", "a b", "*.a"] {
            check(host(wrong), None);
        }
    }

    #[test]
    fn headers() {
        check(header("X-Env"), Some("x-env"));
        check(editable_header("Server"), Some("server"));
        for wrong in ["Connection", "content-length", "HOST", "x y", "", ":path", "transfer-encoding"] {
            check(editable_header(wrong), None);
        }
        check(header_value("a b"), Some("a b"));
        check(header_value("a\r\nb"), None);
        check(header_value(" a"), None);
    }

    #[test]
    fn names() {
        check(plain("users_2.x-y"), Some("users_2.x-y"));
        check(plain("a b"), None);
        check(free("a b"), Some("a b"));
        check(free(" a"), None);
        check(method("get"), Some("GET"));
        check(method("connect"), None);
        check(role("Domain Admins"), Some("Domain Admins"));
        for wrong in ["", "a,b", " a", "a\n"] {
            check(role(wrong), None);
        }
        check(scope("read:users"), Some("read:users"));
        for wrong in ["", "a b", "a\"", "é"] {
            check(scope(wrong), None);
        }
        check(realm("Acme API"), Some("Acme API"));
        check(realm("a\"b"), None);
    }
}
