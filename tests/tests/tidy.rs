//! Rules of the house that no compiler knows: who may call whom, how files look, what the dependencies are allowed to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::binaries::repository;

/// A file's lines past which it is two files.
const MOST_LINES: usize = 500;

/// proxyd's rooms from the door inwards: each may use those after it, never those before it. Rooms in one list are
/// neighbours that do not know each other.
const ORDER: &[&[&str]] = &[
    &["main"],
    &["boot"],
    &["upgrade"],
    &["demo"],
    &["control"],
    &["reload"],
    &["server"],
    &["proxy"],
    &["health"],
    &["worker"],
    &["daemon"],
    &["snapshot"],
    &["filter", "upstream"],
    &["identity"],
    &["exchange"],
    &["outside", "fleet", "registry"],
    &["tls"],
    &["telemetry", "audit"],
    &["lock"],
    &["threads", "inherited"],
];

const BANNED_NAMES: &[&str] = &[
    "manager", "managers", "helper", "helpers", "util", "utils", "common", "handler", "handlers", "base", "data",
    "info", "context", "misc", "inner",
];

/// What the dependencies may be licensed under: permissive all of them.
const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "0BSD",
    "CDLA-Permissive-2.0",
    "OpenSSL",
];

struct Source {
    /// From the repository's top.
    name: String,
    text: String,
}

impl Source {
    /// Whether it is a test's own file, not part of what is shipped.
    fn is_test(&self) -> bool {
        self.name.starts_with("tests/") || self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }

    /// The text without a unit test module at its end.
    fn shipped(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default()
    }
}

fn files(ending: &str) -> Vec<Source> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "data" | "node_modules") {
                    walk(&path, ending, found);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&repository(), ending, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            name: path.strip_prefix(repository()).expect("it is in the repository").display().to_string(),
            text: std::fs::read_to_string(&path).expect("a source is UTF-8"),
        })
        .collect()
}

/// Fails with every complaint at once.
#[allow(clippy::needless_pass_by_value, reason = "whoever complains is done with it")]
fn none(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

/// `a::{b, c::{d}}` after `crate::`: the first names used.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = text.get(at + "crate::".len()..).unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0_u32;
            let mut word = String::new();
            let mut first = true;
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        if !word.is_empty() {
                            found.insert(std::mem::take(&mut word));
                        }
                        first = true;
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 && first {
                    if is_name(c) {
                        word.push(c);
                    } else if !word.is_empty() {
                        found.insert(std::mem::take(&mut word));
                        first = false;
                    }
                }
            }
            if !word.is_empty() {
                found.insert(word);
            }
        } else {
            found.insert(rest.chars().take_while(|c| is_name(*c)).collect());
        }
    }
    found
}

#[test]
fn rooms_are_read_from_use_lines() {
    let text = "use crate::a::b; use crate::{c, d::{e, f}, g}; crate::h::i()";
    assert_eq!(rooms_used(text), ["a", "c", "d", "g", "h"].map(str::to_owned).into());
}

#[test]
fn no_room_of_proxyd_calls_up() {
    let level: BTreeMap<&str, usize> =
        ORDER.iter().enumerate().flat_map(|(level, rooms)| rooms.iter().map(move |room| (*room, level))).collect();
    let mut complaints = Vec::new();
    for file in files(".rs") {
        let Some(inside) = file.name.strip_prefix("proxyd/src/") else { continue };
        if file.is_test() {
            continue;
        }
        let room = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        let Some(here) = level.get(room) else {
            complaints.push(format!("{}: the room `{room}` has no place in the order", file.name));
            continue;
        };
        for used in rooms_used(file.shipped()) {
            match level.get(used.as_str()) {
                Some(there) if used != room && there <= here => {
                    complaints.push(format!("{}: `{room}` uses `{used}`, which is not further in", file.name));
                }
                _ => {}
            }
        }
    }
    none("dependencies point one way (ARCHITECTURE.md)", complaints);
}

#[test]
fn shared_is_pure() {
    let mut complaints = Vec::new();
    for file in files(".rs").iter().filter(|file| file.name.starts_with("shared/src/") && !file.is_test()) {
        let text = file.shipped();
        for (word, why) in [
            ("tokio", "no runtime"),
            ("hyper", "no HTTP engine"),
            ("std::net::Tcp", "no sockets"),
            ("SystemTime::now", "no clock"),
            ("Instant::now", "no clock"),
            ("getrandom", "no randomness"),
        ] {
            let uses = text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(word));
            if uses {
                complaints.push(format!("{}: {why}, but it names {word}", file.name));
            }
        }
        if text.contains("std::fs") && file.name != "shared/src/config/source.rs" {
            complaints.push(format!("{}: only config/source.rs reads files", file.name));
        }
    }
    none("shared has no runtime, no socket, no clock, no randomness", complaints);
}

