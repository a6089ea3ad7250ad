//! Where the binaries under test are: beside the test binary that runs. `./check` builds them first.

use std::path::PathBuf;

/// The path of a built binary of the workspace, `proxyd` or `proxyctl`.
pub fn path(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test knows where it is");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let binary = folder.join(name);
    assert!(binary.is_file(), "{} is missing: run `cargo build --workspace` first, or ./check", binary.display());
    binary
}

/// The repository's top folder.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_path_buf()
}
