//! What holds over a restart, beside another process, and where the disk takes nothing.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use directory::NewUser;

use super::*;
use crate::exchange::Denial;
use crate::identity::bans::Terms;

fn open(folder: &Path, now_s: i64) -> Arc<State> {
    State::open(folder, now_s).unwrap()
}

fn key(name: &str) -> NewKey {
    NewKey { name: name.into(), by: "test".into(), ..NewKey::default() }
}

fn row(jti: &str) -> RevokedRow {
    RevokedRow { provider: "*".into(), jti: jti.into(), expires_s: 1000, revoked_s: 0, by: "test".into() }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("identity.db"), "x".repeat(5000)).unwrap();
    let error = State::open(folder.path(), 0).unwrap_err().to_string();
    assert!(error.contains("identity.db is not an SQLite database"), "{error}");
}

#[test]
fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let banned: IpAddr = "192.0.2.1".parse().unwrap();
    let state = open(folder.path(), 0);
    let (_, text) = state.key_create(key("a"), 0).unwrap();
    let (_, gone) = state.key_create(key("b"), 0).unwrap();
    state.key_revoke("b", 0).unwrap();
    state.token_revoke(&row("a")).unwrap();
    state.ban(banned.into(), 100, "by hand", "test", 0).unwrap();
    state.keys.find(text.reveal().as_bytes(), 50).unwrap();
    assert_eq!(state.key_rows().unwrap()[0].used_s.max(state.key_rows().unwrap()[1].used_s), Some(50));
    state.tick(true, 51).unwrap();
    let kept = (*state.session_key(), *state.accounts_key(), state.mint.jwks().to_owned());
    drop(state);
    for name in ["session.key", "accounts.key", "signing.key", "identity.db"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let state = open(folder.path(), 60);
    assert_eq!((*state.session_key(), *state.accounts_key(), state.mint.jwks().to_owned()), kept);
    assert_ne!(kept.0, kept.1);
    let found = state.keys.find(text.reveal().as_bytes(), 40).unwrap();
    assert_eq!((&*found.name, found.used_s()), ("a", Some(50)));
    assert_eq!(state.keys.find(gone.reveal().as_bytes(), 60).unwrap_err(), Denial::KeyRevoked);
    assert!(state.revoked.is_revoked("jwt.main", "a"));
    assert_eq!(state.bans.check(banned, 60), Some(100));
    assert!(state.ban_lift(banned.into()).unwrap() && !state.ban_lift(banned.into()).unwrap());
    assert_eq!(open(folder.path(), 60).bans.check(banned, 60), None);
    assert_eq!(format!("{state:?}"), "State { .. }");
}

#[test]
fn another_process_is_heard_of_and_nothing_of_its_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (open(folder.path(), 0), open(folder.path(), 0));
    let (made, text) = old.key_create(key("a"), 0).unwrap();
    let presented = text.reveal().as_bytes();
    assert!(new.keys.find(presented, 1).is_err());
    new.tick(false, 1).unwrap();
    new.keys.find(presented, 70).unwrap();
    old.keys.find(presented, 65).unwrap();
    new.tick(true, 71).unwrap();
    // The one that ends writes last, and nothing goes back.
    old.tick(true, 71).unwrap();
    assert_eq!(new.directory(|directory| directory.key(&made.id, 71)).unwrap().used_s, Some(70));
    new.key_revoke("a", 72).unwrap();
    new.token_revoke(&row("b")).unwrap();
    new.ban("198.51.100.0/24".parse().unwrap(), 1000, "by hand", "test", 72).unwrap();
    old.reload(72).unwrap();
    assert_eq!(old.keys.find(presented, 72).unwrap_err(), Denial::KeyRevoked);
    assert!(old.revoked.is_revoked("x", "b"));
    assert_eq!(old.bans.check("198.51.100.7".parse().unwrap(), 72), Some(1000));
}

