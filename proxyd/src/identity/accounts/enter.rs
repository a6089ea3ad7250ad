//! Coming in: `register`, `login`, `refresh`; and `me`.

use std::net::IpAddr;
use std::sync::Arc;

use directory::{DirectoryError, LOGINS, NewUser, RefreshUse, UserRow};
use serde_json::{Value as Json, json};

use super::answer::Failure;
use super::fields;
use super::guesses::{Bounds, Refused};
use super::recover::Purpose;
use super::{
    Accounts, Asked, Asker, Caller, LONG_TOKEN_S, Outcome, gone_or, is_busy, letters, now_text, rules, secret,
    unavailable,
};
use crate::exchange::Rejection;

/// From one address so many times as many wrong passwords as of one account: many people may share it.
const OF_ONE_ADDRESS: u32 = 10;

/// With `verify`, an account that nobody verifies goes after so long, with its name and its address: 7 days.
const UNVERIFIED_S: i64 = 7 * 86_400;

impl Accounts {
    pub(super) async fn register(self: &Arc<Self>, asked: &Asked) -> Result<Outcome, Failure> {
        if !self.config.register {
            return Err(Failure::RegistrationOff);
        }
        let fields: fields::Register =
            asked.call.fields("`name`, `password` and, if you like, `email` are expected.")?;
        let onward = asked.call.onward(fields.to)?;
        if !rules::is_name(&fields.name) {
            return Err(Failure::InvalidRequest(
                "A name has up to 64 letters, digits, dots, hyphens and underscores, and is no id.",
            ));
        }
        let email = fields.email.filter(|email| !email.is_empty());
        if email.as_deref().is_some_and(|email| !rules::is_email(email)) {
            return Err(Failure::InvalidRequest("This is not an e-mail address."));
        }
        if self.config.verify && email.is_none() {
            return Err(Failure::InvalidRequest("An e-mail address is needed."));
        }
        let password = fields.password.0;
        if let Some(why) = rules::weakness(&password, self.config.min_password, &fields.name, email.as_deref()) {
            return Err(Failure::PasswordWeak(why));
        }
        // Before the work, and whether or not an account comes of it: else one address could keep every turn. Without a verified
        // address there is also no other way to say that a name is taken, which is a guess.
        self.registrations.count(asked.network, self.bounds_of_address(), asked.now_s).map_err(Failure::locked)?;
        let hashed = self.hash(password, asked.network).await;
        let password_hash = Some(hashed.inspect_err(|_| self.registrations.take_back(asked.network))?);
        let roles = self.config.roles.iter().map(ToString::to_string).collect();
        let lapses_s = self.config.verify.then_some(asked.now_s.saturating_add(UNVERIFIED_S));
        let new = NewUser { name: fields.name, email, password_hash, roles, verified: false, lapses_s };
        if self.config.verify {
            self.register_by_mail(new, asked, onward)
        } else {
            self.register_now(new, asked, onward).await
        }
    }

    /// Nobody's answer depends on who is known, and none waits for it: a mail tells it to whom it concerns.
    fn register_by_mail(
        self: &Arc<Self>,
        new: NewUser,
        asked: &Asked,
        onward: Option<String>,
    ) -> Result<Outcome, Failure> {
        let (mail, place) = self.mail_place()?;
        let (accounts, now_s, network) = (Arc::clone(self), asked.now_s, asked.network);
        tokio::spawn(async move {
            let Some(email) = new.email.clone() else { return };
            let name = new.name.clone();
            let within = Arc::clone(&accounts);
            let letter = accounts.directory(network, move |directory| {
                // Each of them gets a letter.
                if !within.may_mail(Purpose::Register, &email, now_s) {
                    return Ok(None);
                }
                if let Some(known) = directory.user(&email)? {
                    return Ok(known.email.map(|email| letters::known(&email, &known.name)));
                }
                match directory.user_add(new, now_s) {
                    Ok(user) => {
                        within.state.standing.note(&user);
                        let Some(token) = secret::fresh() else { return Ok(None) };
                        directory.one_time_put(super::VERIFY, &token.hash, &user.id, now_s + LONG_TOKEN_S)?;
                        Ok(Some(letters::verify(&email, &user.name, within.verify_url(), &token.text)))
                    }
                    Err(DirectoryError::Taken { .. }) => Ok(Some(letters::taken(&email, &name))),
                    Err(error) => Err(error),
                }
            });
            match letter.await {
                Ok(Some(letter)) => mail.send(letter, place).await,
                Ok(None) => {}
                Err(error) if is_busy(&error) => {}
                Err(error) => tracing::warn!(%error, "an account was not made"),
            }
        });
        Ok(Outcome::said(202, json!({"status": "verification_sent"}), "Look into your mail.", onward))
    }