#[test]
fn only_one_file_stores_a_snapshot_and_only_workers_start_threads() {
    let mut complaints = Vec::new();
    for file in files(".rs").iter().filter(|file| file.name.starts_with("proxyd/src/") && !file.is_test()) {
        let text = file.shipped();
        if text.contains("rt::Builder") && !file.name.starts_with("proxyd/src/worker") {
            complaints.push(format!("{}: only worker.rs makes a runtime", file.name));
        }
    }
    none("runtimes are made in one place", complaints);
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    let mut complaints = Vec::new();
    for file in files(".rs") {
        if !file.text.starts_with("//! ") {
            complaints.push(format!("{}: opens without saying its role (`//! …`)", file.name));
        }
        let lines = file.shipped().lines().count();
        if !file.is_test() && lines > MOST_LINES {
            complaints.push(format!("{}: {lines} lines; past {MOST_LINES} it is two files", file.name));
        }
        let stem = Path::new(&file.name).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if BANNED_NAMES.contains(&stem) {
            complaints.push(format!("{}: `{stem}` says nothing; name what it holds", file.name));
        }
        for line in file.text.lines() {
            let name = line.trim().trim_start_matches("pub ").strip_prefix("mod ").unwrap_or_default();
            let name = name.trim_end_matches([';', ' ', '{']);
            if BANNED_NAMES.contains(&name) {
                complaints.push(format!("{}: `mod {name}` says nothing; name what it holds", file.name));
            }
        }
    }
    none("files", complaints);
}

#[test]
fn nothing_is_left_undone_or_unseen() {
    // Written in pieces, so that this file does not find itself.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
    ];
    let mut complaints = Vec::new();
    for file in files(".rs") {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{}: {word}", file.name, number + 1));
            }
        }
    }
    none("no stubs, no skipped tests", complaints);
}

#[test]
fn every_command_is_documented() {
    let reference: String = files(".md")
        .iter()
        .filter(|file| file.name.starts_with("docs/reference/"))
        .map(|file| file.text.as_str())
        .collect();
    let control = std::fs::read_to_string(repository().join("shared/src/control/mod.rs")).unwrap();
    let list = control.split("NAMES: &'static [&'static str] = &[").nth(1).expect("the list of names is there");
    let list = list.split("];").next().unwrap_or_default();
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 10, "{names:?}");
    let missing = names.iter().filter(|name| !reference.contains(&format!("`{name}`"))).map(|name| format!("`{name}`"));
    none("commands without a word in docs/reference", missing.collect());
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut complaints = Vec::new();
    for file in files(".md") {
        let folder = repository().join(&file.name).parent().expect("a file lies in a folder").to_path_buf();
        let mut code = false;
        for line in file.text.lines() {
            if line.trim_start().starts_with("```") {
                code = !code;
            }
            if code {
                continue;
            }
            for part in line.split("](").skip(1) {
                let target = part.split(')').next().unwrap_or_default();
                let path = target.split('#').next().unwrap_or_default();
                if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                if !folder.join(path).exists() {
                    complaints.push(format!("{}: {target}", file.name));
                }
            }
        }
    }
    none("links to nowhere", complaints);
}

fn cargo(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO")).args(args).current_dir(repository()).output().expect("cargo runs");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    // Other platforms' crates were never fetched here.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let (done, stdout, stderr) =
        cargo(&["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &platform]);
    assert!(done, "{stderr}");
    let metadata: Value = serde_json::from_str(&stdout).unwrap();
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or_default();
        // Of alternatives one is enough, of conditions all are needed.
        let fits = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            let choice = choice.trim().trim_matches(['(', ')']);
            !choice.is_empty()
                && choice.split(" AND ").all(|word| LICENCES.contains(&word.trim().trim_matches(['(', ')'])))
        });
        if !fits {
            complaints.push(format!("{} {}: {licence:?}", package["name"], package["version"]));
        }
    }
    none("licences", complaints);
}

#[test]
fn the_cryptography_is_one_and_duplicates_are_known() {
    let (_, tree, _) =
        cargo(&["tree", "--workspace", "--locked", "--offline", "--prefix", "none", "--edges", "normal,build"]);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    assert!(versions.contains_key("hyper"), "cargo tree says nothing: {tree}");
    assert!(!versions.contains_key("ring"), "ring has come in beside aws-lc-rs: cargo tree -i ring");
    assert!(!versions.contains_key("openssl-sys"), "OpenSSL has come in: cargo tree -i openssl-sys");
    let twice: BTreeSet<String> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| format!("{name} {}", versions.iter().copied().collect::<Vec<_>>().join(" ")))
        .collect();
    let known = std::fs::read_to_string(repository().join("tests/fixtures/duplicates.txt")).unwrap();
    let known: BTreeSet<String> =
        known.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect();
    assert_eq!(twice, known, "crates that come in more than one version; the list is tests/fixtures/duplicates.txt");
}
