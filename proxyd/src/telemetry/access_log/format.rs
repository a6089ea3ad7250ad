//! One finished request as one line: JSON, or text that tools for the combined log format can read.
//!
//! Written by hand, for it happens on every request. Every byte a peer chose is escaped: a line is always one line.

use shared::audit::RequestFacts;

use crate::telemetry::clock::{TimeText, two_digits};

/// Appends `{"time":"…","request_id":"…",…}` and a line feed. Empty fields are left out.
pub(super) fn json(facts: &RequestFacts<'_>, time: &TimeText, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    time.rfc3339(facts.time_us, out);
    out.push(b'"');
    plain(out, b",\"request_id\":\"", facts.request_id);
    plain(out, b",\"client\":\"", facts.client);
    text(out, b",\"method\":\"", facts.method);
    plain(out, b",\"scheme\":\"", facts.scheme);
    text(out, b",\"host\":\"", facts.host);
    text(out, b",\"path\":\"", facts.path);
    text(out, b",\"query\":\"", facts.query);
    plain(out, b",\"protocol\":\"", facts.protocol);
    number(out, b",\"status\":", u64::from(facts.status));
    plain(out, b",\"outcome\":\"", facts.outcome);
    text(out, b",\"route\":\"", facts.route);
    text(out, b",\"upstream\":\"", facts.upstream);
    text(out, b",\"endpoint\":\"", facts.endpoint);
    number(out, b",\"bytes_in\":", facts.bytes_in);
    number(out, b",\"bytes_out\":", facts.bytes_out);
    milliseconds(out, b",\"duration_ms\":", facts.duration_us);
    if facts.attempts > 0 {
        milliseconds(out, b",\"upstream_ms\":", facts.upstream_us);
        number(out, b",\"attempts\":", u64::from(facts.attempts));
    }
    text(out, b",\"tries\":\"", facts.tries);
    text(out, b",\"principal\":\"", facts.principal);
    text(out, b",\"credential\":\"", facts.credential);
    number(out, b",\"generation\":", facts.generation);
    text(out, b",\"user_agent\":\"", facts.user_agent);
    out.extend_from_slice(b"}\n");
}

/// A text of ours, in which nothing needs escaping: a word of our code, an address, a request id, which is made or sane.
#[inline]
fn plain<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: &str) {
    debug_assert!(is_plain(value.as_bytes(), &unfit_for_json), "{value:?} needs escaping");
    if !value.is_empty() {
        out.extend_from_slice(name);
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
}

#[inline]
fn text<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: &str) {
    if !value.is_empty() {
        out.extend_from_slice(name);
        escape_json(value.as_bytes(), out);
        out.push(b'"');
    }
}

#[inline]
fn number<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], value: u64) {
    out.extend_from_slice(name);
    decimal(value, out);
}

/// Milliseconds with their microseconds: `12.345`.
fn milliseconds<const N: usize>(out: &mut Vec<u8>, name: &[u8; N], us: u64) {
    number(out, name, us / 1_000);
    let rest = us % 1_000;
    let [tens, ones] = two_digits(rest % 100);
    out.extend_from_slice(&[b'.', b'0' + (rest / 100) as u8, tens, ones]);
}

