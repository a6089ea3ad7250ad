//! The file from outside: who may open it, and what it outlives.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

mod accounts;

/// Makes a file what version 1 had made of it.
const BACK_TO_1: &str = "DROP TABLE lapses; ALTER TABLE sessions DROP COLUMN seen_s; PRAGMA user_version = 1";

fn key(name: &str) -> NewKey {
    NewKey { name: name.into(), by: "test".into(), ..NewKey::default() }
}

fn user(directory: &mut Directory, name: &str) -> UserRow {
    directory.user_add(NewUser { name: name.into(), ..NewUser::default() }, 0).unwrap()
}

fn spend(directory: &mut Directory, hash: &[u8; 32], now_s: i64) -> Result<RefreshUse, DirectoryError> {
    directory.write(|tx| refresh::spend(tx, hash, now_s))
}

/// Whatever happened, as one word.
fn word<T>(result: Result<T, DirectoryError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(DirectoryError::Taken { .. }) => "taken",
        Err(DirectoryError::Unknown { .. }) => "unknown",
        Err(DirectoryError::Changed { .. }) => "changed",
        Err(DirectoryError::Invalid { .. }) => "invalid",
        Err(DirectoryError::Ambiguous { .. }) => "ambiguous",
        Err(DirectoryError::Ended { .. }) => "ended",
        Err(DirectoryError::Full { .. }) => "full",
        Err(DirectoryError::NotSqlite { .. }) => "not SQLite",
        Err(DirectoryError::Foreign { .. }) => "foreign",
        Err(DirectoryError::Newer { .. }) => "newer",
        Err(DirectoryError::Damaged { .. }) => "damaged",
        Err(DirectoryError::Io { .. }) => "io",
        Err(error @ (DirectoryError::Sqlite { .. } | DirectoryError::Randomness(_))) => panic!("{error}"),
    }
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    let check = |make: &dyn Fn(&Path), expected: &str| {
        let _ = std::fs::remove_file(&path);
        make(&path);
        let before = std::fs::read(&path).ok();
        let opened = Directory::open(&path);
        if let Err(error) = &opened {
            assert!(error.to_string().contains("identity.db"), "{error}");
            assert_eq!(std::fs::read(&path).ok(), before, "{expected}");
        }
        assert_eq!(word(opened), expected);
    };
    let sql = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    check(&|path| std::fs::write(path, vec![b'x'; 5000]).unwrap(), "not SQLite");
    check(&|path| sql(path, "CREATE TABLE mine (a)"), "foreign");
    check(&|path| sql(path, "PRAGMA application_id = 7; CREATE TABLE mine (a)"), "foreign");
    check(
        &|path| {
            drop(Directory::open(path).unwrap());
            sql(path, "PRAGMA user_version = 1000; PRAGMA wal_checkpoint(TRUNCATE)");
        },
        "newer",
    );
    check(&|path| std::fs::write(path, "").unwrap(), "ok");
    check(&|_| {}, "ok");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(word(Directory::open(folder.path().join("missing/identity.db"))), "io");
}

#[test]
fn rows_that_were_tampered_with_are_errors() {
    let mut directory = Directory::open_in_memory().unwrap();
    directory.key_create(key("a"), 0).unwrap();
    directory.conn.execute_batch("UPDATE api_keys SET roles = 'admin'").unwrap();
    assert_eq!(word(directory.keys()), "damaged");
    let too_short = directory.conn.execute_batch("UPDATE api_keys SET hash = x'00'");
    assert!(too_short.is_err());
}

#[test]
fn many_open_it_at_once_and_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let mut directory = Directory::open(path).unwrap();
                for turn in 0..5 {
                    directory.key_create(key(&format!("{number}-{turn}")), 0).unwrap();
                }
            });
        }
    });
    let (mut one, mut other) = (Directory::open(&path).unwrap(), Directory::open(&path).unwrap());
    assert_eq!(one.keys().unwrap().len(), 40);
    one.changed_elsewhere().unwrap();
    let id = one.keys().unwrap()[0].id.clone();
    one.keys_used(&[(id.clone(), 9), ("gone".into(), 9)]).unwrap();
    assert!(!one.changed_elsewhere().unwrap());
    assert!(other.changed_elsewhere().unwrap() && !other.changed_elsewhere().unwrap());
    // Never back.
    other.keys_used(&[(id.clone(), 7)]).unwrap();
    other.key_create(key("late"), 0).unwrap();
    assert!(one.changed_elsewhere().unwrap());
    assert_eq!(one.key(&id, 0).unwrap().used_s, Some(9));
}