    async fn register_now(
        self: &Arc<Self>,
        new: NewUser,
        asked: &Asked,
        onward: Option<String>,
    ) -> Result<Outcome, Failure> {
        let (accounts, now_s) = (Arc::clone(self), asked.now_s);
        let made = self.directory(asked.network, move |directory| {
            let made = directory.user_add(new, now_s);
            if let Ok(user) = &made {
                accounts.state.standing.note(user);
            }
            Ok(made)
        });
        match made.await.map_err(|error| unavailable(&error))? {
            Ok(user) => {
                self.ask_to_verify(&user, asked.asker());
                Ok(Outcome::said(201, json!({"user": shown(&user)}), "Your account is there.", onward))
            }
            Err(DirectoryError::Taken { .. }) => Err(Failure::NameTaken),
            Err(error) => {
                let is_name = matches!(error, DirectoryError::Invalid { .. });
                Err(if is_name { Failure::InvalidRequest("This name cannot be had.") } else { unavailable(&error) })
            }
        }
    }

    pub(super) async fn login(self: &Arc<Self>, asked: &mut Asked) -> Result<Outcome, Failure> {
        const EXPECTED: &str = "`password` and either `name` or `email` are expected.";
        let fields: fields::Login = asked.call.fields(EXPECTED)?;
        let ((Some(who), None) | (None, Some(who))) = (fields.name, fields.email) else {
            return Err(Failure::InvalidRequest(EXPECTED));
        };
        // What can be nobody's name and nobody's password costs the same work below.
        let who = who.to_lowercase();
        let (by_account, by_address) = (self.bounds_of_account(), self.bounds_of_address());
        let from_here =
            self.addresses.attempt(asked.network, by_address, asked.now_s).await.map_err(Failure::refused)?;
        let by_name = self.guesses.attempt(who.as_str(), by_account, asked.now_s).await.map_err(Failure::refused)?;
        let looked_up = who.clone();
        let user = self.directory(asked.network, move |directory| directory.user(&looked_up)).await;
        let user = user.map_err(|error| unavailable(&error))?;
        // An id is no name.
        let user = user.filter(|user| rules::is_email(&who) || user.name.to_lowercase() == who);
        // An account goes by two names: it is counted once more by what it is, so that it has not twice as many attempts. Where they
        // are used up by its other name the right password is wrong too: "locked" would tell whose address this is.
        let whole = match &user {
            None => None,
            Some(user) => match self.guesses.attempt(of_login(&user.id), by_account, asked.now_s).await {
                Ok(guess) => Some(guess),
                Err(Refused::Locked(_)) => None,
                Err(Refused::Busy) => return Err(Failure::refused(Refused::Busy)),
            },
        };
        let hash = user.as_ref().filter(|_| whole.is_some()).and_then(|user| user.password_hash.clone());
        let right = self.verify_password(hash, fields.password.0, asked.network).await?;
        let Some(user) = user.filter(|user| right && !user.disabled) else {
            // In this order: nobody finds the account locked and its name not yet.
            by_name.wrong();
            if let Some(whole) = whole {
                whole.wrong();
            }
            from_here.wrong();
            return Err(Failure::password_wrong());
        };
        // And nobody finds the name free again and the account not yet.
        if let Some(whole) = whole {
            whole.right();
        }
        by_name.right();
        drop(from_here);
        if self.config.verify && !user.verified {
            return Err(Failure::NotVerified);
        }
        let tokens = self.begin(&user, asked.asker()).await?;
        asked.is(&user);
        Ok(Outcome::told(200, tokens))
    }

    /// A new login of this account as it was read when its password was proved: its first tokens.
    pub(super) async fn begin(self: &Arc<Self>, user: &UserRow, from: Asker) -> Result<Json, Failure> {
        let next = secret::fresh().ok_or(Failure::Rejected(Rejection::AuthUnavailable))?;
        let (id, epoch, hash, now_s) = (user.id.clone(), user.epoch, next.hash, from.now_s);
        let expires_s = self.refresh_until(now_s);
        let family =
            self.directory(from.network, move |directory| directory.refresh_begin(&id, epoch, &hash, expires_s, now_s));
        let family = family.await.map_err(|error| gone_or(&error, Failure::password_wrong))?;
        self.tokens_of(user, &family, &next.text, now_s)
    }

