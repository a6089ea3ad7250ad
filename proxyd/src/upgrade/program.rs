//! What this process was started as, so that the binary that is there by then can be started in the same way.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
}

impl Program {
    /// To be asked for at the start: later the file may be another one, and the system calls ours deleted.
    ///
    /// # Errors
    /// The system does not say what was started.
    pub fn of_this_process() -> std::io::Result<Self> {
        let binary = std::env::current_exe()?;
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_default();
        let path = as_typed(&name, std::env::var_os("PATH").as_deref(), &binary).unwrap_or(binary);
        Ok(Self { path, args: args.collect() })
    }
}

/// The path by which the binary was found, links in it left as they are: what an installation changes is often the link.
fn as_typed(name: &OsStr, search: Option<&OsStr>, binary: &Path) -> Option<PathBuf> {
    let is_it = |path: &PathBuf| identity(path).is_some_and(|found| identity(binary) == Some(found));
    let typed = Path::new(name);
    if typed.components().count() > 1 {
        return std::path::absolute(typed).ok().filter(is_it);
    }
    std::env::split_paths(search?).map(|folder| folder.join(typed)).find(|path| path.is_absolute() && is_it(path))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_one_that_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("proxyd-1"), "").unwrap();
        fs::write(at("other"), "").unwrap();
        std::os::unix::fs::symlink(at("proxyd-1"), at("proxyd")).unwrap();
        let binary = at("proxyd-1");
        let path = folder.path().as_os_str();
        assert_eq!(as_typed(at("proxyd").as_os_str(), None, &binary), Some(at("proxyd")));
        assert_eq!(as_typed(OsStr::new("proxyd"), Some(path), &binary), Some(at("proxyd")));
        assert_eq!(as_typed(at("other").as_os_str(), None, &binary), None);
        assert_eq!(as_typed(OsStr::new("other"), Some(path), &binary), None);
        assert_eq!(as_typed(OsStr::new(""), None, &binary), None);
    }
}
