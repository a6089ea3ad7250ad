//! The hash chain: each row's link is a truncated SHA-256 over the previous link and the row's canonical bytes.
//!
//! A request's canonical bytes say what its row holds, as it holds it: a text that is interned is spelled out by the first
//! row that uses it, and later rows say its number. That is a third of the bytes of spelling it out every time, and proves
//! the same: whoever changes the text, changes what the first row said. docs/reference/audit.md has the bytes.

use aws_lc_rs::digest::{SHA256, digest};

use super::{ActionFacts, Gap, RequestFacts};

/// One link: the first 16 bytes of the SHA-256.
pub type Link = [u8; 16];

/// The link of a row, from what one of the functions below wrote: the previous row's link (zeros before the very first
/// row) and the row's canonical bytes.
#[must_use]
pub fn link(linked: &[u8]) -> Link {
    digest(&SHA256, linked).as_ref().first_chunk().copied().unwrap_or_default()
}

/// How many of a request's texts may be interned.
pub const INTERNED: usize = 11;

/// A text as a row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'a> {
    Empty,
    /// The number of a text that an earlier row of the segment, or an earlier column, has spelled out.
    Known(u64),
    /// The number of a text that is used here first.
    First(u64, &'a str),
    /// The text itself.
    Inline(&'a str),
}

impl Held<'_> {
    /// Makes this how the next row holds the same text.
    pub fn repeat(&mut self) {
        if let Self::First(number, _) = *self {
            *self = Self::Known(number);
        }
    }
}

/// A request row as the store holds it. The texts that may be interned are those of `interned`, in the order scheme,
/// listener, host, protocol, route, upstream, endpoint, outcome, principal, user agent, credential; `facts` need not repeat them.
#[derive(Clone, Copy, Debug)]
pub struct HeldRequest<'a> {
    pub facts: &'a RequestFacts<'a>,
    /// The request id where it is stored as bytes; otherwise it is the one in `facts`.
    pub packed_id: Option<&'a [u8; 16]>,
    pub interned: &'a [Held<'a>; INTERNED],
}

/// Writes the previous link and a request row's canonical bytes to `out`, which is cleared first.
pub fn canonical_request(previous: &Link, seq: u64, row: &HeldRequest<'_>, out: &mut Vec<u8>) {
    let facts = row.facts;
    let [always @ .., credential] = row.interned;
    begin(out, previous, b'R');
    small(out, seq);
    number(out, facts.time_us as u64);
    small(out, u64::from(facts.status));
    short(out, facts.method);
    short(out, facts.path);
    short(out, facts.query);
    short(out, facts.client);
    if let Some(packed) = row.packed_id {
        out.push(1);
        out.extend_from_slice(packed);
    } else {
        small(out, (facts.request_id.len() as u64) << 1);
        out.extend_from_slice(facts.request_id.as_bytes());
    }
    interned(always, out);
    short(out, facts.matched);
    small(out, facts.bytes_in);
    small(out, facts.bytes_out);
    small(out, facts.duration_us);
    small(out, facts.upstream_us);
    small(out, u64::from(facts.attempts));
    small(out, facts.generation);
    // Every field before says by itself where it ends, so a row of other fields cannot end in these bytes; and nothing at all is
    // what rows without such texts have always ended in.
    let is_recognised = !matches!(credential, Held::Empty);
    if is_recognised || !facts.tries.is_empty() {
        short(out, facts.tries);
    }
    if is_recognised {
        held(out, *credential);
    }
}

/// Writes the previous link and an action row's canonical bytes to `out`, which is cleared first.
pub fn canonical_action(previous: &Link, seq: u64, facts: &ActionFacts, out: &mut Vec<u8>) {
    begin(out, previous, b'A');
    number(out, seq);
    number(out, facts.time_us as u64);
    text(out, facts.door.as_str());
    text(out, &facts.actor);
    text(out, &facts.command);
    text(out, &facts.arguments);
    text(out, &facts.outcome);
    text(out, &facts.message);
    number(out, facts.generation_before);
    number(out, facts.generation_after);
    text(out, &facts.changes);
}

/// Writes the previous link and a gap row's canonical bytes to `out`, which is cleared first.
pub fn canonical_gap(previous: &Link, seq: u64, gap: &Gap, out: &mut Vec<u8>) {
    begin(out, previous, b'G');
    number(out, seq);
    number(out, gap.time_us as u64);
    optional(out, gap.missing);
    optional(out, gap.from_us.map(|time| time as u64));
    optional(out, gap.until_us.map(|time| time as u64));
    text(out, &gap.reason);
}

/// The texts that have their place in every row.
fn interned(texts: &[Held<'_>; INTERNED - 1], out: &mut Vec<u8>) {
    // Nearly always all of them are known, by small numbers.
    let known = texts.map(|text| match text {
        Held::Empty => 0,
        Held::Known(number) => number << 2 | 1,
        Held::First(..) | Held::Inline(_) => u64::MAX,
    });
    if known.iter().fold(0, |all, known| all | known) < 0x80 {
        return out.extend_from_slice(&known.map(|known| known as u8));
    }
    for text in texts {
        held(out, *text);
    }
}

fn held(out: &mut Vec<u8>, text: Held<'_>) {
    match text {
        Held::Empty => out.push(0),
        Held::Known(number) => small(out, number << 2 | 1),
        Held::Inline(text) => {
            small(out, (text.len() as u64) << 2 | 2);
            out.extend_from_slice(text.as_bytes());
        }
        Held::First(number, text) => {
            small(out, number << 2 | 3);
            short(out, text);
        }
    }
}

fn begin(out: &mut Vec<u8>, previous: &Link, kind: u8) {
    out.clear();
    out.extend_from_slice(previous);
    out.push(kind);
}

/// Seven bits a byte, the lowest first; all but the last byte have their top bit set.
#[inline]
fn small(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn short(out: &mut Vec<u8>, value: &str) {
    small(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn optional(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            number(out, value);
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests;