#[test]
fn what_was_said_to_be_written_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    let mut directory = Directory::open(&path).unwrap();
    let (row, _) = directory.key_create(key("a"), 0).unwrap();
    // As a killed process leaves it: nothing is closed.
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    std::fs::copy(folder.path().join("identity.db-wal"), folder.path().join("copy.db-wal")).unwrap();
    assert_eq!(Directory::open(&copy).unwrap().keys().unwrap(), [row]);
}

#[test]
fn what_a_key_may_be() {
    let mut directory = Directory::open_in_memory().unwrap();
    let mut check = |new: NewKey, expected: &str| {
        let said = format!("{new:?}");
        assert_eq!(word(directory.key_create(new, 100)), expected, "{said}");
    };
    let long = "x".repeat(129);
    for name in ["", " a", "a\n", long.as_str(), "0123456789abcdef", "pk_abcdefgh"] {
        check(key(name), "invalid");
    }
    let scopes =
        |scopes: &[&str]| NewKey { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(), ..key("s") };
    check(scopes(&["read users"]), "invalid");
    check(scopes(&["é"]), "invalid");
    check(scopes(&[""]), "invalid");
    check(scopes(&["a"; 65]), "invalid");
    check(NewKey { roles: vec!["a,b".into()], ..key("r") }, "invalid");
    check(NewKey { limit: Some((0, 1)), ..key("l") }, "invalid");
    check(NewKey { limit: Some((1, u64::MAX)), ..key("l") }, "invalid");
    check(NewKey { expires_s: Some(100), ..key("e") }, "invalid");
    check(NewKey { by: String::new(), ..key("b") }, "invalid");
    check(NewKey { scopes: vec!["read:users".into(); 64], limit: Some((5, 60)), ..key("Café") }, "ok");
    check(key("CAFÉ"), "taken");
    check(NewKey { expires_s: Some(101), ..key("short") }, "ok");
    check(key("short"), "taken");
    assert_eq!(word(directory.key_create(key("short"), 101)), "ok");
}

#[test]
fn keys_are_found_rotated_and_ended() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (made, text) = directory.key_create(NewKey { user: Some("ann".into()), ..key("Agent") }, 1).unwrap();
    assert_eq!((text.reveal().len(), digest(text.reveal().as_bytes())), (TEXT_BYTES, made.hash));
    assert_eq!(prefix_of(text.reveal().as_bytes()), Some(made.prefix.as_str()));
    for which in [made.id.as_str(), "aGENT", made.prefix.as_str()] {
        assert_eq!(directory.key(which, 1).unwrap(), made);
    }
    assert_eq!(word(directory.key("nobody", 1)), "unknown");

    let (rotated, next) = directory.key_rotate("agent", 60, 10).unwrap();
    let earlier = Earlier { prefix: made.prefix.clone(), hash: made.hash, until_s: 70 };
    assert_eq!((&rotated.id, &rotated.earlier), (&made.id, &Some(earlier)));
    assert_eq!(rotated.hash, digest(next.reveal().as_bytes()));
    // Both prefixes mean it.
    assert_eq!(directory.key(&made.prefix, 10).unwrap(), directory.key(&rotated.prefix, 10).unwrap());
    // The text before the last but one is gone.
    let (again, _) = directory.key_rotate("agent", 60, 20).unwrap();
    assert_eq!(again.earlier.unwrap().prefix, rotated.prefix);
    assert_eq!(word(directory.key(&made.prefix, 20)), "unknown");
    assert_eq!(directory.key_rotate("agent", 0, 30).unwrap().0.earlier, None);
    assert_eq!(word(directory.key_rotate("agent", 91 * 86_400, 30)), "invalid");

    assert_eq!(directory.key_revoke("agent", 40).unwrap().revoked_s, Some(40));
    assert_eq!(directory.key_revoke("agent", 50).unwrap().revoked_s, Some(40));
    assert_eq!(word(directory.key_rotate("agent", 1, 50)), "ended");
    // The name is free again, and means the new one.
    let (second, _) = directory.key_create(key("agent"), 60).unwrap();
    assert_eq!(directory.key("agent", 60).unwrap().id, second.id);

    // Two with one prefix: each has its id.
    directory.conn.execute("UPDATE api_keys SET prefix = 'pk_samesame'", []).unwrap();
    assert_eq!(word(directory.key_revoke("pk_samesame", 60)), "ambiguous");
    assert_eq!(directory.key(&second.id, 60).unwrap().prefix, "pk_samesame");
}

