//! Upgrades that do not come about: the old process goes on, and says why.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::load::Load;
use tests::{Home, PATIENCE, Start, eventually};

use super::upgrade::{PLAIN, action, actions, all_answered, is_intact, own_binary, replace, rows};

#[test]
fn a_config_that_is_invalid_leaves_the_old_process() {
    let home = Home::default();
    let proxyd = Start::in_home(&home, PLAIN).run();
    let pid = proxyd.pid();
    proxyd.write_config("routes:\n  - {path: broken, nonsense: true}\n");
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let files = open();
    let error = proxyd.try_ask("upgrade", &json!({})).unwrap_err();
    assert_eq!(error["code"], "config_invalid", "{error}");
    assert!(error["problems"].as_array().is_some_and(|problems| problems.len() > 1), "{error}");
    proxyd.ctl(&["upgrade"]).exits(1).says(&["nonsense", "config.yaml:2"]);
    assert_eq!((proxyd.status()["pid"].as_i64(), proxyd.get("/").status), (Some(pid.as_raw().into()), 200));
    eventually("nothing of the attempts is left open", || (open() <= files).then_some(()));
    proxyd.reload_with(PLAIN);
    let done = actions(&proxyd);
    assert_eq!(
        done,
        [
            action("start", "done"),
            action("upgrade", "config_invalid"),
            action("upgrade", "config_invalid"),
            action("reload", "done")
        ]
    );
    is_intact(&proxyd);
}

