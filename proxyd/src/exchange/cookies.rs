//! The cookies of a request (RFC 6265 section 4.2.1).

use super::{Headers, name};

/// Their names and values, in the order in which they stand.
pub fn cookies(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = headers.all(&name::COOKIE).flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// Takes cookies off a request; the others stay as they are.
pub fn take_cookies(headers: &mut Headers, is_meant: impl Fn(&[u8]) -> bool) {
    if !headers.has(&name::COOKIE) || !cookies(headers).any(|(name, _)| is_meant(name)) {
        return;
    }
    let mut kept: Vec<u8> = Vec::new();
    for (name, value) in cookies(headers).filter(|(name, _)| !is_meant(name)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(name);
        kept.push(b'=');
        kept.extend_from_slice(value);
    }
    headers.remove(&name::COOKIE);
    if !kept.is_empty() {
        headers.set_text(&name::COOKIE, &kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> Headers {
        let mut headers = Headers::new();
        for line in lines {
            assert!(headers.push(b"cookie", line.as_bytes()));
        }
        headers
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let headers = headers(&["a=1; node=two ;b", "node=three; spaced =4"]);
        let found: Vec<_> = cookies(&headers).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"1"), (b"node", b"two"), (b"node", b"three"), (b"spaced", b"4")];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_cookie_is_taken_and_the_others_stay() {
        let mut headers = headers(&["a=1; sid=2", "b=3; sid =4"]);
        take_cookies(&mut headers, |name| name == b"sid");
        assert_eq!(headers.all(&name::COOKIE).collect::<Vec<_>>(), [b"a=1; b=3"]);
        take_cookies(&mut headers, |name| name == b"a" || name == b"b");
        assert!(!headers.has(&name::COOKIE));
    }
}
