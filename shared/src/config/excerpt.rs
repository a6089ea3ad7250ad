//! The source line that a problem quotes: bounded in length, and with nothing in it that must not be shown.

use super::problem::Excerpt;
use super::tree::Place;
use super::unit;
use crate::audit::Mask;

/// The longest quoted piece of a line, in characters.
const MAX_CHARS: usize = 160;
/// What stands before the marker when a long line is cut.
const BEFORE: usize = 60;
/// How far up the parent of a line is looked for.
const LOOK_BACK: u32 = 64;
/// What stands for the hidden rest of a line.
const MASK: &str = "****";
/// Keys of the language that a mask for headers and query strings would hide and that hold no secret themselves: the
/// section `auth`, yes or no of `cors` and `auth`, and what a limit counts by.
const OPEN: &[&str] = &["auth", "credentials", "forward_credentials", "key"];

/// Whether a value under this key must not be shown. Wider than the keys of the language: a secret in a header edit or
/// under a key that is misspelt is a secret too.
pub(super) fn is_secret_key(key: &str) -> bool {
    if OPEN.contains(&key) {
        return false;
    }
    let mask = Mask::default();
    mask.hides_header(&key.to_ascii_lowercase()) || mask.hides_query(key) || matches!(key, "password_hash" | "secrets")
}

/// Keys of the language that sound like secrets: below these stand maps, whose own keys say what is secret, or a switch. A text under such a
/// name, as in a condition on a query, is hidden.
const MAPS: &[&str] = &["api_key", "jwt", "session"];
/// How long something lasts, or must be.
const MEASURES: &[&str] = &["access_token", "min_password", "refresh_token"];

/// Whether what stands behind the key can be seen to be no secret.
fn is_plain(key: &str, value: &str) -> bool {
    let value = value.trim_start();
    let is_map = value.is_empty() || value.starts_with(['{', '#']);
    let word = value.split([' ', ',', '}', '#']).next().unwrap_or_default();
    let is_measure = unit::duration(word).is_ok() || (word.len() <= 3 && word.parse::<u16>().is_ok());
    let is_switch = matches!(word, "on" | "off" | "true" | "false");
    (MAPS.contains(&key) && (is_map || is_switch)) || (MEASURES.contains(&key) && is_measure)
}

/// Quotes the line of `place`; none where it must not be quoted.
pub(super) fn around<'a>(line: &impl Fn(u32) -> Option<&'a str>, place: Place) -> Option<Excerpt> {
    let text = line(place.line)?;
    if continues_secret(line, place.line) {
        return None;
    }
    let start = (place.column as usize).saturating_sub(1);
    let (text, start, length) = mask(text, start, (place.length as usize).max(1));
    Some(cut(&text, start, length))
}

/// A whole source, fit to be shown: what stands behind a key that holds a secret, and the user part of URLs, is hidden.
#[must_use]
pub fn masked(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let line = |number: u32| lines.get((number as usize).checked_sub(1)?).copied();
    let mut shown = String::with_capacity(text.len());
    for (number, text) in (1..).zip(&lines) {
        if continues_secret(&line, number) {
            shown.push_str(MASK);
        } else {
            shown.push_str(&mask(text, 0, 0).0);
        }
        shown.push('\n');
    }
    shown
}

/// Whether the line hangs under a key that holds a secret, as the lines of a block scalar do.
fn continues_secret<'a>(line: &impl Fn(u32) -> Option<&'a str>, number: u32) -> bool {
    let Some(mut indent) = line(number).map(indent_of) else { return false };
    for above in (number.saturating_sub(LOOK_BACK)..number).rev() {
        let Some(text) = line(above) else { return false };
        if text.trim().is_empty() || indent_of(text) >= indent {
            continue;
        }
        let opens = text.trim_end().ends_with([':', '|', '>', '-', '+', '"', '\'', '\\']) || !text.contains(['}', ']']);
        if opens && secret_value(text).is_some() {
            return true;
        }
        indent = indent_of(text);
        if indent == 0 {
            return false;
        }
    }
    false
}

fn indent_of(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}

/// The byte at which the value of a secret key begins.
fn secret_value(text: &str) -> Option<usize> {
    text.match_indices(':').find_map(|(colon, _)| {
        let before = text.get(..colon)?.trim_end().trim_end_matches(['"', '\'']);
        let key_start = before
            .char_indices()
            .rev()
            .find(|(_, c)| !(c.is_alphanumeric() || *c == '_' || *c == '-'))
            .map_or(0, |(at, c)| at + c.len_utf8());
        let key = before.get(key_start..)?;
        (is_secret_key(key) && !is_plain(key, text.get(colon + 1..)?)).then_some(colon + 1)
    })
}

/// Hides everything behind a secret key, and the user part of URLs. The marker moves along.
fn mask(text: &str, start: usize, length: usize) -> (String, usize, usize) {
    let secret_at = secret_value(text);
    let shown = text.get(..secret_at.unwrap_or(text.len())).unwrap_or_default();
    if let Some(user) = url_user(shown) {
        let cut = text.get(..user).unwrap_or_default();
        return hide_from(cut, MASK, start, length);
    }
    match secret_at {
        Some(_) if text.trim_end().len() > shown.len() => hide_from(shown, &format!(" {MASK}"), start, length),
        _ => (text.to_owned(), start, length),
    }
}