#[test]
fn a_new_process_that_fails_at_the_last_step_gives_everything_back() {
    let home = Home::default();
    let mut proxyd = Start::in_home(&home, PLAIN).run();
    let load = Load::start(proxyd.address(), "/load", 2, "load");
    let file = home.write("file", "");
    proxyd.write_config(&format!("audit: {{path: {}/audit}}\n{PLAIN}", file.display()));
    for _ in 0..2 {
        let error = proxyd.try_ask("upgrade", &json!({})).unwrap_err();
        assert_eq!(error["code"], "failed", "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("audit store") && message.contains("the old one goes on"), "{message}");
        assert_eq!(proxyd.admin_get("/health/ready").status, 200);
        assert_eq!(home.read("data/lock").trim(), proxyd.pid().to_string());
    }
    // And then it goes well.
    proxyd.write_config(PLAIN);
    proxyd.ctl(&["upgrade"]).exits(0).says(&["serves", &proxyd.pid().to_string()]);
    let before = proxyd.follow();
    assert_eq!(home.read("data/lock").trim(), proxyd.pid().to_string());
    proxyd.wait_gone(before, PATIENCE);
    let tally = load.stop();
    all_answered(&tally);
    let proxyd = Start::in_home(&proxyd.stop(), PLAIN).run();
    is_intact(&proxyd);
    assert_eq!(rows(&proxyd, "/load"), (tally.answered(), tally.answered()));
    let failed = actions(&proxyd).into_iter().filter(|row| *row == action("upgrade", "failed")).count();
    assert_eq!(failed, 2);
}

#[test]
fn a_binary_that_does_not_start_leaves_the_old_process() {
    let home = Home::default();
    let binary = own_binary(&home);
    let mut proxyd = Start::in_home(&home, PLAIN).binary(&binary).run();
    let check = |text: &str, words: &[&str]| {
        replace(&binary, text);
        proxyd.ctl(&["upgrade"]).exits(1).says(words).says(&["old", "goes on"]);
        assert_eq!(proxyd.get("/").status, 200);
    };
    check("#!/bin/sh\necho no such library >&2\nexit 1\n", &["no such library", "exit status: 1"]);
    check("#!/bin/sh\nexit 0\n", &["exit status: 0"]);
    check("#!/bin/sh\necho '{\"fly\":{}}' >&0\nsleep 5\n", &["not understood"]);
    check("nothing that runs", &["bin-proxyd", "cannot be started"]);
    std::fs::remove_file(&binary).unwrap();
    proxyd.ctl(&["upgrade"]).exits(1).says(&["bin-proxyd", "No such file"]);
    is_intact(&proxyd);
    // The path is what counts: what lies there now is started.
    own_binary(&home);
    proxyd.ctl(&["upgrade"]).exits(0);
    let before = proxyd.follow();
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!(proxyd.get("/").status, 200);
}

#[test]
fn one_at_a_time_and_a_stop_ends_it() {
    let home = Home::default();
    let binary = own_binary(&home);
    let mut proxyd = Start::in_home(&home, PLAIN).binary(&binary).run();
    replace(&binary, "#!/bin/sh\necho $$ > started\nexec sleep 60\n");
    let mut first = proxyd.control();
    first.send("upgrade", &json!({}));
    let child: i32 = eventually("it is started", || home.read("started").trim().parse().ok());
    let error = proxyd.try_ask("upgrade", &json!({})).unwrap_err();
    assert_eq!(error["code"], "busy", "{error}");
    let refused = proxyd.try_ask("reload", &json!({"dry_run": true})).unwrap_err();
    assert_eq!(refused["code"], "busy", "the config stays as it is: {refused}");
    proxyd.signal(Signal::SIGTERM);
    let begun = Instant::now();
    assert_eq!(first.line().expect("an answer")["error"]["code"], "stopping");
    assert!(proxyd.wait_exit(PATIENCE).success(), "{}", proxyd.output());
    assert!(begun.elapsed() < Duration::from_secs(10));
    proxyd.wait_gone(nix::unistd::Pid::from_raw(child), PATIENCE);
    let proxyd = Start::in_home(&home, PLAIN).run();
    is_intact(&proxyd);
}

/// A new process as a script: it says what it is told to, and can do nothing of what it says.
fn pretender(last: &str) -> String {
    format!(
        "#!/bin/sh\ntrap 'echo told > stopped; exit 0' TERM\n\
         echo '{{\"prepared\":{{\"version\":\"9.9.9\"}}}}' >&0\n\
         while read -r line; do [ \"$line\" = '\"yours\"' ] && break; done\n\
         echo $$ > yours\n{last}\n"
    )
}

#[test]
fn a_stop_in_the_middle_reaches_whoever_serves_then() {
    let home = Home::default();
    let binary = own_binary(&home);
    let mut proxyd = Start::in_home(&home, PLAIN).binary(&binary).run();
    proxyd.get("/before");
    let wait = "while [ ! -e go ]; do sleep 0.05; done; echo '\"ready\"' >&0; while :; do sleep 0.05; done";
    replace(&binary, &pretender(wait));
    let mut control = proxyd.control();
    control.send("upgrade", &json!({}));
    let pid: i64 = eventually("the store is free", || home.read("yours").trim().parse().ok());
    proxyd.get("/while");
    proxyd.signal(Signal::SIGTERM);
    home.write("go", "");
    assert_eq!(control.line().expect("an answer")["ok"]["pid"], pid);
    eventually("it is passed on", || (home.read("stopped").trim() == "told").then_some(()));
    assert!(proxyd.wait_exit(PATIENCE).success(), "{}", proxyd.output());
    // The pretender took no rows: they are in the store all the same.
    let proxyd = Start::in_home(&home, PLAIN).run();
    is_intact(&proxyd);
    assert_eq!(proxyd.stream("audit", &json!({"kind": "requests"})).len(), 2);
    let done = actions(&proxyd);
    let expected = ["start", "upgrade", "shutdown", "stop", "start"];
    assert_eq!(done.iter().map(|(command, _)| command.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn a_new_process_that_ends_after_it_was_given_everything_changes_nothing() {
    let home = Home::default();
    let binary = own_binary(&home);
    let proxyd = Start::in_home(&home, PLAIN).binary(&binary).run();
    for last in ["echo a fault of ours >&2; exit 3", "kill -9 $$", "echo '{\"prepared\":{\"version\":\"9\"}}' >&0"] {
        replace(&binary, &pretender(last));
        let error = proxyd.try_ask("upgrade", &json!({})).unwrap_err();
        assert_eq!(error["code"], "failed", "{error}");
        assert_eq!(proxyd.get("/").status, 200);
        assert_eq!(proxyd.admin_get("/health/ready").status, 200);
    }
    assert!(home.read("stderr.log").contains("a fault of ours"), "{}", proxyd.output());
    let rows = proxyd.audit(&json!({"kind": "requests"}), 3);
    assert_eq!(rows.len(), 3);
    is_intact(&proxyd);
}
