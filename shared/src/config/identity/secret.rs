//! Secrets of the section: how long they must be, and a warning where one is written in clear.

use crate::config::Secret;
use crate::config::field::Kind;
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::Node;

/// The longest secret, in bytes.
const MAX_BYTES: usize = 4096;
/// As long as the longest hash: where the value is not known, this one stands for it.
pub(super) const SAMPLE: &str = "sample-secret-sample-secret-sample-secret-sample-secret-sample-secret";
/// A secret of ours: a key that somebody could try to guess.
pub(super) const KEY: Kind = Kind::Secret { what: "a secret", sample: SAMPLE };
/// The shortest such key, in bytes.
pub(super) const KEY_BYTES: usize = 32;
/// A secret that another system gave out, of whatever length.
pub(super) const GIVEN: Kind = Kind::Secret { what: "a secret", sample: SAMPLE };

/// Reads a key of at least so many bytes.
pub(super) fn key(reader: &mut Reader<'_>, node: &Node<'_>, least: usize) -> Option<Secret> {
    read(reader, node, |text| {
        if (least..=MAX_BYTES).contains(&text.len()) {
            return Ok(());
        }
        Err(Fault::invalid(format!("this secret has {} bytes: it must have {least} to {MAX_BYTES}", text.len()))
            .hint(format!("make one with `openssl rand -hex {}`", least.max(32))))
    })
}

/// Reads what another system gave out.
pub(super) fn given(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Secret> {
    read(reader, node, |text| {
        let sound = !text.is_empty() && text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        if sound { Ok(()) } else { Err(Fault::invalid("a secret has 1 to 4096 bytes and no control characters")) }
    })
}

fn read(reader: &mut Reader<'_>, node: &Node<'_>, check: impl FnOnce(&str) -> Result<(), Fault>) -> Option<Secret> {
    let secret = reader.parse(node, &KEY, |text| check(text).map(|()| Secret::new(text)))?;
    warn_clear(reader, node);
    Some(secret)
}

/// Notes that a secret was typed into the config.
pub(in crate::config) fn warn_clear(reader: &mut Reader<'_>, node: &Node<'_>) {
    if !node.has_resolved() {
        let fault = Fault::new(Code::ClearSecret, "this secret is written in clear")
            .hint("take it from outside: `${env:NAME}` or `${file:/run/secrets/name}`");
        reader.warn(node.place, fault);
    }
}