    fn tokens_of(&self, user: &UserRow, family: &str, refresh: &str, now_s: i64) -> Result<Json, Failure> {
        let access = self.tokens.access(user, family, now_s).ok_or(Failure::Rejected(Rejection::AuthUnavailable))?;
        Ok(json!({
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.config.access_token.as_secs(),
            "refresh_token": refresh,
            "refresh_expires_in": self.config.refresh_token.as_secs(),
        }))
    }

    pub(super) async fn refresh(self: &Arc<Self>, asked: &mut Asked) -> Result<Outcome, Failure> {
        let fields: fields::Refresh = asked.call.fields("`refresh_token` is expected.")?;
        let used = secret::hash_of(&fields.refresh_token.0).ok_or(Failure::RefreshInvalid)?;
        let next = secret::fresh().ok_or(Failure::Rejected(Rejection::AuthUnavailable))?;
        let (hash, now_s, expires_s) = (next.hash, asked.now_s, self.refresh_until(asked.now_s));
        let accounts = Arc::clone(self);
        let rotated = self.directory(asked.network, move |directory| {
            let rotated = directory.refresh_rotate(&used, &hash, expires_s, now_s);
            if rotated.is_err()
                && let Some(family) = directory.refresh_used(&used)?
            {
                // Of a login that has to end: it does so though the disk does not take it.
                accounts.end_login(directory, &family, "proxyd", now_s)?;
            }
            let used = rotated?;
            let user = match &used {
                // It ended, and the disk has not taken that yet.
                RefreshUse::Good { family, .. } if accounts.state.revoked.is_revoked(LOGINS, family) => None,
                RefreshUse::Good { user_id, .. } => directory.user(user_id)?,
                RefreshUse::Reused { family, .. } => {
                    // Whoever has its access token has it no more either.
                    accounts.end_login(directory, family, "proxyd", now_s)?;
                    None
                }
                RefreshUse::Unknown | RefreshUse::Expired => None,
            };
            Ok((used, user))
        });
        match rotated.await {
            Ok((RefreshUse::Good { family, .. }, Some(user))) if !user.disabled => {
                let tokens = self.tokens_of(&user, &family, &next.text, now_s)?;
                asked.is(&user);
                Ok(Outcome::told(200, tokens))
            }
            Ok((RefreshUse::Reused { user_id, .. }, _)) => {
                tracing::warn!(user = %user_id, "a refresh token was used twice: its login has ended");
                Err(Failure::RefreshReused)
            }
            Ok(_) | Err(DirectoryError::Unknown { .. }) => Err(Failure::RefreshInvalid),
            Err(error) => Err(unavailable(&error)),
        }
    }

    pub(super) async fn me(self: &Arc<Self>, caller: &Caller, network: IpAddr) -> Result<Outcome, Failure> {
        let user = self.row_of(caller, network).await?;
        Ok(Outcome::told(200, shown(&user)))
    }

    /// When guessing an account's password stops.
    pub(super) fn bounds_of_account(&self) -> Bounds {
        let lockout = &self.config.lockout;
        let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX).max(1);
        Bounds { attempts: lockout.attempts.max(1), within_s: seconds(lockout.within), lasts_s: seconds(lockout.lasts) }
    }

    /// When guessing from one address does.
    pub(super) fn bounds_of_address(&self) -> Bounds {
        let bounds = self.bounds_of_account();
        Bounds { attempts: bounds.attempts.saturating_mul(OF_ONE_ADDRESS), ..bounds }
    }

    fn refresh_until(&self, now_s: i64) -> i64 {
        now_s.saturating_add(i64::try_from(self.config.refresh_token.as_secs()).unwrap_or(i64::MAX))
    }
}

/// What changes of an account's password are counted by: by nothing that somebody else could say.
pub(super) fn of_change(id: &str) -> (&str, &str) {
    ("change", id)
}

/// What logins of an account are counted by, whatever it was called.
pub(super) fn of_login(id: &str) -> (&str, &str) {
    ("login", id)
}

/// An account, as its owner sees it.
fn shown(user: &UserRow) -> Json {
    json!({
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "verified": user.verified,
        "roles": user.roles,
        "created": now_text(user.created_s),
    })
}
