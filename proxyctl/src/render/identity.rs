//! `keys`, `tokens`, `users` and `bans`: who may come in, and what came of a change.

use shared::control::Command;
use shared::control::report::{
    BanChanged, BanLine, KeyLine, KeyMade, KeyRevoked, KeyState, TokenLine, TokenRevoked, UserChanged, UserFacts,
    UserLine,
};

use super::table::{pairs, table, table_wrapping};
use super::text::{grouped, plain};
use super::time::{moment, relative};
use crate::screen::Look;

/// A time that may not be there.
fn perhaps(time: Option<&String>, look: &Look) -> String {
    time.map(|time| relative(time, look)).unwrap_or_default()
}

pub(super) fn keys(keys: &[KeyLine], look: &Look) -> String {
    if keys.is_empty() {
        return "no API keys: make one with `proxyctl keys create --name NAME`\n".to_owned();
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let state = match (key.state, &key.earlier_until, &key.revoked) {
                (KeyState::Rotating, Some(until), _) => format!("rotating, {}", relative(until, look)),
                (KeyState::Revoked, _, Some(at)) => format!("revoked {}", relative(at, look)),
                (state, _, _) => state.as_str().to_owned(),
            };
            vec![
                key.name.clone(),
                key.prefix.clone(),
                state,
                key.user.clone().unwrap_or_default(),
                key.roles.join(", "),
                key.scopes.join(", "),
                key.limit.clone().unwrap_or_default(),
                key.used.as_ref().map_or_else(|| "never".to_owned(), |used| relative(used, look)),
                perhaps(key.expires.as_ref(), look),
            ]
        })
        .collect();
    let headings = ["NAME", "PREFIX", "STATE", "ACTS FOR", "ROLES", "SCOPES", "LIMIT", "USED", "EXPIRES"];
    table_wrapping(&headings, &rows, look, &["ROLES", "SCOPES"])
}

pub(super) fn key_made(made: &KeyMade, look: &Look) -> String {
    let some = |text: &Option<String>| text.as_deref().map(plain).unwrap_or_default();
    let told = pairs(&[
        ("key", plain(made.key.reveal())),
        ("name", plain(&made.name)),
        ("prefix", plain(&made.prefix)),
        ("id", plain(&made.id)),
        ("acts for", some(&made.user)),
        ("roles", plain(&made.roles.join(", "))),
        ("scopes", plain(&made.scopes.join(", "))),
        ("limit", some(&made.limit)),
        ("expires", made.expires.as_ref().map_or_else(|| "never".to_owned(), |at| moment(at, look))),
    ]);
    let earlier = match (&made.changes.before, &made.earlier_until) {
        (None, _) => String::new(),
        (Some(before), Some(until)) => {
            format!("The earlier key ({}) is good until {}.\n", plain(&before.prefix), moment(until, look))
        }
        (Some(before), None) => format!("The earlier key ({}) is good no longer.\n", plain(&before.prefix)),
    };
    let ended = made.earlier_ended.as_ref().map(|prefix| {
        format!(
            "The one before that ({}) was good until now, and is no longer: two are good at a time.\n",
            plain(prefix)
        )
    });
    let ended = ended.unwrap_or_default();
    let note = note(made.note.as_ref());
    format!("{told}\nThe key is shown this once and can never be shown again: keep it now.\n{earlier}{ended}{note}")
}

fn note(note: Option<&String>) -> String {
    note.map_or_else(String::new, |note| format!("note: {}\n", plain(note)))
}

pub(super) fn key_revoked(revoked: &KeyRevoked) -> String {
    format!("key {} ({}) is revoked\n", plain(&revoked.name), plain(&revoked.prefix))
}

pub(super) fn tokens(tokens: &[TokenLine], look: &Look) -> String {
    if tokens.is_empty() {
        return "no revoked tokens\n".to_owned();
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            let provider = match &*token.provider {
                "*" => "whoever's".to_owned(),
                name if token.idle => format!("{name} (not configured)"),
                name => name.to_owned(),
            };
            vec![
                provider,
                token.jti.clone(),
                relative(&token.revoked, look),
                relative(&token.expires, look),
                token.by.clone(),
            ]
        })
        .collect();
    table(&["PROVIDER", "JTI", "REVOKED", "FORGOTTEN", "BY"], &rows, look)
}

