//! Paths into the claims of a token: steps apart by dots, a step that holds dots in quotes.

use std::sync::Arc;

use crate::config::field::Kind;
use crate::config::report::Fault;

/// How such a path is written.
pub(super) const CLAIM: Kind = Kind::Text { what: "a claim such as `sub` or `realm_access.roles`", sample: "sub" };

const MAX_BYTES: usize = 256;
const MAX_STEPS: usize = 8;

/// Checks a path; it is kept as it was written.
pub(super) fn path(text: &str) -> Result<Arc<str>, Fault> {
    let form = "steps are apart by dots: `realm_access.roles`; one that holds dots stands in double quotes: \
                '\"https://example.com/roles\"'";
    if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
        return Err(Fault::invalid("this is not a claim").hint(form));
    }
    // As typed it would be three steps, which nobody means.
    if text.contains("://") && !text.contains('"') {
        return Err(Fault::invalid("the dots in this claim would be steps").hint(format!("write it as '\"{text}\"'")));
    }
    let mut rest = text;
    for _ in 0..MAX_STEPS {
        let (step, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| Fault::invalid("this quote has no end").hint(form))?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if step.is_empty() || step.contains('"') {
            return Err(Fault::invalid("a step of this claim is empty, or holds a quote").hint(form));
        }
        if after.is_empty() {
            return Ok(text.into());
        }
        rest = after.strip_prefix('.').ok_or_else(|| Fault::invalid("a quote ends its step").hint(form))?;
    }
    Err(Fault::invalid(format!("a claim has at most {MAX_STEPS} steps")).hint(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for right in ["sub", "realm_access.roles", "\"https://a.b/roles\"", "a.\"b.c\".d", "urn:x:roles"] {
            assert_eq!(path(right).ok().as_deref(), Some(right), "{right}");
        }
        for wrong in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "\"",
            "\"a",
            "\"\"",
            "\"a\"b",
            "a\"b\"",
            "https://a.b/roles",
            "a\n",
            "a.a.a.a.a.a.a.a.a",
        ] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
