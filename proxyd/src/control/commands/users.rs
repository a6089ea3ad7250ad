//! `users`, `users_add`, `users_set`, `users_password` and `users_remove`: accounts of our own.

use std::sync::Arc;

use directory::{DirectoryError, NewUser, UserChange, UserRow};
use shared::config::{Config, Secret};
use shared::control::report::{UserChange as Change, UserChanged, UserFacts, UserLine};
use shared::control::{ControlError, ErrorCode, UsersAddArgs, UsersPasswordArgs, UsersRemoveArgs, UsersSetArgs};

use super::known::{invalid, moment, now_s, on_disk, stream};
use super::off_thread;
use crate::control::Reply;
use crate::identity::{State, accounts, password};

/// Characters of a password where the config does not say.
const LEAST_CHARACTERS: u32 = 8;
/// Longer ones are a file given by mistake.
const MOST_BYTES: usize = 1024;

pub(super) async fn list(state: &Arc<State>) -> Result<Reply, ControlError> {
    let rows = on_disk(state, |state| state.directory(|directory| directory.users())).await?;
    Ok(stream(
        "users",
        rows.into_iter().map(|row| UserLine {
            has_password: row.password_hash.is_some(),
            id: row.id,
            name: row.name,
            email: row.email,
            roles: row.roles,
            verified: row.verified,
            disabled: row.disabled,
            created: moment(row.created_s),
            login: row.login_s.map(moment),
        }),
    ))
}

pub(super) async fn add(state: &Arc<State>, config: &Config, args: UsersAddArgs) -> Result<UserChanged, ControlError> {
    if args.verified && args.email.is_none() {
        return Err(invalid("`verified` is about an e-mail address: say `email` too"));
    }
    // Who registers is held to the same. Names that there are stay as they are.
    if !accounts::is_name(&args.name) {
        return Err(invalid(
            "`name` has up to 64 letters (a to z), digits, dots, hyphens and underscores, and begins with a letter or a digit",
        ));
    }
    let password_hash = match &args.password {
        Some(password) => Some(hashed(config, password).await?),
        None => None,
    };
    let UsersAddArgs { name, email, roles, verified, .. } = args;
    let new = NewUser { name, email, password_hash, roles, verified, lapses_s: None };
    let row = on_disk(state, move |state| {
        let noted = |row: &UserRow| state.standing.note(row);
        state.directory(|directory| directory.user_add(new, now_s()).inspect(noted))
    });
    let row = row.await?;
    let note = || "nobody can log in with it yet: the config has no `identity: {accounts: on}`".to_owned();
    Ok(UserChanged { note: config.identity.accounts.is_none().then(note), ..changed(None, Some(&row)) })
}

pub(super) async fn set(state: &Arc<State>, args: UsersSetArgs) -> Result<UserChanged, ControlError> {
    let change = UserChange { email: args.email, roles: args.roles, verified: args.verified, disabled: args.disabled };
    if change == UserChange::default() {
        return Err(invalid("say what changes: `email`, `roles`, `verified` or `disabled`"));
    }
    let which = args.name;
    let (before, row) = on_disk(state, move |state| {
        state.directory(|directory| {
            let before = known(directory.user(&which)?, &which)?;
            let row = directory.user_set(&before.id, change, now_s())?;
            // While the file is held: changes come into force in their order.
            state.standing.note(&row);
            Ok((before, row))
        })
    })
    .await?;
    Ok(changed(Some(&before), Some(&row)))
}

pub(super) async fn password(
    state: &Arc<State>,
    config: &Config,
    args: UsersPasswordArgs,
) -> Result<UserChanged, ControlError> {
    let hash = hashed(config, &args.password).await?;
    let which = args.name;
    let (before, row) = on_disk(state, move |state| {
        state.directory(|directory| {
            let before = known(directory.user(&which)?, &which)?;
            let row = directory.user_password(&before.id, &hash, now_s())?;
            state.standing.note(&row);
            Ok((before, row))
        })
    })
    .await?;
    Ok(changed(Some(&before), Some(&row)))
}

pub(super) async fn remove(state: &Arc<State>, args: UsersRemoveArgs) -> Result<UserChanged, ControlError> {
    let row = on_disk(state, move |state| {
        let forgotten = |row: &UserRow| state.standing.forget(&row.id);
        state.directory(|directory| directory.user_remove(&args.name).inspect(forgotten))
    });
    let row = row.await?;
    Ok(changed(Some(&row), None))
}

fn known(row: Option<UserRow>, which: &str) -> Result<UserRow, DirectoryError> {
    let which = || which.chars().take(128).collect();
    row.ok_or_else(|| DirectoryError::Unknown { what: "user", which: which() })
}

/// A password's hash, made where its work holds nobody up.
async fn hashed(config: &Config, password: &Secret) -> Result<String, ControlError> {
    sound(config.identity.accounts.as_ref().map_or(LEAST_CHARACTERS, |accounts| accounts.min_password), password)?;
    let password = password.clone();
    off_thread(move || password::hash(password.reveal().as_bytes()))
        .await?
        .map_err(|error| ControlError::new(ErrorCode::Failed, format!("the password cannot be hashed: {error}")))
}

fn sound(least: u32, password: &Secret) -> Result<(), ControlError> {
    let password = password.reveal();
    if password.len() > MOST_BYTES {
        return Err(invalid(format!("a password has at most {MOST_BYTES} bytes")));
    }
    if password.chars().count() < least as usize {
        return Err(invalid(format!("a password has at least {least} characters")));
    }
    Ok(())
}

fn facts(row: &UserRow) -> UserFacts {
    UserFacts {
        email: row.email.clone(),
        roles: row.roles.clone(),
        verified: row.verified,
        disabled: row.disabled,
        has_password: row.password_hash.is_some(),
    }
}

fn changed(before: Option<&UserRow>, after: Option<&UserRow>) -> UserChanged {
    let row = after.or(before);
    UserChanged {
        id: row.map(|row| row.id.clone()).unwrap_or_default(),
        name: row.map(|row| row.name.clone()).unwrap_or_default(),
        note: None,
        changes: Change { before: before.map(facts), after: after.map(facts) },
        audited: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_bounded_and_never_echoed() {
        for (password, sounds) in [("", false), ("1234567", false), ("pässwört", true), (&"x".repeat(1025), false)] {
            let got = sound(8, &Secret::new(password));
            assert_eq!(got.is_ok(), sounds, "{password}");
            assert!(got.err().is_none_or(|error| password.is_empty() || !error.message.contains(password)));
        }
    }
}