#[test]
fn no_table_takes_more_than_a_million() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann");
    directory.conn.execute("UPDATE sizes SET rows = 999999", []).unwrap();
    assert_eq!(word(directory.key_create(key("a"), 0)), "ok");
    assert_eq!(word(directory.key_create(key("b"), 0)), "full");
    assert_eq!(word(directory.user_add(NewUser { name: "b".into(), ..NewUser::default() }, 0)), "ok");
    assert_eq!(word(directory.user_add(NewUser { name: "c".into(), ..NewUser::default() }, 0)), "full");
    directory.refresh_begin(&ann.id, 0, &[1; 32], 9, 0).unwrap();
    assert_eq!(word(directory.refresh_begin(&ann.id, 0, &[2; 32], 9, 0)), "full");
    // What goes with an account is counted too.
    directory.user_remove("ann").unwrap();
    let left: i64 =
        directory.conn.query_row("SELECT rows FROM sizes WHERE name = 'refresh_tokens'", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 999_999);
}

#[test]
fn a_refresh_token_that_is_used_twice_takes_its_family_along() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann").id;
    let [first, second, third, other, late] = [[1; 32], [2; 32], [3; 32], [4; 32], [5; 32]];
    assert_eq!(spend(&mut directory, &first, 0).unwrap(), RefreshUse::Unknown);
    let family = directory.refresh_begin(&ann, 0, &first, 100, 0).unwrap();
    let apart = directory.refresh_begin(&ann, 0, &other, 100, 0).unwrap();
    assert_ne!(family, apart);
    let good = RefreshUse::Good { user_id: ann.clone(), family: family.clone() };
    assert_eq!(directory.refresh_rotate(&first, &second, 100, 1).unwrap(), good);
    assert_eq!(directory.refresh_rotate(&second, &third, 100, 2).unwrap(), good);
    assert_eq!(spend(&mut directory, &first, 3).unwrap(), RefreshUse::Reused { user_id: ann.clone(), family });
    // The newest is gone too, and the family does not come back.
    assert_eq!(spend(&mut directory, &third, 3).unwrap(), RefreshUse::Unknown);
    assert_eq!(directory.refresh_rotate(&third, &late, 100, 3).unwrap(), RefreshUse::Unknown);
    // Another login goes on, until it expires.
    assert_eq!(spend(&mut directory, &other, 100).unwrap(), RefreshUse::Expired);
    assert!(matches!(spend(&mut directory, &other, 99).unwrap(), RefreshUse::Good { .. }));
    assert_eq!(directory.refresh_family(&first).unwrap(), None);
    assert_eq!(directory.refresh_family(&other).unwrap().as_ref(), Some(&apart));
    assert_eq!(directory.refresh_used(&other).unwrap().as_ref(), Some(&apart));
    let ended = RevokedRow { provider: LOGINS.into(), jti: apart, expires_s: 9, revoked_s: 3, by: "test".into() };
    directory.revoke(&ended).unwrap();
    assert_eq!(directory.refresh_family(&other).unwrap(), None, "a login that ended takes its tokens along");
    assert_eq!(word(directory.refresh_begin("nobody", 0, &late, 100, 3)), "unknown");
}