#[test]
fn a_ban_that_was_earned_is_kept_unless_it_was_lifted_first() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path(), 0);
    let config = shared::config::Bans {
        refusals: 1,
        within: std::time::Duration::from_mins(1),
        lasts: std::time::Duration::from_mins(1),
        longest: std::time::Duration::from_mins(1),
        on: vec!["x".into()],
        exempt: Vec::new(),
        ipv6_prefix: 64,
    };
    let terms = Terms { bans: Some(&config), trusted_proxies: &[] };
    let earn = |address: &str| state.bans.note(address.parse().unwrap(), "x", &terms, 0).unwrap();
    let (kept, lifted) = (earn("192.0.2.1"), earn("192.0.2.2"));
    assert!(state.ban_lift("192.0.2.2/32".parse().unwrap()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        state.keep_ban(lifted);
        state.keep_ban(kept.clone());
    });
    // Waits for what was begun.
    drop(runtime);
    assert_eq!(state.directory(|directory| directory.bans(0)).unwrap(), [kept.row]);
    state.reload(0).unwrap();
    assert_eq!(state.bans.active(), 1);
}

#[test]
fn a_revoked_token_holds_though_the_disk_does_not_take_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path(), 0);
    let locked = |now: bool| state.directory(|directory| directory.refuse_writes(now)).unwrap();
    locked(true);
    state.token_revoke(&row("a")).unwrap_err();
    assert!(state.revoked.is_revoked("jwt.main", "a") && state.revoked.is_unkept("*", "a"));
    // Neither what is on disk nor a sweep makes it good again.
    state.reload(1).unwrap();
    state.tick(false, 1).unwrap_err();
    assert!(state.revoked.is_revoked("jwt.main", "a"));
    state.token_revoke(&RevokedRow { jti: "x".repeat(257), ..row("") }).unwrap_err();
    assert_eq!(state.revoked.len(), 1, "nobody takes such a token");
    locked(false);
    state.tick(true, 2).unwrap();
    assert!(!state.revoked.is_unkept("*", "a"));
    drop(state);
    assert!(open(folder.path(), 3).revoked.is_revoked("jwt.main", "a"));
}

#[test]
fn what_has_expired_is_swept() {
    let state = State::in_memory();
    state.token_revoke(&row("a")).unwrap();
    state.tick(false, 999).unwrap();
    assert_eq!(state.revoked.len(), 1);
    // Once a minute.
    state.tick(false, 1000).unwrap();
    assert_eq!(state.revoked.len(), 1);
    state.tick(false, 1059).unwrap();
    assert_eq!((state.revoked.len(), state.directory(|d| d.revoked(0)).unwrap().len()), (0, 0));
    let new = NewUser { name: "ann".into(), lapses_s: Some(2000), ..NewUser::default() };
    let ann = state.directory(|directory| directory.user_add(new, 1100)).unwrap();
    state.standing.note(&ann);
    state.tick(false, 1999).unwrap();
    assert!(state.standing.holds(&ann.id, 0));
    state.tick(false, 2059).unwrap();
    assert!(!state.standing.holds(&ann.id, 0));
}

#[test]
fn what_one_step_cannot_do_keeps_none_of_the_others_from_it() {
    let state = State::in_memory();
    let (_, text) = state.key_create(key("a"), 0).unwrap();
    state.token_revoke(&row("a")).unwrap();
    state.keys.find(text.reveal().as_bytes(), 2000).unwrap();
    state.directory(|directory| directory.refuse_writes(true)).unwrap();
    state.tick(false, 2000).unwrap_err();
    assert_eq!(state.revoked.len(), 0, "swept, though no last use could be written");
    state.directory(|directory| directory.refuse_writes(false)).unwrap();
    state.tick(false, 2010).unwrap();
    let kept = state.directory(|directory| directory.keys()).unwrap();
    assert_eq!(kept[0].used_s, Some(2000), "the use was not lost, nor did it wait for another minute");
}

#[test]
fn all_that_waits_for_the_disk_is_written_once_it_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(folder.path(), 0);
    for number in 0..2_500 {
        assert!(state.revoked.hold(&row(&number.to_string())));
    }
    state.tick(true, 1).unwrap();
    assert!(state.revoked.unkept(1).is_empty());
    drop(state);
    assert_eq!(open(folder.path(), 1).revoked.len(), 2_500);
}