fn hide_from(shown: &str, mask: &str, start: usize, length: usize) -> (String, usize, usize) {
    let kept = shown.chars().count();
    let text = format!("{shown}{mask}");
    let total = text.chars().count();
    if start < kept { (text, start, length.min(total - start)) } else { (text, total - MASK.len(), MASK.len()) }
}

/// The byte behind `//` where an `@` follows within the same authority.
fn url_user(text: &str) -> Option<usize> {
    text.match_indices("//").find_map(|(at, _)| {
        let rest = text.get(at + 2..)?;
        // A password of Redis may hold a slash.
        let is_redis = text.get(..at).is_some_and(|before| before.ends_with("redis:") || before.ends_with("rediss:"));
        if is_redis && rest.split([' ', '"', '\'', ',']).next()?.contains('@') {
            return Some(at + 2);
        }
        let authority = rest.split(['/', '?', '#', ' ', '"', '\'', ',']).next()?;
        authority.contains('@').then_some(at + 2)
    })
}

/// Cuts a long line to the part around its marker.
fn cut(text: &str, start: usize, length: usize) -> Excerpt {
    let total = text.chars().count();
    let start = start.min(total);
    let visible =
        |text: &str| -> String { text.chars().map(|c| if c == '\t' || c.is_control() { ' ' } else { c }).collect() };
    if total <= MAX_CHARS {
        let length = length.min(total.saturating_sub(start)).max(1);
        return Excerpt { line_text: visible(text), start, length };
    }
    let from = start.saturating_sub(BEFORE);
    let piece: String = text.chars().skip(from).take(MAX_CHARS).collect();
    let lead = if from > 0 { "…" } else { "" };
    let tail = if from + MAX_CHARS < total { "…" } else { "" };
    let start = start - from + lead.chars().count();
    let length = length.min(MAX_CHARS.saturating_sub(start)).max(1);
    Excerpt { line_text: visible(&format!("{lead}{piece}{tail}")), start, length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, line: u32, column: u32, expected: Option<(&str, usize)>) {
        let lines: Vec<&str> = text.lines().collect();
        let place = Place { text: 1, line, column, length: 3 };
        let found = around(&|n| lines.get((n as usize).checked_sub(1)?).copied(), place);
        let found = found.as_ref().map(|excerpt| (excerpt.line_text.as_str(), excerpt.start));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn secrets_are_hidden() {
        check("token: abc", 1, 8, Some(("token: ****", 7)));
        check("{name: ci, \"token\": \"abc\", role: x}", 1, 28, Some(("{name: ci, \"token\": ****", 20)));
        check("x-auth-token: abc", 1, 1, Some(("x-auth-token: ****", 0)));
        check("token: |\n  abc", 2, 3, None);
        check("target: http://me:pass@host/", 1, 9, Some(("target: http://****", 8)));
        check("tokens:\n  - name: ci", 2, 5, Some(("  - name: ci", 4)));
        check("auth: {tokens: [{name: ci, token: abc}]}", 1, 7, Some(("auth: {tokens: [{name: ci, token: ****", 6)));
        check("cors: {credentials: true}", 1, 7, Some(("cors: {credentials: true}", 6)));
        check("key: ip", 1, 6, Some(("key: ip", 5)));
        check("path: /x", 1, 7, Some(("path: /x", 6)));
        check("jwt: abc", 1, 6, Some(("jwt: ****", 5)));
        check("secrets:\n  - abc", 2, 5, None);
        check("secrets: [abc, def]", 1, 17, Some(("secrets: ****", 9)));
        check("{client_id: x, client_secret: abc}", 1, 2, Some(("{client_id: x, client_secret: ****", 1)));
        check("jwt: {main: {keys: {secret: abc}}}", 1, 7, Some(("jwt: {main: {keys: {secret: ****", 6)));
        check("access_token: abc", 1, 1, Some(("access_token: ****", 0)));
        check("url: redis://:pa/ss@host", 1, 6, Some(("url: redis://****", 5)));
    }

    #[test]
    fn keys_that_only_sound_secret_are_shown() {
        for text in [
            "jwt: {main: {issuer: x}}",
            "jwt:",
            "api_key: {header: x-api-key}",
            "session: # how long",
            "{api_key: on, jwt: {main: {issuer: x}}}",
            "access_token: 30m",
            "{access_token: 30m, min_password: 10}",
            "auth: {any_of: [jwt.main, api_key]}",
            "by: [user, api_key, ip]",
        ] {
            check(text, 1, 1, Some((text, 0)));
        }
        check("jwt:\n  main: {}", 2, 3, Some(("  main: {}", 2)));
    }

    #[test]
    fn a_whole_source_is_masked() {
        let text = "admin:\n  token: abc\n  secret: |\n    abc\n  listen: off\n";
        assert_eq!(masked(text), "admin:\n  token: ****\n  secret: ****\n****\n  listen: off\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let text = format!("{}END{}", "a".repeat(500), "b".repeat(500));
        let found = around(&|_| Some(text.as_str()), Place { text: 1, line: 1, column: 501, length: 3 }).unwrap();
        let marked: String = found.line_text.chars().skip(found.start).take(found.length).collect();
        assert_eq!(marked, "END");
        assert!(found.line_text.chars().count() <= MAX_CHARS + 2);
    }
}