#[test]
fn logins_of_one_account_are_bounded_the_oldest_go() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann").id;
    for number in 0..105 {
        directory.refresh_begin(&ann, 0, &[number; 32], 100, 0).unwrap();
    }
    assert_eq!(spend(&mut directory, &[4; 32], 0).unwrap(), RefreshUse::Unknown);
    assert!(matches!(spend(&mut directory, &[5; 32], 0).unwrap(), RefreshUse::Good { .. }));
    let left: i64 = directory.conn.query_row("SELECT count(*) FROM refresh_tokens", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 100);
}

#[test]
fn a_family_remembers_so_many_of_its_tokens() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann").id;
    let hash = |number: u32| digest(&number.to_le_bytes());
    directory.refresh_begin(&ann, 0, &hash(0), 100, 0).unwrap();
    for number in 0..2_010 {
        let used = directory.refresh_rotate(&hash(number), &hash(number + 1), 100, 0).unwrap();
        assert!(matches!(used, RefreshUse::Good { .. }), "{number}");
    }
    assert_eq!(spend(&mut directory, &hash(5), 0).unwrap(), RefreshUse::Unknown);
    let family = directory.refresh_family(&hash(50)).unwrap().unwrap();
    assert_eq!(spend(&mut directory, &hash(50), 0).unwrap(), RefreshUse::Reused { user_id: ann, family });
    assert_eq!(spend(&mut directory, &hash(2_010), 0).unwrap(), RefreshUse::Unknown);
}

#[test]
fn a_token_of_one_use() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (ann, bob) = (user(&mut directory, "ann").id, user(&mut directory, "bob").id);
    for number in 0..7 {
        directory.one_time_put("reset", &[number; 32], &ann, 100).unwrap();
    }
    directory.one_time_put("verify", &[10; 32], &ann, 100).unwrap();
    directory.one_time_put("reset", &[11; 32], &bob, 100).unwrap();
    let mut check = |kind: &str, number: u8, now_s: i64, expected: Option<&String>| {
        for look in [true, false] {
            let found = if look {
                directory.one_time_look(kind, &[number; 32], now_s).unwrap()
            } else {
                directory.write(|tx| one_time::take(tx, kind, &[number; 32], now_s)).ok()
            };
            assert_eq!(found.as_ref(), expected, "{number}");
        }
    };
    check("reset", 1, 0, None);
    check("reset", 10, 0, None);
    check("reset", 6, 100, None);
    check("reset", 6, 99, Some(&ann));
    check("reset", 6, 0, None);
    check("reset", 5, 0, None);
    check("verify", 10, 0, Some(&ann));
    check("reset", 11, 0, Some(&bob));
}

#[test]
fn revoked_tokens() {
    let mut directory = Directory::open_in_memory().unwrap();
    let row = |jti: &str, expires_s| RevokedRow {
        provider: "jwt.main".into(),
        jti: jti.into(),
        expires_s,
        revoked_s: 1,
        by: "test".into(),
    };
    assert_eq!(word(directory.revoke(&row("", 9))), "invalid");
    assert_eq!(word(directory.revoke(&row(&"x".repeat(257), 9))), "invalid");
    directory.revoke(&row("a", 9)).unwrap();
    directory.revoke(&row("a", 5)).unwrap();
    directory.revoke(&row("b", 3)).unwrap();
    assert_eq!(directory.revoked(3).unwrap(), [row("a", 9)]);
    assert_eq!(directory.revoked_one("jwt.main", "a", 8).unwrap(), Some(row("a", 9)));
    assert_eq!(directory.revoked_one("jwt.main", "a", 9).unwrap(), None);
    assert_eq!(directory.revoked_one("accounts", "a", 8).unwrap(), None);
    directory.revoke(&row("b", 20)).unwrap();
    assert_eq!(directory.revoked_after("", "", 3, 9).unwrap(), [row("a", 9), row("b", 20)]);
    assert_eq!(directory.revoked_after("", "", 3, 1).unwrap(), [row("a", 9)]);
    assert_eq!(directory.revoked_after("jwt.main", "a", 3, 9).unwrap(), [row("b", 20)]);
    assert_eq!(directory.revoked_after("jwt.main", "b", 3, 9).unwrap(), []);
    // Many in one step: none with one that is nobody's, and no more than there is room for.
    assert_eq!(word(directory.revoke_all(&[row("c", 9), row("", 9)])), "invalid");
    assert_eq!(directory.revoked_one("jwt.main", "c", 0).unwrap(), None);
    directory.conn.execute("UPDATE sizes SET rows = 999999 WHERE name = 'revoked_tokens'", []).unwrap();
    assert_eq!(directory.revoke_all(&[row("c", 9), row("a", 12), row("d", 9), row("e", 9)]).unwrap(), 2);
    assert_eq!(word(directory.revoke_all(&[row("d", 9)])), "full");
    directory.revoke(&row("c", 15)).expect("what is there needs no room");
    let ends = |jti: &str| directory.revoked_one("jwt.main", jti, 0).unwrap().map(|row| row.expires_s);
    assert_eq!((ends("a"), ends("c"), ends("d")), (Some(12), Some(15), None));
}

