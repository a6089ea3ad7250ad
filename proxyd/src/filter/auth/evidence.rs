//! Where credentials stand in a request. Two of one kind are none: whoever reads the request behind us might take the other.

use std::borrow::Cow;

use shared::audit::percent_decoded;
use shared::config::identity::TokenPlace;

use crate::exchange::{Name, Notes, RequestHead, cookies, name, take_cookies};

/// A place, with its name made ready.
#[derive(Debug)]
pub(super) enum Place {
    Header { name: Name, scheme: Option<Box<[u8]>> },
    Cookie(Box<[u8]>),
    Query(Box<[u8]>),
}

/// What stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Nothing,
    Ambiguous,
    One(Cow<'a, [u8]>),
}

impl Place {
    pub(super) fn of(place: &TokenPlace) -> Option<Self> {
        Some(match place {
            TokenPlace::Header { name, scheme } => Self::Header {
                name: Name::parse(name)?,
                scheme: scheme.as_deref().map(|scheme| scheme.as_bytes().into()),
            },
            TokenPlace::Cookie(name) => Self::Cookie(name.as_bytes().into()),
            TokenPlace::Query(name) => Self::Query(name.as_bytes().into()),
        })
    }

    /// Whether others' credentials stand here too.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Header { name, .. } if *name == name::AUTHORIZATION)
    }

    /// What stands here.
    pub(super) fn look<'a>(&self, head: &'a RequestHead) -> Found<'a> {
        match self {
            Self::Header { name, scheme } => {
                let mut lines = head.headers().all(name);
                let Some(line) = lines.next() else { return Found::Nothing };
                if lines.next().is_some() {
                    return Found::Ambiguous;
                }
                let value = match scheme {
                    None => Some(line),
                    Some(scheme) => behind(line, scheme),
                };
                value.filter(|value| !value.is_empty()).map_or(Found::Nothing, |value| Found::One(Cow::Borrowed(value)))
            }
            Self::Cookie(name) => {
                only(cookies(head.headers()).filter_map(|(found, value)| (found == &**name).then_some(value)))
            }
            Self::Query(name) => {
                let pairs = head.query().unwrap_or_default().as_bytes().split(|&byte| byte == b'&');
                let values = pairs.filter_map(|pair| {
                    let (found, value) = pair.split_at_checked(pair.iter().position(|&byte| byte == b'=')?)?;
                    (*percent_decoded(found) == **name).then(|| value.get(1..).unwrap_or_default())
                });
                match only(values) {
                    Found::One(Cow::Borrowed(value)) => Found::One(percent_decoded(value)),
                    other @ (Found::One(Cow::Owned(_)) | Found::Nothing | Found::Ambiguous) => other,
                }
            }
        }
    }

    /// Takes what stands here off what goes upstream. The query is noted instead: what came is recorded as it came, masked.
    pub(super) fn take_off(&self, head: &mut RequestHead, notes: &mut Notes) {
        match self {
            Self::Header { name, .. } => head.headers_mut().remove(name),
            Self::Cookie(name) => take_cookies(head.headers_mut(), |found| found == &**name),
            Self::Query(name) => {
                let before = notes.query(head).unwrap_or_default();
                let is_here = |pair: &&str| {
                    let found = pair.split('=').next().unwrap_or_default();
                    *percent_decoded(found.as_bytes()) == **name
                };
                if before.split('&').any(|pair| is_here(&pair)) {
                    let left: Vec<&str> = before.split('&').filter(|pair| !is_here(pair)).collect();
                    notes.query = Some(left.join("&"));
                }
            }
        }
    }
}

/// What follows the scheme (RFC 9110 section 11.4), whose case does not matter.
fn behind<'a>(line: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Found<'a> {
    match (values.next().filter(|value| !value.is_empty()), values.next()) {
        (_, Some(_)) => Found::Ambiguous,
        (None, None) => Found::Nothing,
        (Some(value), None) => Found::One(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&str, &str)], target: &str) -> RequestHead {
        let mut head = RequestHead::new("GET", target, http1::Version::Http11).unwrap();
        for (name, value) in lines {
            assert!(head.headers_mut().push(name.as_bytes(), value.as_bytes()));
        }
        head
    }

    fn check(place: &Place, lines: &[(&str, &str)], target: &str, expected: Option<&str>) {
        let head = head(lines, target);
        let expected = match expected {
            None => Found::Nothing,
            Some("two") => Found::Ambiguous,
            Some(value) => Found::One(Cow::Borrowed(value.as_bytes())),
        };
        assert_eq!(place.look(&head), expected, "{lines:?} {target}");
    }

    #[test]
    fn a_credential_stands_alone_in_its_place() {
        let bearer =
            Place::of(&TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) }).unwrap();
        check(&bearer, &[("authorization", "Bearer abc")], "/", Some("abc"));
        check(&bearer, &[("Authorization", "bEaReR   abc")], "/", Some("abc"));
        check(&bearer, &[("authorization", "Bearerabc")], "/", None);
        check(&bearer, &[("authorization", "Bearer")], "/", None);
        check(&bearer, &[("authorization", "Basic abc")], "/", None);
        check(&bearer, &[("authorization", "Bearer a"), ("Authorization", "Bearer b")], "/", Some("two"));
        check(&bearer, &[("authorization", "Bearer a"), ("authorization", "Basic b")], "/", Some("two"));
        let cookie = Place::Cookie(b"sid"[..].into());
        check(&cookie, &[("cookie", "a=1; sid=x=y; b=2")], "/", Some("x=y"));
        check(&cookie, &[("cookie", "xsid=1; sid2=1")], "/", None);
        check(&cookie, &[("cookie", "sid=1"), ("cookie", "sid=2")], "/", Some("two"));
        let query = Place::Query(b"token"[..].into());
        check(&query, &[], "/?a=b&token=x%2Ey&c", Some("x.y"));
        check(&query, &[], "/?token=a&token=b", Some("two"));
        check(&query, &[], "/?xtoken=a&token", None);
        check(&query, &[], "/?t%6Fken=a", Some("a"));
        check(&query, &[], "/?token=a&%74oken=b", Some("two"));
        check(&query, &[], "/?to%ken=a&token%=b", None);
    }

    #[test]
    fn what_is_taken_off_is_taken_under_every_spelling() {
        let mut head = head(&[], "/?a=b&token=x&%74oken=y&tokens=z&tok%65n");
        let mut notes = Notes::default();
        Place::Query(b"token"[..].into()).take_off(&mut head, &mut notes);
        assert_eq!(notes.query.as_deref(), Some("a=b&tokens=z"));
    }
}
