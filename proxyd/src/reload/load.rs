//! Reads and checks a config, and notes what its references stood for, so that the same text with another secret is not
//! taken for the same config.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use shared::config::identity::JwtKeys;
use shared::config::problem::{Code, Severity};
use shared::config::source::{Resolver, System};
use shared::config::{Checked, Config, Input, Problems, References, Remark, Sources, load};

use crate::daemon::ConfigSource;
use crate::identity::{Around, Identities, IdentityError, password};
use crate::tls::{Material, TlsError};

/// What runs where no config is named and there is none in the working directory.
const BUILT_IN: &str = include_str!("../../../config.yaml");

/// A config that was read and found good.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As typed.
    pub input: Input,
    pub checked: Checked,
    /// Of everything that its references stood for.
    pub meaning: [u8; 32],
    /// The certificates and keys that it names, read.
    pub tls: Material,
}

impl Loaded {
    /// Whether it says and means the same.
    #[must_use]
    pub fn is_same(&self, hash: &str, meaning: &[u8; 32]) -> bool {
        &*self.checked.hash == hash && self.meaning == *meaning
    }
}

/// Reads what the daemon was started with, or `config` in its place with the same overlay and `--set`. Blocks.
///
/// # Errors
/// Every mistake in every source.
pub fn read(source: &ConfigSource, config: Option<PathBuf>) -> Result<Loaded, Problems> {
    check(read_input(source, config)?)
}

/// The texts alone. Blocks.
///
/// # Errors
/// Files that cannot be read.
pub fn read_input(source: &ConfigSource, config: Option<PathBuf>) -> Result<Input, Problems> {
    match (source, config) {
        (ConfigSource::Files(sources), None) => Input::read(sources, environment()),
        (ConfigSource::Files(sources), Some(config)) => {
            Input::read(&Sources { config, ..sources.clone() }, environment())
        }
        (ConfigSource::BuiltIn, Some(config)) => Input::read(&Sources { config, ..Sources::default() }, environment()),
        (ConfigSource::BuiltIn, None) => Ok(under_today(Input::text("built-in", BUILT_IN), &Sources::default())),
    }
}

/// Kept texts under today's environment and command line.
#[must_use]
pub fn under_today(kept: Input, sources: &Sources) -> Input {
    let mut environment: Vec<_> = environment().filter(|(name, _)| name.starts_with("PROXYD__")).collect();
    environment.sort();
    Input { environment, set: sources.set.clone(), ..kept }
}

/// Checks texts that were read. Blocks: references to files are resolved.
///
/// # Errors
/// Every mistake.
pub fn check(input: Input) -> Result<Loaded, Problems> {
    let resolver = Noting { seen: RefCell::new(Sha256::new()) };
    let checked = load(&input, &References::Resolve(&resolver))?;
    note_keys(&checked.config, &resolver);
    let tls = Material::load(&checked.config)
        .map_err(|errors| Problems(checked.locate(errors.into_iter().map(remark).collect())))?;
    Ok(Loaded { input, checked, meaning: resolver.seen.into_inner().finalize().into(), tls })
}

/// Who recognises by a config; reads the files that `identity` names. Blocks.
///
/// # Errors
/// Every one that cannot be used.
pub fn identities(checked: &Checked, around: Around<'_>) -> Result<Arc<Identities>, Problems> {
    let remark = |error: IdentityError| Remark {
        severity: Severity::Error,
        code: Code::Unreadable,
        file: error.path.unwrap_or_else(|| error.keys.join(".").into()),
        keys: error.keys,
        message: error.what,
        hint: None,
    };
    Identities::compile(&checked.config, around)
        .map_err(|errors| Problems(checked.locate(errors.into_iter().map(remark).collect())))
}

/// Notes what stands in the key files that `identity` names: with other keys a config is another.
fn note_keys(config: &Config, resolver: &Noting) {
    for jwt in &config.identity.jwt {
        if let JwtKeys::Pem(path) | JwtKeys::JwksFile(path) = &jwt.keys {
            // One that cannot be read is told when it is to be used.
            let text = std::fs::read_to_string(path).ok();
            resolver.note("keys", path.as_os_str().as_encoded_bytes(), text.as_deref());
        }
    }
    if let Some(path) = config.identity.basic.as_ref().and_then(|basic| basic.users_file.as_deref()) {
        // Users that come and go are taken up without a reload. A file that cannot be used is no config that could be in force.
        resolver.note("users_file", path.as_os_str().as_encoded_bytes(), password::htpasswd::problem(path).as_deref());
    }
    for path in &config.identity.signing_keys {
        // Some are not text.
        let key = std::fs::read(path).map(|key| String::from_utf8_lossy(&key).into_owned()).ok();
        resolver.note("signing_keys", path.as_os_str().as_encoded_bytes(), key.as_deref());
    }
}

/// A file that cannot be used, as a mistake of the config that names it.
fn remark(error: TlsError) -> Remark {
    Remark {
        severity: Severity::Error,
        code: Code::Unreadable,
        keys: error.keys,
        file: error.path,
        message: error.what,
        hint: None,
    }
}

/// Variables whose name or value is not UTF-8 cannot be meant.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Looks up in this process's environment and files, and notes what was found.
struct Noting {
    seen: RefCell<Sha256>,
}

impl Noting {
    fn note(&self, kind: &str, name: &[u8], value: Option<&str>) {
        let mut seen = self.seen.borrow_mut();
        for part in [kind.as_bytes(), name, value.unwrap_or_default().as_bytes()] {
            seen.update((part.len() as u64).to_le_bytes());
            seen.update(part);
        }
    }
}

impl Resolver for Noting {
    fn env(&self, name: &str) -> Option<String> {
        let value = System.env(name);
        self.note("env", name.as_bytes(), value.as_deref());
        value
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        let value = System.file(path);
        self.note("file", path.as_os_str().as_encoded_bytes(), value.as_deref().ok());
        value
    }
}

/// What the sources are called.
#[must_use]
pub fn name(source: &ConfigSource) -> Arc<str> {
    match source {
        ConfigSource::BuiltIn => "built-in".into(),
        ConfigSource::Files(sources) => sources.config.to_string_lossy().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_users_that_cannot_be_used_is_another_config() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let meaning = |users: &str| {
            std::fs::write(&path, users).unwrap();
            let text = format!(
                "identity: {{basic: {{users_file: '{}'}}}}\nroutes: [{{path: /, respond: {{status: 200}}}}]\n",
                path.display()
            );
            check(Input::text("t.yaml", &text)).unwrap().meaning
        };
        let hash = bcrypt::hash("secret", 4).unwrap();
        let good = meaning(&format!("ann:{hash}\n"));
        // Those are taken up without a reload.
        assert_eq!(meaning(&format!("ann:{hash}\nbob:{hash}\n")), good);
        assert_ne!(meaning("ann:$apr1$x$y\n"), good);
    }
}