#[test]
fn sessions_end() {
    let mut directory = Directory::open_in_memory().unwrap();
    let row = SessionRow { id: [1; 32], payload: vec![7; 100], idle_until_s: 10, ends_s: 20, seen_s: Some(3) };
    assert_eq!(word(directory.session_put(&SessionRow { payload: vec![0; 65_537], ..row.clone() })), "invalid");
    directory.session_put(&row).unwrap();
    assert_eq!(directory.session_get(&[2; 32], 0).unwrap(), None);
    assert_eq!(directory.session_get(&[1; 32], 9).unwrap(), Some(row.clone()));
    assert_eq!(directory.session_get(&[1; 32], 10).unwrap(), None);
    assert!(!directory.session_touch(&[1; 32], 30, 10).unwrap());
    assert!(directory.session_touch(&[1; 32], 30, 9).unwrap() && directory.session_touch(&[1; 32], 25, 9).unwrap());
    let touched = directory.session_get(&[1; 32], 19).unwrap().unwrap();
    assert_eq!((touched.idle_until_s, touched.seen_s), (30, Some(9)));
    assert_eq!(directory.session_get(&[1; 32], 20).unwrap(), None);
    let other = SessionRow { payload: vec![8], idle_until_s: 12, ..row };
    assert_eq!(
        word(directory.session_replace(&SessionRow { payload: vec![0; 65_537], ..other.clone() }, 9)),
        "invalid"
    );
    assert!(directory.session_replace(&other, 9).unwrap());
    assert_eq!(directory.session_get(&[1; 32], 9).unwrap(), Some(other.clone()));
    assert!(!directory.session_replace(&other, 12).unwrap(), "it has ended");
    assert!(directory.session_remove(&[1; 32]).unwrap() && !directory.session_remove(&[1; 32]).unwrap());
    assert!(!directory.session_replace(&other, 9).unwrap());
    assert_eq!(directory.session_get(&[1; 32], 9).unwrap(), None);
}

#[test]
fn a_file_of_the_version_before_is_taken_up_while_who_made_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    drop(Directory::open(&path).unwrap());
    let older = Connection::open(&path).unwrap();
    older.execute_batch(BACK_TO_1).unwrap();
    let put = |id: u8| {
        let sql = "INSERT INTO sessions (id, payload, idle_until_s, ends_s) VALUES (?1, x'07', 10, 20)";
        older.execute(sql, [[id; 32]]).unwrap();
    };
    put(1);
    let mut directory = Directory::open(&path).unwrap();
    put(2);
    for id in [1, 2] {
        assert_eq!(directory.session_get(&[id; 32], 5).unwrap().unwrap().seen_s, None);
        assert!(directory.session_touch(&[id; 32], 12, 5).unwrap());
        assert_eq!(directory.session_get(&[id; 32], 5).unwrap().unwrap().seen_s, Some(5));
    }
    drop(directory);
    drop(Directory::open(&path).unwrap());
}

