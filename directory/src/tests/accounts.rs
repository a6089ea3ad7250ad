//! Accounts: whose names are whose, what a change of one ends, and which of them go.

use super::*;

#[test]
fn who_proved_the_password_of_before_does_nothing_with_it() {
    let mut directory = Directory::open_in_memory().unwrap();
    let seen = user(&mut directory, "ann");
    let reset = directory.user_password("ann", "$argon2id$new", 1).unwrap();
    assert_eq!(word(directory.refresh_begin(&seen.id, seen.epoch, &[1; 32], 99, 2)), "changed");
    assert_eq!(word(directory.user_password_since(&seen.id, seen.epoch, "$argon2id$old", 2)), "changed");
    assert_eq!(directory.user("ann").unwrap(), Some(reset.clone()));
    assert_eq!(spend(&mut directory, &[1; 32], 2).unwrap(), RefreshUse::Unknown);
    let own = directory.user_password_since(&seen.id, reset.epoch, "$argon2id$own", 3).unwrap();
    directory.refresh_begin(&seen.id, own.epoch, &[1; 32], 99, 3).unwrap();
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    let disabled = directory.user_set("ann", change, 4).unwrap();
    assert_eq!(word(directory.user_password_since(&seen.id, disabled.epoch, "$argon2id$own", 5)), "unknown");
}

#[test]
fn a_new_password_and_the_end_of_its_token_are_one_step() {
    let mut directory = Directory::open_in_memory().unwrap();
    let new = NewUser { name: "ann".into(), email: Some("ann@example.org".into()), ..NewUser::default() };
    let ann = directory.user_add(new, 0).unwrap();
    directory.one_time_put("reset", &[1; 32], &ann.id, 100).unwrap();
    directory.one_time_put("verify", &[2; 32], &ann.id, 100).unwrap();
    assert_eq!(word(directory.user_reset("reset", &[1; 32], "", 9)), "invalid");
    assert_eq!(word(directory.user_reset("reset", &[2; 32], "$argon2id$", 9)), "unknown");
    assert_eq!(word(directory.user_reset("reset", &[1; 32], "$argon2id$", 100)), "unknown");
    assert_eq!(directory.user("ann").unwrap(), Some(ann.clone()), "nothing came of it");
    let reset = directory.user_reset("reset", &[1; 32], "$argon2id$", 99).unwrap();
    assert!(reset.verified && reset.epoch == 1 && reset.password_hash.as_deref() == Some("$argon2id$"));
    assert_eq!(word(directory.user_reset("reset", &[1; 32], "$argon2id$", 9)), "unknown");
    assert_eq!(word(directory.user_verify("verify", &[1; 32], 9)), "unknown");
    assert!(directory.user_verify("verify", &[2; 32], 9).unwrap().verified);
    assert_eq!(word(directory.user_verify("verify", &[2; 32], 9)), "unknown");
}

#[test]
fn accounts_that_nobody_uses_go_once_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    // One of the version before is brought up to date.
    let mut directory = Directory::open(&path).unwrap();
    let old = user(&mut directory, "old");
    directory.conn.execute_batch(BACK_TO_1).unwrap();
    drop(directory);
    let mut directory = Directory::open(&path).unwrap();
    let mut add = |name: &str, lapses_s: Option<i64>| {
        let email = Some(format!("{name}@example.org"));
        directory.user_add(NewUser { name: name.into(), email, lapses_s, ..NewUser::default() }, 0).unwrap().id
    };
    let (gone, entered, checked) = (add("gone", Some(7)), add("entered", Some(7)), add("checked", Some(7)));
    let (kept, later, made) = (add("kept", Some(7)), add("later", Some(8)), add("made", None));
    directory.refresh_begin(&entered, 0, &[1; 32], 99, 6).unwrap();
    directory.one_time_put("verify", &[2; 32], &checked, 99).unwrap();
    directory.user_verify("verify", &[2; 32], 6).unwrap();
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    directory.user_set("kept", change, 6).unwrap();
    assert_eq!(directory.users_lapse(6).unwrap(), [""; 0]);
    assert_eq!(directory.users_lapse(7).unwrap(), [gone]);
    assert_eq!(directory.users_lapse(8).unwrap(), [later]);
    assert_eq!(directory.users_lapse(1000).unwrap(), [""; 0]);
    for id in [old.id, entered, checked, kept, made] {
        assert!(directory.user(&id).unwrap().is_some(), "{id}");
    }
    // Name and address are free again.
    user(&mut directory, "gone");
    for number in 0..=users::LAPSES {
        let name = format!("user{number}");
        directory.user_add(NewUser { name, lapses_s: Some(9), ..NewUser::default() }, 0).unwrap();
    }
    assert_eq!(directory.users_lapse(9).unwrap().len(), users::LAPSES);
    assert_eq!(directory.users_lapse(9).unwrap().len(), 1);
}