/// Appends the combined log format and what it has no place for:
///
/// `CLIENT - PRINCIPAL [22/Nov/2026:23:14:35 +0000] "METHOD PATH?QUERY PROTOCOL" STATUS BYTES_OUT "-" "USER_AGENT"
/// id=… host="…" route="…" upstream="…" endpoint="…" outcome=… in=… ms=… upstream_ms=… attempts=… tries="…" credential="…"
/// generation=…`
///
/// The referrer is always `-`: it is not recorded.
pub(super) fn combined(facts: &RequestFacts<'_>, time: &TimeText, out: &mut Vec<u8>) {
    word(facts.client, out);
    out.extend_from_slice(b" - ");
    word(facts.principal, out);
    out.extend_from_slice(b" [");
    time.combined(facts.time_us, out);
    out.extend_from_slice(b"] \"");
    escape_text(facts.method.as_bytes(), out);
    out.push(b' ');
    escape_text(facts.path.as_bytes(), out);
    if !facts.query.is_empty() {
        out.push(b'?');
        escape_text(facts.query.as_bytes(), out);
    }
    out.push(b' ');
    escape_text(facts.protocol.as_bytes(), out);
    number(out, b"\" ", u64::from(facts.status));
    number(out, b" ", facts.bytes_out);
    out.extend_from_slice(b" \"-\" ");
    quoted(if facts.user_agent.is_empty() { "-" } else { facts.user_agent }, out);
    for (name, value) in [
        (&b" id="[..], facts.request_id),
        (b" host=", facts.host),
        (b" route=", facts.route),
        (b" upstream=", facts.upstream),
        (b" endpoint=", facts.endpoint),
        (b" outcome=", facts.outcome),
    ] {
        if !value.is_empty() {
            out.extend_from_slice(name);
            quoted(value, out);
        }
    }
    number(out, b" in=", facts.bytes_in);
    milliseconds(out, b" ms=", facts.duration_us);
    if facts.attempts > 0 {
        milliseconds(out, b" upstream_ms=", facts.upstream_us);
        number(out, b" attempts=", u64::from(facts.attempts));
    }
    for (name, value) in [(&b" tries="[..], facts.tries), (b" credential=", facts.credential)] {
        if !value.is_empty() {
            out.extend_from_slice(name);
            quoted(value, out);
        }
    }
    number(out, b" generation=", facts.generation);
    out.push(b'\n');
}

/// A word of the combined format: `-` for none, and without spaces, which would shift the words after it.
fn word(value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        out.push(b'-');
    }
    for part in value.split_inclusive(' ') {
        escape_text(part.trim_end_matches(' ').as_bytes(), out);
        if part.ends_with(' ') {
            out.extend_from_slice(b"\\x20");
        }
    }
}

fn quoted(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_text(value.as_bytes(), out);
    out.push(b'"');
}

/// Appends a decimal number.
pub(super) fn decimal(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Both hex digits of a byte.
fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|nibble| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'))
}

/// Escapes as RFC 8259, section 7 asks, and DEL with it. What needs nothing, nearly always all of it, is copied whole.
#[inline(never)]
fn escape_json(value: &[u8], out: &mut Vec<u8>) {
    escape(value, out, unfit_for_json, |byte, out| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex(byte));
        }
    });
}

/// Escapes quote, backslash and everything outside printable ASCII as `\xHH`: safe to show on any terminal.
fn escape_text(value: &[u8], out: &mut Vec<u8>) {
    escape(
        value,
        out,
        |word| unfit_for_json(word) | word,
        |byte, out| {
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&hex(byte));
        },
    );
}

fn unfit_for_json(word: u64) -> u64 {
    below(word, 0x20) | equal(word, b'"') | equal(word, b'\\') | equal(word, 0x7f)
}

/// Appends `value`, with `write` for each byte that is special: whose top bit `special` sets in a word of eight.
#[inline]
fn escape(value: &[u8], out: &mut Vec<u8>, special: impl Fn(u64) -> u64, write: impl Fn(u8, &mut Vec<u8>)) {
    if is_plain(value, &special) {
        out.extend_from_slice(value);
    } else {
        escape_slowly(value, out, special, write);
    }
}

#[cold]
fn escape_slowly(value: &[u8], out: &mut Vec<u8>, special: impl Fn(u64) -> u64, write: impl Fn(u8, &mut Vec<u8>)) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| special(ONES * u64::from(byte)) & TOPS != 0) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((&byte, after)) = tail.split_first() {
            write(byte, out);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
}

/// Whether no byte is special. Eight are looked at together, without a branch for each; the last eight reach back into those
/// before them, so that none are left over.
#[inline]
fn is_plain(value: &[u8], special: &impl Fn(u64) -> u64) -> bool {
    let hits = if let Some(last) = value.last_chunk::<8>() {
        let words = value.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        words.fold(special(u64::from_le_bytes(*last)), |hits, word| hits | special(word))
    } else if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        special(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32)
    } else {
        value.iter().fold(0, |hits, &byte| hits | special(ONES * u64::from(byte)))
    };
    hits & TOPS == 0
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const TOPS: u64 = ONES << 7;

/// Sets the top bit of some byte if any byte is below `bound`, which is 128 at most; of none otherwise.
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & TOPS
}

/// Sets the top bit of some byte if any byte is `byte`; of none otherwise.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

#[cfg(test)]
mod tests;
