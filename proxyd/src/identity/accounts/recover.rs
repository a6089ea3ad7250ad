//! What goes by mail: `forgot` and `reset`, `verify` and `resend-verification`; and `change-password`.

use std::net::IpAddr;
use std::sync::Arc;

use directory::{Directory, DirectoryError, UserRow};
use serde_json::json;

use super::answer::{Failure, refused};
use super::enter::{of_change, of_login};
use super::guesses::Bounds;
use super::post::{Place, Post};
use super::{
    Accounts, Asked, Asker, Caller, LONG_TOKEN_S, Outcome, RESET, SHORT_TOKEN_S, VERIFY, fields, gone_or, is_busy,
    letters, rules, secret, unavailable,
};
use crate::exchange::Denial;

/// Mails to one address of each purpose: nobody's mailbox is filled by us.
const MAILS: Bounds = Bounds { attempts: 5, within_s: 3600, lasts_s: 3600 };

impl Accounts {
    pub(super) async fn change_password(
        self: &Arc<Self>,
        asked: &mut Asked,
        caller: &Caller,
    ) -> Result<Outcome, Failure> {
        let fields: fields::ChangePassword = asked.call.fields("`password` and `new_password` are expected.")?;
        let now_s = asked.now_s;
        let user = self.row_of(caller, asked.network).await?;
        if let Some(why) = self.weakness(&fields.new_password.0, &user) {
            return Err(Failure::PasswordWeak(why));
        }
        let guess = self
            .guesses
            .attempt(of_change(&user.id), self.bounds_of_account(), now_s)
            .await
            .map_err(Failure::refused)?;
        if !self.verify_password(user.password_hash.clone(), fields.password.0, asked.network).await? {
            guess.wrong();
            return Err(Failure::password_wrong());
        }
        guess.right();
        let password_hash = self.hash(fields.new_password.0, asked.network).await?;
        // Whoever had another password set meanwhile is not to lose it to the one of before.
        let (id, epoch) = (user.id, user.epoch);
        let set = move |directory: &mut Directory| directory.user_password_since(&id, epoch, &password_hash, now_s);
        let user = self.set_password(asked.network, set, || refused(Denial::TokenRevoked)).await?;
        let tokens = self.begin(&user, asked.asker()).await?;
        Ok(Outcome::told(200, tokens))
    }

    pub(super) fn forgot(self: &Arc<Self>, asked: &Asked) -> Result<Outcome, Failure> {
        self.ask_for_mail(asked, Purpose::Reset)
    }

    pub(super) fn resend(self: &Arc<Self>, asked: &Asked) -> Result<Outcome, Failure> {
        self.ask_for_mail(asked, Purpose::Verify)
    }

    fn ask_for_mail(self: &Arc<Self>, asked: &Asked, purpose: Purpose) -> Result<Outcome, Failure> {
        let fields: fields::Email = asked.call.fields("`email` is expected.")?;
        let onward = asked.call.onward(fields.to)?;
        if !rules::is_email(&fields.email) {
            return Err(Failure::InvalidRequest("This is not an e-mail address."));
        }
        let (mail, place) = self.mail_place()?;
        // Whether or not a letter comes of it: the answer says nothing of who is known.
        let whose = (purpose, asked.network);
        self.mail_asked.count(whose, self.bounds_of_address(), asked.now_s).map_err(Failure::locked)?;
        tokio::spawn(Arc::clone(self).write(fields.email, purpose, asked.asker(), mail, place));
        Ok(sent(onward))
    }

    pub(super) async fn reset(self: &Arc<Self>, asked: &mut Asked) -> Result<Outcome, Failure> {
        let fields: fields::Reset = asked.call.fields("`token` and `password` are expected.")?;
        let onward = asked.call.onward(fields.to)?;
        let now_s = asked.now_s;
        let token = secret::hash_of(&fields.token.0).ok_or(Failure::TokenInvalid)?;
        let looked = self.directory(asked.network, move |directory| {
            let id = directory.one_time_look(RESET, &token, now_s)?;
            id.map_or(Ok(None), |id| directory.user(&id))
        });
        let user = looked.await.map_err(|error| unavailable(&error))?;
        let user = user.filter(|user| !user.disabled).ok_or(Failure::TokenInvalid)?;
        if let Some(why) = self.weakness(&fields.password.0, &user) {
            return Err(Failure::PasswordWeak(why));
        }
        let password_hash = self.hash(fields.password.0, asked.network).await?;
        // It is used up by this step alone: whoever leaves before has it still, and no longer than it was good.
        let set = move |directory: &mut Directory| directory.user_reset(RESET, &token, &password_hash, now_s);
        let user = self.set_password(asked.network, set, || Failure::TokenInvalid).await?;
        for name in [Some(&user.name), user.email.as_ref()].into_iter().flatten() {
            self.guesses.forgive(name.to_lowercase().as_str());
        }
        self.guesses.forgive(of_login(&user.id));
        self.guesses.forgive(of_change(&user.id));
        asked.is(&user);
        Ok(Outcome::said(200, json!({"status": "password_set"}), "Your password is set.", onward))
    }

