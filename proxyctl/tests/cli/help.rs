//! What `--help` says, kept as it is; and the reference page, which must know of everything that can be typed.

use crate::fake::run_with;

/// Every subcommand, by what is typed.
const ALL: &[&str] = &[
    "",
    "status",
    "routes",
    "explain",
    "reload",
    "validate",
    "config",
    "config show",
    "config schema",
    "history",
    "rollback",
    "audit",
    "audit tail",
    "audit head",
    "audit verify",
    "upstreams",
    "upstreams register",
    "upstreams deregister",
    "upstreams drain",
    "upstreams ready",
    "upstreams down",
    "upstreams weight",
    "keys",
    "keys list",
    "keys create",
    "keys revoke",
    "keys rotate",
    "tokens",
    "tokens list",
    "tokens revoke",
    "users",
    "users list",
    "users add",
    "users set",
    "users password",
    "users remove",
    "bans",
    "bans list",
    "bans add",
    "bans lift",
    "limits",
    "limits top",
    "limits show",
    "limits reset",
    "log-level",
    "upgrade",
    "shutdown",
    "init",
    "doctor",
    "hash-password",
    "completions",
    "version",
];

fn help(words: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let args: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
    let run = run_with(&args, &[("COLUMNS", "100")], dir.path(), "");
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{words}");
    run.out
}

#[test]
fn help_is_as_it_was() {
    let pages: Vec<String> = ALL.iter().map(|words| format!("$ proxyctl {words} --help\n{}", help(words))).collect();
    insta::assert_snapshot!("help", pages.join("\n"));
}

#[test]
fn the_list_of_subcommands_is_whole() {
    for words in ALL {
        let page = help(words);
        let listed = page.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        for name in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = name.split_whitespace().next().unwrap();
            let whole = format!("{words} {name}").trim().to_owned();
            assert!(name == "help" || ALL.contains(&whole.as_str()), "{whole} is not in the list");
        }
    }
}

#[test]
fn the_reference_knows_every_subcommand_and_flag() {
    let page = include_str!("../../../docs/reference/cli.md");
    for words in ALL.iter().filter(|words| !words.is_empty()) {
        assert!(page.contains(&format!("`proxyctl {words}")), "docs/reference/cli.md says nothing of `{words}`");
        for word in help(words).split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2) {
            let flag = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(page.contains(flag), "docs/reference/cli.md says nothing of `{flag}` of `{words}`");
        }
    }
}
