//! What is sent upstream instead of what came: paths and redirect locations.

use std::borrow::Cow;

use regex_automata::util::interpolate;

use crate::config::{Pattern, Redirect, RedirectPart, Rewrite, Share};

use super::normalize::normalize;
use super::octet::{escaped, path_char, push_escape};

/// The path that the upstream sees: rewritten, then put behind the share's path prefix. Always begins with `/`, and never has
/// more or fewer dot segments than a normalised path (none). Borrows where nothing changes.
#[must_use]
pub fn upstream_path<'a>(path: &'a str, rewrite: Option<&Rewrite>, path_prefix: &str) -> Cow<'a, str> {
    let rewritten = match rewrite {
        None => Cow::Borrowed(path),
        Some(Rewrite::Prefix { strip, add }) => replace_prefix(path, strip, add),
        Some(Rewrite::Path(whole)) => Cow::Owned(legal_path(whole)),
        Some(Rewrite::Regex { pattern, to }) => replace_match(path, pattern, to),
    };
    if path_prefix.is_empty() { rewritten } else { Cow::Owned(join(path_prefix, &rewritten)) }
}

/// Where all of the path was stripped away, `add` alone remains: `/api` becomes `/v2`, `/api/` becomes `/v2/`.
fn replace_prefix<'a>(path: &'a str, strip: &str, add: &str) -> Cow<'a, str> {
    let rest = without_prefix(path, strip);
    if rest.is_empty() {
        return if add.is_empty() { Cow::Borrowed("/") } else { Cow::Owned(clean(add.to_owned())) };
    }
    if add.is_empty() && rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(clean(join(add, rest))) }
}

/// What is left behind the prefix; all of the path where it does not have it on a segment boundary.
fn without_prefix<'a>(path: &'a str, prefix: &str) -> &'a str {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        Some(_) | None => path,
    }
}

/// One after the other with one slash between, and one in front.
fn join(first: &str, second: &str) -> String {
    let first = first.trim_matches('/');
    let second = second.strip_prefix('/').unwrap_or(second);
    let mut joined = String::with_capacity(first.len() + second.len() + 2);
    if !first.is_empty() {
        joined.push('/');
        joined.push_str(first);
    }
    joined.push('/');
    joined.push_str(second);
    joined
}

fn replace_match<'a>(path: &'a str, pattern: &Pattern, to: &str) -> Cow<'a, str> {
    let mut captures = pattern.regex.create_captures();
    pattern.regex.captures(path, &mut captures);
    let Some(found) = captures.get_match() else { return Cow::Borrowed(path) };
    let mut replaced = path.get(..found.start()).unwrap_or_default().to_owned();
    interpolate::string(
        to,
        |index, out| {
            let group = captures.get_group(index).and_then(|span| path.get(span.start..span.end));
            out.push_str(group.unwrap_or_default());
        },
        |name| captures.group_info().to_index(found.pattern(), name),
        &mut replaced,
    );
    replaced.push_str(path.get(found.end()..).unwrap_or_default());
    Cow::Owned(legal_path(&replaced))
}

/// Any text as a path: controls are left out (no normalised path has them, even encoded), what else may not stand in one is
/// percent-encoded, then it is normalised.
fn legal_path(text: &str) -> String {
    let text: Cow<'_, str> = if text.bytes().any(|octet| octet.is_ascii_control()) {
        text.chars().filter(|c| !c.is_ascii_control()).collect()
    } else {
        text.into()
    };
    let mut legal = Vec::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        legal.push(b'/');
    }
    push_legal(&mut legal, &text, path_char);
    clean(into_text(legal))
}

fn clean(path: String) -> String {
    match normalize(&path, false) {
        Ok(normal) if matches!(normal.path, Cow::Borrowed(_)) => path,
        Ok(normal) => normal.path.into_owned(),
        Err(_) => "/".to_owned(),
    }
}

/// Writes text; octets that are not legal and percent signs that are not the start of a harmless escape are percent-encoded.
fn push_legal(out: &mut Vec<u8>, text: &str, legal: impl Fn(u8) -> bool) {
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let is_escape = *first == b'%' && escaped(tail).is_some_and(|octet| !octet.is_ascii_control());
        if is_escape || (*first != b'%' && legal(*first)) {
            out.push(*first);
        } else {
            push_escape(out, *first);
        }
        rest = tail;
    }
}

/// What was written is ASCII.
fn into_text(ascii: Vec<u8>) -> String {
    String::from_utf8(ascii).unwrap_or_default()
}

/// A redirect's location. Always a valid header value: what is put in is percent-encoded where it must be.
///
/// A request's path that begins with `//` never begins the location, where it would name another host (RFC 3986 section 4.2).
#[must_use]
pub fn location(redirect: &Redirect, scheme: &str, host: &str, path: &str, query: &str) -> String {
    let mut out = Vec::with_capacity(64 + path.len() + query.len());
    for part in &redirect.to {
        match part {
            RedirectPart::Text(text) => push_legal(&mut out, text, |octet| octet.is_ascii_graphic()),
            RedirectPart::Scheme => push_legal(&mut out, scheme, |octet| octet.is_ascii_alphanumeric()),
            RedirectPart::Host => push_legal(&mut out, host, host_char),
            RedirectPart::Path => {
                if out.is_empty() && path.starts_with("//") {
                    out.extend(b"/.");
                }
                push_legal(&mut out, path, path_char);
            }
            RedirectPart::Query => push_legal(&mut out, query, query_char),
        }
    }
    let location = into_text(out);
    if !redirect.keep_query || query.is_empty() {
        return location;
    }
    let (target, fragment) = location.find('#').map_or((&*location, ""), |at| location.split_at(at));
    let mut kept = Vec::new();
    push_legal(&mut kept, query, query_char);
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{}{fragment}", into_text(kept))
}

fn host_char(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']')
}

/// Legal in a query (RFC 3986 section 3.4).
fn query_char(octet: u8) -> bool {
    path_char(octet) || octet == b'?'
}

/// The upstream of a share list, by weight: `random` is any number.
#[must_use]
pub fn pick_share(shares: &[Share], random: u64) -> Option<&Share> {
    if let [only] = shares {
        return Some(only);
    }
    let total: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
    let mut left = random.checked_rem(total)?;
    shares.iter().find(|share| {
        let is_it = left < u64::from(share.weight);
        left = left.saturating_sub(u64::from(share.weight));
        is_it
    })
}

#[cfg(test)]
mod tests;