    pub(super) async fn verify(self: &Arc<Self>, asked: &mut Asked) -> Result<Outcome, Failure> {
        let fields: fields::Verify = asked.call.fields("`token` is expected.")?;
        let onward = asked.call.onward(fields.to)?;
        let hash = secret::hash_of(&fields.token.0).ok_or(Failure::TokenInvalid)?;
        let now_s = asked.now_s;
        let user = self.directory(asked.network, move |directory| directory.user_verify(VERIFY, &hash, now_s));
        asked.is(&user.await.map_err(|error| gone_or(&error, || Failure::TokenInvalid))?);
        Ok(Outcome::said(200, json!({"status": "verified"}), "Your e-mail address is verified.", onward))
    }

    /// A mail with which an account's owner shows whose the address is, where mails go out; nothing waits for it.
    pub(super) fn ask_to_verify(self: &Arc<Self>, user: &UserRow, from: Asker) {
        let Some(email) = user.email.clone() else { return };
        if let Ok((mail, place)) = self.mail_place() {
            tokio::spawn(Arc::clone(self).write(email, Purpose::Verify, from, mail, place));
        }
    }

    /// Room for one mail, and who sends it.
    pub(super) fn mail_place(&self) -> Result<(Arc<Post>, Place), Failure> {
        let mail = self.mail.as_ref().ok_or(Failure::MailUnavailable)?;
        Ok((Arc::clone(mail), mail.place().ok_or(Failure::MailUnavailable)?))
    }

    /// Whether this address may get one more letter of this purpose, which is counted: to be asked once there is one to write.
    /// Else silent questions would use up what somebody needs to get in again.
    pub(super) fn may_mail(&self, purpose: Purpose, email: &str, now_s: i64) -> bool {
        self.mails.count((purpose, email.to_lowercase()), MAILS, now_s).is_ok()
    }

    /// Writes to the account with this address, where there is one. Whoever asked learns nothing of it.
    async fn write(self: Arc<Self>, email: String, purpose: Purpose, from: Asker, mail: Arc<Post>, place: Place) {
        let (accounts, now_s) = (Arc::clone(&self), from.now_s);
        let letter = self.directory(from.network, move |directory| {
            let user = directory.user(&email)?.filter(|user| !user.disabled);
            let user = user.filter(|user| !(purpose == Purpose::Verify && user.verified));
            let Some((user, email)) = user.and_then(|user| user.email.clone().map(|email| (user, email))) else {
                return Ok(None);
            };
            if !accounts.may_mail(purpose, &email, now_s) {
                return Ok(None);
            }
            let Some(token) = secret::fresh() else { return Ok(None) };
            Ok(Some(if purpose == Purpose::Reset {
                directory.one_time_put(RESET, &token.hash, &user.id, now_s + SHORT_TOKEN_S)?;
                letters::reset(&email, &user.name, accounts.reset_url(), &token.text)
            } else {
                directory.one_time_put(VERIFY, &token.hash, &user.id, now_s + LONG_TOKEN_S)?;
                letters::verify(&email, &user.name, accounts.verify_url(), &token.text)
            }))
        });
        match letter.await {
            Ok(Some(letter)) => mail.send(letter, place).await,
            Ok(None) => {}
            Err(error) if is_busy(&error) => {}
            Err(error) => tracing::warn!(%error, "a mail was not written"),
        }
    }

    fn weakness(&self, password: &str, user: &UserRow) -> Option<&'static str> {
        rules::weakness(password, self.config.min_password, &user.name, user.email.as_deref())
    }

    /// Sets a password by `set`, which ends all sessions, and tells the owner, even where nobody waits for the answer any more.
    /// `gone` is the answer where the account has gone or is another meanwhile.
    async fn set_password(
        self: &Arc<Self>,
        from: IpAddr,
        set: impl FnOnce(&mut Directory) -> Result<UserRow, DirectoryError> + Send + 'static,
        gone: impl FnOnce() -> Failure,
    ) -> Result<UserRow, Failure> {
        let accounts = Arc::clone(self);
        let user = self.directory(from, move |directory| {
            let user = set(directory)?;
            accounts.state.standing.note(&user);
            accounts.tell_changed(&user);
            Ok(user)
        });
        user.await.map_err(|error| gone_or(&error, gone))
    }

    /// Within a runtime.
    fn tell_changed(&self, user: &UserRow) {
        if let (Some(email), Ok((mail, place))) = (&user.email, self.mail_place()) {
            let letter = letters::changed(email, &user.name);
            tokio::spawn(async move { mail.send(letter, place).await });
        }
    }
}

/// What a mail is for. Each is counted for itself: nobody uses up another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Reset,
    Verify,
    Register,
}

fn sent(onward: Option<String>) -> Outcome {
    Outcome::said(202, json!({"status": "sent"}), "If there is such an account, a mail is on its way.", onward)
}
