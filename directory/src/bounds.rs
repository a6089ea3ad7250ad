//! What is taken in: how long a text may be and what it may hold, and how many rows a table may have.

use rusqlite::Connection;

use crate::DirectoryError;

/// Bytes of a name, a role or a scope.
pub(crate) const NAME: usize = 128;

/// Bytes of an e-mail address (RFC 5321 section 4.5.3.1.3, without its brackets).
const EMAIL: usize = 254;

/// Bytes of a token's `jti`, of who did something, and of other short texts.
pub(crate) const TEXT: usize = 256;

/// Roles, or scopes, of one key or account.
const GRANTS: usize = 64;

/// Rows of any table.
pub(crate) const ROWS: i64 = 1_000_000;

/// As it is compared: names that differ in case alone are one.
pub(crate) fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// A text that people see, and that goes into headers and logs.
pub(crate) fn text(what: &'static str, text: &str, most: usize) -> Result<(), DirectoryError> {
    let invalid = |problem: &str| Err(DirectoryError::invalid(what, problem));
    if text.is_empty() {
        return invalid("must not be empty");
    }
    if text.len() > most {
        return Err(DirectoryError::invalid(what, format!("is longer than {most} bytes")));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return invalid("must not begin or end with a space, nor hold control characters");
    }
    Ok(())
}

/// A name: never one that could be taken for an id.
pub(crate) fn name(what: &'static str, name: &str) -> Result<(), DirectoryError> {
    text(what, name, NAME)?;
    if is_id(name) {
        return Err(DirectoryError::invalid(what, "must not look like an id (16 hexadecimal digits)"));
    }
    Ok(())
}

/// Whether this has the form of an account's id, or a key's: 16 hexadecimal digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An e-mail address: no more than that mail could be sent there.
pub(crate) fn email(address: &str) -> Result<(), DirectoryError> {
    text("an e-mail address", address, EMAIL)?;
    let is_address = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !address.contains(char::is_whitespace)
    });
    if is_address { Ok(()) } else { Err(DirectoryError::invalid("an e-mail address", "has the form name@domain")) }
}

/// Roles go upstream apart by commas, scopes apart by spaces (RFC 6749 section 3.3): they must come apart again.
pub(crate) fn grants(roles: &[String], scopes: &[String]) -> Result<(), DirectoryError> {
    let is_good =
        |text: &String, also: &[u8]| text.bytes().all(|byte| byte.is_ascii_graphic() && !also.contains(&byte));
    for (what, grants, not) in [("a role", roles, &b"\"\\,"[..]), ("a scope", scopes, &b"\"\\"[..])] {
        if grants.len() > GRANTS {
            return Err(DirectoryError::invalid(what, format!("is one of more than {GRANTS}")));
        }
        for grant in grants {
            text(what, grant, NAME)?;
            if !is_good(grant, not) {
                return Err(DirectoryError::invalid(what, "must be printable ASCII without spaces, quotes and commas"));
            }
        }
    }
    Ok(())
}

/// How many rows `table` has.
pub(crate) fn rows(conn: &Connection, table: &'static str) -> Result<i64, DirectoryError> {
    let mut sizes = conn.prepare_cached("SELECT rows FROM sizes WHERE name = ?1")?;
    Ok(sizes.query_row([table], |row| row.get(0))?)
}

/// Whether `table` takes one more row.
pub(crate) fn room(conn: &Connection, table: &'static str, what: &'static str) -> Result<(), DirectoryError> {
    if rows(conn, table)? < ROWS { Ok(()) } else { Err(DirectoryError::Full { what, most: ROWS }) }
}

/// Roles or scopes as one text.
pub(crate) fn written(grants: &[String]) -> String {
    serde_json::Value::from(grants).to_string()
}

/// The same, read.
pub(crate) fn read(table: &'static str, text: &str) -> Result<Vec<String>, DirectoryError> {
    serde_json::from_str(text).map_err(|_| DirectoryError::Damaged { path: std::path::PathBuf::new(), table })
}
