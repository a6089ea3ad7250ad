//! A fuzz target over its corpus in `fuzz/corpus`, as it is and changed: some thousand times, and with `FULL` set for half a
//! minute.

use std::path::Path;
use std::time::{Duration, Instant};

use super::mutation::{Random, mutate};

/// Changed inputs in a usual run.
const CHANGED: usize = 4000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Fails for the first input that `target` panics on.
pub(super) fn run(name: &str, target: fn(&[u8]), pieces: &[&[u8]]) {
    let seeds = corpus(name);
    let try_it = |bytes: &[u8]| {
        let held = std::panic::catch_unwind(|| target(bytes)).is_ok();
        assert!(held, "{name} fails for: {}", bytes.escape_ascii());
    };
    for seed in &seeds {
        try_it(seed);
    }
    let full = std::env::var_os("FULL").is_some();
    let end = Instant::now() + Duration::from_secs(30);
    let mut random = Random::new(0x7072_6f78_7964);
    let mut count = 0;
    while if full { Instant::now() < end } else { count < CHANGED } {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = &seeds[random.below(seeds.len())];
        mutate(&mut bytes, other, pieces, &mut random);
        try_it(&bytes);
        count += 1;
    }
}
