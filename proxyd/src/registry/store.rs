//! The registry's file: readable by its owner alone, replaced whole or not at all, bounded.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entries::Entries;
use super::{MOST_BYTES, MOST_ENTRIES, RegistryError};

/// The file's form.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    entries: &'a Entries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    version: u32,
    upstreams: serde_json::Value,
}

/// What the file says; nothing where it is not there or cannot be used, in which case it is set aside.
pub(super) fn load(path: &Path) -> Entries {
    let found = read(path).and_then(|text| text.map_or_else(|| Ok(Entries::default()), |text| parse(&text)));
    let mut entries = found.unwrap_or_else(|problem| {
        let aside = beside(path, "broken");
        let kept = fs::rename(path, &aside);
        let aside = kept.map_or_else(|error| format!("it stays there: {error}"), |()| aside.display().to_string());
        tracing::error!(
            path = %path.display(), problem, aside,
            "what was set and registered of endpoints cannot be read and is forgotten"
        );
        Entries::default()
    });
    entries.renew_all(0);
    entries
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut text = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() > MOST_BYTES {
        return Err(format!("it has more than {} KiB", MOST_BYTES / 1024));
    }
    Ok(Some(text))
}

fn parse(text: &[u8]) -> Result<Entries, String> {
    let found: Found = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if found.version != VERSION {
        return Err(format!("it is of version {}; this daemon knows version {VERSION}", found.version));
    }
    let whole = serde_json::json!({ "upstreams": found.upstreams });
    let entries: Entries = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    if entries.count() > MOST_ENTRIES {
        return Err(format!("it has more than {MOST_ENTRIES} entries"));
    }
    if !entries.is_sound() {
        return Err("an endpoint in it cannot be".to_owned());
    }
    Ok(entries)
}

/// Writes the file: on disk and safe from a power cut when this returns.
pub(super) fn save(path: &Path, entries: &Entries) -> Result<(), RegistryError> {
    let failed = |error: io::Error| RegistryError::Write { path: path.to_owned(), error };
    let mut text = serde_json::to_vec(&Written { version: VERSION, entries }).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    if text.len() > MOST_BYTES {
        return Err(RegistryError::TooLarge);
    }
    let unfinished = beside(path, "unfinished");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        failed(error)
    })
}

/// `registry.json.broken` beside `registry.json`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
