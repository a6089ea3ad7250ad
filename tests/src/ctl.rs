//! Runs `proxyctl` as a shell would, and keeps what it said.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::binaries;

/// What a finished process left.
#[derive(Clone, Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails the test unless it exited with this code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\nstderr: {}", self.stdout, self.stderr))
    }

    /// Its output as JSON lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}")))
            .collect()
    }

    /// Fails the test unless all of these are somewhere in what it wrote, on either stream.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.stdout.contains(word) || self.stderr.contains(word),
                "{word:?} is missing\nstdout: {}\nstderr: {}",
                self.stdout,
                self.stderr
            );
        }
        self
    }
}

/// A `proxyctl` command in this folder that sees nothing of the surrounding environment's proxyd.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binaries::path("proxyctl"));
    command.args(args).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PROXY") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("TZ", "UTC").env("COLUMNS", "160");
    command
}

/// Runs `proxyctl` in this folder, to its end.
#[track_caller]
pub fn proxyctl(folder: &Path, args: &[&str]) -> Ran {
    finish(&mut command(folder, args))
}

/// Runs a command to its end.
#[track_caller]
pub fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("the binary can be started");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
