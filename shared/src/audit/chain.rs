//! The hash chain: each row's link is a truncated SHA-256 over the previous link and the row's canonical bytes.
//!
//! Canonical bytes: a kind byte (`R`, `A`, `G`), the sequence number and the other numbers as eight big-endian bytes
//! each, texts as their length in four big-endian bytes and then themselves, in the order of the struct's fields; an
//! absent number is a zero byte, a present one a one byte and the number. docs/reference/audit.md repeats this.

use sha2::{Digest, Sha256};

use super::{ActionFacts, Gap, RequestFacts};

/// One link: the first 16 bytes of the SHA-256.
pub type Link = [u8; 16];

/// The link of a row whose canonical bytes are `canonical`, after the row whose link is `previous`. The very first row
/// follows a link of zeros.
#[must_use]
pub fn chain(previous: &Link, canonical: &[u8]) -> Link {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(canonical);
    let digest = hash.finalize();
    let mut link = Link::default();
    for (to, from) in link.iter_mut().zip(digest) {
        *to = from;
    }
    link
}

/// Writes a request row's canonical bytes to `out`, which is cleared first.
pub fn canonical_request(seq: u64, facts: &RequestFacts<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.push(b'R');
    number(out, seq);
    number(out, facts.time_us as u64);
    text(out, facts.request_id);
    text(out, facts.client);
    text(out, facts.method);
    text(out, facts.scheme);
    text(out, facts.listener);
    text(out, facts.host);
    text(out, facts.path);
    text(out, facts.query);
    text(out, facts.protocol);
    text(out, facts.route);
    text(out, facts.upstream);
    text(out, facts.endpoint);
    number(out, u64::from(facts.status));
    text(out, facts.outcome);
    number(out, facts.bytes_in);
    number(out, facts.bytes_out);
    number(out, facts.duration_us);
    number(out, facts.upstream_us);
    number(out, u64::from(facts.attempts));
    text(out, facts.principal);
    number(out, facts.generation);
    text(out, facts.user_agent);
    text(out, facts.matched);
}

/// Writes an action row's canonical bytes to `out`, which is cleared first.
pub fn canonical_action(seq: u64, facts: &ActionFacts, out: &mut Vec<u8>) {
    out.clear();
    out.push(b'A');
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

/// Writes a gap row's canonical bytes to `out`, which is cleared first.
pub fn canonical_gap(seq: u64, gap: &Gap, out: &mut Vec<u8>) {
    out.clear();
    out.push(b'G');
    number(out, seq);
    number(out, gap.time_us as u64);
    optional(out, gap.missing);
    optional(out, gap.from_us.map(|time| time as u64));
    optional(out, gap.until_us.map(|time| time as u64));
    text(out, &gap.reason);
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