#[test]
fn what_has_expired_is_swept() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann").id;
    let day = 86_400;
    for (number, expires_s) in [(1, day), (2, day + 1)] {
        let hash = [number; 32];
        directory.refresh_begin(&ann, 0, &hash, expires_s, 0).unwrap();
        directory.one_time_put("reset", &hash, &ann, expires_s).unwrap();
        directory
            .session_put(&SessionRow {
                id: hash,
                payload: vec![],
                idle_until_s: expires_s,
                ends_s: 9 * day,
                seen_s: None,
            })
            .unwrap();
        let (provider, jti, by) = ("*".into(), number.to_string(), "test".into());
        directory.revoke(&RevokedRow { provider, jti, expires_s, revoked_s: 0, by }).unwrap();
        // A day after its end a ban is forgotten.
        let ban = BanRow {
            network: format!("192.0.2.{number}/32"),
            until_s: expires_s - day,
            since_s: -100,
            reason: "x".into(),
            times: 1,
            by: "test".into(),
        };
        assert_eq!(ban.forgotten_s(), expires_s);
        directory.ban_put(&ban).unwrap();
    }
    directory.key_create(NewKey { expires_s: Some(day), ..key("old") }, 0).unwrap();
    directory.key_create(key("rotated"), 0).unwrap();
    directory.key_rotate("rotated", day as u64, 0).unwrap();
    assert_eq!(directory.sweep(day - 1).unwrap(), 0);
    assert!(directory.key("rotated", 0).unwrap().earlier.is_some());
    assert_eq!(directory.sweep(day).unwrap(), 5);
    assert!(directory.key("rotated", 0).unwrap().earlier.is_none());
    assert_eq!(directory.sweep(day).unwrap(), 0);
    assert_eq!((directory.revoked(0).unwrap().len(), directory.bans_remembered().unwrap().len()), (1, 1));
    assert_eq!(directory.keys().unwrap().len(), 2);
    directory.sweep(92 * day).unwrap();
    assert_eq!(directory.keys().unwrap().len(), 1);
}

#[test]
fn bans_are_kept_and_lifted() {
    let mut directory = Directory::open_in_memory().unwrap();
    let row = |network: &str, until_s, times| BanRow {
        network: network.into(),
        until_s,
        since_s: 0,
        reason: "key_unknown".into(),
        times,
        by: "proxyd".into(),
    };
    assert_eq!(word(directory.ban_put(&BanRow { reason: String::new(), ..row("192.0.2.1/32", 1, 1) })), "invalid");
    directory.ban_put(&row("192.0.2.1/32", 10, 1)).unwrap();
    directory.ban_put(&row("192.0.2.1/32", 30, 2)).unwrap();
    directory.ban_put(&row("2001:db8::/64", 10, 1)).unwrap();
    assert_eq!(directory.bans(10).unwrap(), [row("192.0.2.1/32", 30, 2)]);
    assert_eq!(directory.bans_remembered().unwrap().len(), 2);
    // Those that are over are forgotten where there are too many, the first to end first; those in force stay.
    for (network, until_s) in [("192.0.2.2/32", 5), ("192.0.2.3/32", 7), ("192.0.2.4/32", 40)] {
        directory.ban_put(&row(network, until_s, 1)).unwrap();
    }
    assert_eq!((directory.bans_forget(5, 10).unwrap(), directory.bans_forget(4, 10).unwrap()), (0, 1));
    assert_eq!(directory.bans_forget(1, 9).unwrap(), 1);
    assert_eq!(directory.bans_remembered().unwrap().len(), 3);
    assert_eq!((directory.bans_forget(1, 10).unwrap(), directory.bans(10).unwrap().len()), (1, 2));
    directory.conn.execute("UPDATE sizes SET rows = 1000000 WHERE name = 'bans'", []).unwrap();
    directory.ban_put(&row("192.0.2.1/32", 50, 3)).expect("what is there needs no room");
    assert_eq!(word(directory.ban_put(&row("192.0.2.9/32", 50, 1))), "full");
    assert!(directory.ban_lift("192.0.2.1/32").unwrap() && !directory.ban_lift("192.0.2.1/32").unwrap());
}
