//! What an account may be called, which e-mail addresses are taken, and which passwords. Pure.

use super::commonest::COMMONEST;

/// The longest name of an account.
const LONGEST_NAME: usize = 64;
/// RFC 5321 section 4.5.3.1.
const LONGEST_EMAIL: usize = 254;
const LONGEST_LOCAL_PART: usize = 64;
const LONGEST_LABEL: usize = 63;
/// More than this is not hashed.
pub(super) const LONGEST_PASSWORD: usize = 256;

/// Whether an account may be called this: letters, digits and `. _ -`, beginning with a letter or a digit. It goes into
/// headers and logs, and is never taken for an e-mail address, nor for an id.
pub fn is_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= LONGEST_NAME
        && !directory::is_id(text)
        && text.bytes().all(is_good)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// Whether this is an e-mail address as people have them: a dot-atom at a host's name (RFC 5321 section 4.1.2). Quoted local
/// parts, address literals and comments are refused: they are where header injection and lookalikes live.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    text.len() <= LONGEST_EMAIL && is_dot_atom(local) && is_domain(domain)
}

fn is_dot_atom(local: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= LONGEST_LOCAL_PART && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_good))
}

fn is_domain(domain: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    domain.split('.').all(|label| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(is_good)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Why a password is not taken, in a sentence.
pub fn weakness(password: &str, shortest: u32, name: &str, email: Option<&str>) -> Option<&'static str> {
    if password.len() > LONGEST_PASSWORD {
        return Some("The password is too long.");
    }
    if password.chars().count() < shortest as usize {
        return Some("The password is too short.");
    }
    if password.chars().any(char::is_control) {
        return Some("The password holds a control character.");
    }
    let email = email.unwrap_or_default();
    let local_part = email.split('@').next().unwrap_or_default();
    if [name, email, local_part].into_iter().any(|known| !known.is_empty() && is_same(password, known)) {
        return Some("The password is the account's own name.");
    }
    if COMMONEST.iter().any(|common| is_same(password, common)) || is_monotonous(password) {
        return Some("The password is one of the first that are guessed.");
    }
    None
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// One character over and over.
fn is_monotonous(password: &str) -> bool {
    let mut chars = password.chars();
    let first = chars.next();
    chars.all(|next| Some(next) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        let check = |name: &str, expected: bool| assert_eq!(is_name(name), expected, "{name:?}");
        check("", false);
        check(".ann", false);
        check("-ann", false);
        check("ann smith", false);
        check("ann@example.com", false);
        check("ann\r\nBcc: eve@example.com", false);
        check("änn", false);
        check("ann\0", false);
        check(&"a".repeat(65), false);
        check("0123456789abcDEF", false);
        check("0123456789abcdefa", true);
        check(&"a".repeat(64), true);
        check("ann", true);
        check("7", true);
        check("Ann.Smith_2-x", true);
    }

    #[test]
    fn addresses_that_could_be_more_than_one_are_refused() {
        let check = |email: &str, expected: bool| assert_eq!(is_email(email), expected, "{email:?}");
        check("", false);
        check("ann", false);
        check("@example.com", false);
        check("ann@", false);
        check("ann@example.com@evil.example", false);
        check("ann@example.com,eve@evil.example", false);
        check("ann@example.com\r\nBcc: eve@evil.example", false);
        check("ann\nRCPT TO:<eve@evil.example>@example.com", false);
        check("ann @example.com", false);
        check("\"ann eve\"@example.com", false);
        check("ann@[127.0.0.1]", false);
        check("ann(comment)@example.com", false);
        check("Ann <ann@example.com>", false);
        check(".ann@example.com", false);
        check("ann.@example.com", false);
        check("a..nn@example.com", false);
        check("ann@-example.com", false);
        check("ann@example-.com", false);
        check("ann@example..com", false);
        check("ann@example.com.", false);
        check("änn@example.com", false);
        check("ann@ex\u{e4}mple.com", false);
        check(&format!("{}@example.com", "a".repeat(65)), false);
        check(&format!("a@{}.com", "b".repeat(64)), false);
        check(&format!("a@{}com", "bcdefgh.".repeat(32)), false);
        check("ann@example.com", true);
        check("ann+tag@mail.example.com", true);
        check("o'neill@localhost", true);
    }

    #[test]
    fn weak_passwords_are_told_why() {
        let check = |password: &str, expected: Option<&str>| {
            let got = weakness(password, 10, "Margarete.Schmidt", Some("margarete@example.com"));
            assert_eq!(got.is_some(), expected.is_some(), "{password:?}: {got:?}");
            assert!(got.unwrap_or_default().contains(expected.unwrap_or_default()), "{password:?}: {got:?}");
        };
        check("", Some("short"));
        check("ninechars", Some("short"));
        check("äöüäöüäöü", Some("short"));
        check(&"x1".repeat(129), Some("long"));
        check("margarete.SCHMIDT", Some("name"));
        check("Margarete@Example.com", Some("name"));
        check("1234567890", Some("first"));
        check("PASSWORD123", Some("first"));
        check("aaaaaaaaaaaa", Some("first"));
        check("tab\tulated words", Some("control"));
        check("nul\0nul\0nul\0", Some("control"));
        check("äöüßäöüßäö", None);
        check("correct horse battery", None);
        check(&"x1".repeat(128), None);
        assert_eq!(weakness("longer than its mail", 10, "ann", None), None);
    }
}