#[test]
fn accounts_are_nobody_elses() {
    let mut directory = Directory::open_in_memory().unwrap();
    let mut add = |name: &str, email: &str, expected: &str| {
        let email = (!email.is_empty()).then(|| email.to_owned());
        let new = NewUser { name: name.into(), email, ..NewUser::default() };
        assert_eq!(word(directory.user_add(new, 5)), expected, "{name}");
    };
    add("", "", "invalid");
    add("0123456789abcdef", "", "invalid");
    for email in ["@", "a@", "@b", "a@b@c", "a b@c", "ab"] {
        add("mail", email, "invalid");
    }
    add("Ann", "Ann@Example.org", "ok");
    add("ANN", "", "taken");
    add("bob", "ann@example.ORG", "taken");
    // Nor may one go by another's address, or the other way round.
    add("ann@example.org", "", "taken");
    add("bob@example.org", "", "ok");
    add("rob", "bob@example.org", "taken");
    add("self@example.org", "self@example.org", "ok");
    let ann = directory.user("ann").unwrap().unwrap();
    for which in ["aNN", "ANN@example.org", ann.id.as_str()] {
        assert_eq!(directory.user(which).unwrap(), Some(ann.clone()));
    }
    assert_eq!(directory.user("nobody").unwrap(), None);
    assert_eq!(directory.users().unwrap().len(), 3);
    assert_eq!((ann.name.as_str(), ann.email.as_deref()), ("Ann", Some("Ann@Example.org")));
    let change = UserChange { email: Some("bob@example.org".into()), ..UserChange::default() };
    assert_eq!(word(directory.user_set("ann", change, 6)), "taken");
}

#[test]
fn what_a_change_of_an_account_ends() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann");
    let mut now = 0;
    let mut check = |act: &dyn Fn(&mut Directory) -> UserRow, ends: bool, letters: bool| {
        now += 1;
        let before = directory.user("ann").unwrap().unwrap();
        directory.refresh_begin(&ann.id, before.epoch, &[now; 32], 99, 0).unwrap();
        directory.one_time_put("reset", &[now; 32], &ann.id, 99).unwrap();
        let after = act(&mut directory);
        assert_eq!(after.epoch, before.epoch + u32::from(ends), "{now}");
        if after.disabled {
            assert_eq!(word(directory.refresh_begin(&ann.id, after.epoch, &[77; 32], 99, 0)), "unknown");
            directory.user_set("ann", UserChange { disabled: Some(false), ..UserChange::default() }, 0).unwrap();
        }
        let used = spend(&mut directory, &[now; 32], 0).unwrap();
        assert_eq!(used == RefreshUse::Unknown, ends, "{now}: {used:?}");
        let left = directory.one_time_look("reset", &[now; 32], 0).unwrap();
        assert_eq!(left.is_none(), letters, "{now}");
        after
    };
    let set =
        |change: UserChange| move |directory: &mut Directory| directory.user_set("ann", change.clone(), 7).unwrap();
    let mail = |email: &str, verified| UserChange { email: Some(email.into()), verified, ..UserChange::default() };
    check(&set(UserChange::default()), false, false);
    let verified = check(&set(mail("ann@example.org", Some(true))), false, true);
    assert!(verified.verified && verified.changed_s == 7);
    // The same address in other letters is no other address.
    assert!(check(&set(mail("Ann@example.org", None)), false, false).verified);
    assert!(!check(&set(mail("ann@example.net", None)), false, true).verified);
    let without = check(&set(mail("", Some(true))), false, true);
    assert!(!without.verified && without.email.is_none());
    check(&set(UserChange { disabled: Some(true), ..UserChange::default() }), true, true);
    check(&|directory| directory.user_password("ann", "$argon2id$…", 8).unwrap(), true, true);
    check(&|directory| directory.user_sign_out("ann").unwrap(), true, false);
    let epoch = directory.user("ann").unwrap().unwrap().epoch;
    directory.refresh_begin(&ann.id, epoch, &[78; 32], 99, 50).unwrap();
    directory.refresh_begin(&ann.id, epoch, &[79; 32], 99, 40).unwrap();
    let ann = directory.user_remove("ann").unwrap();
    assert_eq!(ann.login_s, Some(50));
    assert!(!format!("{ann:?}").contains("argon2id"));
    assert_eq!(word(directory.user_remove("ann")), "unknown");
}

#[test]
fn other_roles_end_access_tokens_and_no_login() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ann = user(&mut directory, "ann").id;
    directory.refresh_begin(&ann, 0, &[1; 32], 99, 0).unwrap();
    let mut check = |roles: &[&str], expected: u32| {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let change = UserChange { roles: Some(roles), ..UserChange::default() };
        assert_eq!(directory.user_set("ann", change.clone(), 0).unwrap().epoch, expected, "{change:?}");
    };
    check(&[], 0);
    check(&["admin", "user"], 1);
    check(&["user", "admin"], 1);
    check(&["user"], 2);
    check(&[], 3);
    assert!(matches!(spend(&mut directory, &[1; 32], 0).unwrap(), RefreshUse::Good { .. }));
}
