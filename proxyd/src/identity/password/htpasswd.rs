//! Users in a file, `name:hash` a line, as htpasswd writes them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::hash::examine;
use super::verifier::User;
use crate::identity::called;

/// Bytes of the file.
const LARGEST: u64 = 16 << 20;

/// Users in it.
const MOST: usize = 100_000;

/// Bytes of a name.
const NAME: usize = 128;

/// Users by name.
pub(super) type Users = HashMap<Arc<str>, (Arc<User>, Arc<str>)>;

/// Reads users. A line that cannot be used is an error that names it, and never shows what it says.
pub(super) fn parse(text: &str) -> Result<Users, String> {
    let mut users = Users::new();
    // Editors put a mark there, which would be part of the first name.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or_else(|| format!("line {number}: this is not `name:hash`"))?;
        if name.len() > NAME || !called::is_name(name) {
            return Err(format!(
                "line {number}: a name has 1 to {NAME} bytes, no control characters and no white space at its ends"
            ));
        }
        examine(hash).map_err(|problem| format!("line {number}: {problem}"))?;
        if users.len() >= MOST {
            return Err(format!("line {number}: there are more than {MOST} users"));
        }
        let user = Arc::new(User { name: name.into(), ..User::default() });
        if users.insert(name.into(), (user, hash.into())).is_some() {
            return Err(format!("line {number}: this user is there already"));
        }
    }
    Ok(users)
}

/// Why a file of users cannot be used, if it cannot.
pub fn problem(path: &Path) -> Option<String> {
    read(path).err()
}

/// Reads a file of users.
pub(super) fn read(path: &Path) -> Result<Users, String> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    opened.map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(named("it is larger than 16 MiB".to_owned()));
    }
    parse(&text).map_err(named)
}