pub(super) fn token_revoked(revoked: &TokenRevoked, look: &Look) -> String {
    let whose = if revoked.provider == "*" { String::new() } else { format!(" of {}", plain(&revoked.provider)) };
    let (jti, until) = (plain(&revoked.jti), moment(&revoked.expires, look));
    let kept = if revoked.kept {
        ""
    } else {
        "the disk does not take it: it holds while this daemon runs, which tries again\n"
    };
    let unshared = revoked.unshared.as_ref().map_or_else(String::new, |why| {
        let why = plain(why);
        format!("only here so far: Redis does not answer ({why}); the other proxies are told when it does\n")
    });
    format!("token {jti}{whose} is revoked\nremembered until {until}\n{kept}{unshared}")
}

pub(super) fn users(users: &[UserLine], look: &Look) -> String {
    if users.is_empty() {
        return "no accounts: make one with `proxyctl users add NAME`\n".to_owned();
    }
    let rows: Vec<Vec<String>> = users
        .iter()
        .map(|user| {
            let state = state(user.disabled, user.verified || user.email.is_none(), user.has_password);
            vec![
                user.name.clone(),
                user.email.clone().unwrap_or_default(),
                user.roles.join(", "),
                if state.is_empty() { "active".to_owned() } else { state },
                user.login.as_ref().map_or_else(|| "never".to_owned(), |login| relative(login, look)),
                relative(&user.created, look),
                user.id.clone(),
            ]
        })
        .collect();
    table(&["NAME", "EMAIL", "ROLES", "STATE", "LOGGED IN", "CREATED", "ID"], &rows, look)
}

/// What an account lacks; empty where that is nothing.
fn state(disabled: bool, verified: bool, has_password: bool) -> String {
    let lacks = [(disabled, "disabled"), (!verified, "unverified"), (!has_password, "no password")];
    lacks.into_iter().filter(|(lacks, _)| *lacks).map(|(_, word)| word).collect::<Vec<_>>().join(", ")
}

pub(super) fn user_changed(command: &Command, changed: &UserChanged) -> String {
    let name = plain(&changed.name);
    let facts = |facts: &Option<UserFacts>| facts.as_ref().map(told).unwrap_or_default();
    let (before, after) = (&changed.changes.before, &changed.changes.after);
    if matches!(command, Command::UsersPassword(_)) {
        return format!("user {name} has a new password; earlier logins have ended\n");
    }
    match (before, after) {
        (_, None) => format!("user {name} is removed\n"),
        (None, Some(_)) => format!("user {name} is added: {}\n{}", facts(after), note(changed.note.as_ref())),
        (Some(_), Some(_)) => format!("user {name}: {} (was {})\n", facts(after), facts(before)),
    }
}

/// `ada@example.com, roles admin and user, active`.
fn told(facts: &UserFacts) -> String {
    let email = facts.email.as_deref().map_or_else(|| "no e-mail address".to_owned(), plain);
    let roles =
        if facts.roles.is_empty() { "no roles".to_owned() } else { format!("roles {}", plain(&facts.roles.join(" "))) };
    let state = state(facts.disabled, facts.verified || facts.email.is_none(), facts.has_password);
    [email, roles, state].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
}

pub(super) fn bans(bans: &[BanLine], look: &Look) -> String {
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let is_anybody = bans.iter().any(|ban| !ban.remembered);
    let head =
        if is_anybody { "" } else { "nobody is banned; these bans are over, and the next will be longer for them\n" };
    let rows: Vec<Vec<String>> = bans
        .iter()
        .map(|ban| {
            vec![
                ban.network.clone(),
                relative(&ban.until, look),
                relative(&ban.since, look),
                grouped(ban.times),
                ban.reason.clone(),
                ban.by.clone(),
                match (ban.holds, ban.remembered) {
                    (_, true) => "remembered",
                    (true, false) => "yes",
                    (false, false) => "no",
                }
                .to_owned(),
            ]
        })
        .collect();
    head.to_owned() + &table(&["NETWORK", "ENDS", "SINCE", "TIMES", "REASON", "BY", "HOLDS"], &rows, look)
}

pub(super) fn ban_changed(changed: &BanChanged, look: &Look) -> String {
    let network = plain(&changed.network);
    match &changed.changes.after {
        Some(ban) => {
            let spared = changed.spared.as_ref().map_or_else(String::new, |by| {
                format!("it keeps nobody out: all of it is in `{}`, and never banned\n", plain(by))
            });
            format!("{network} is banned until {}: {}\n{spared}", moment(&ban.until, look), plain(&ban.reason))
        }
        None => format!("{network} is banned no longer\n"),
    }
}
