//! Going: `logout` and `logout-all`.

use std::sync::Arc;

use directory::DirectoryError;
use serde_json::json;

use super::answer::{Failure, refused};
use super::{Accounts, Asked, Caller, Outcome, ended, fields, secret, unavailable};
use crate::exchange::Denial;

impl Accounts {
    /// Ends one login: that of the refresh token, that of the access token, or both.
    pub(super) async fn logout(
        self: &Arc<Self>,
        asked: &mut Asked,
        caller: Result<Caller, Denial>,
    ) -> Result<Outcome, Failure> {
        let fields: fields::Logout = asked.call.fields("Nothing or `refresh_token` is expected.")?;
        let hash = match (&fields.refresh_token, &caller) {
            (None, Err(denial)) => return Err(refused(*denial)),
            (Some(token), _) => secret::hash_of(&token.0),
            (None, Ok(_)) => None,
        };
        let caller = caller.ok();
        let (accounts, now_s) = (Arc::clone(self), asked.now_s);
        if let Some(caller) = &caller {
            // Before anybody waits for the disk, or finds no place to.
            self.state.revoked.hold(&ended(&caller.family, &caller.principal.user, now_s));
        }
        let dropped = self.directory(asked.network, move |directory| {
            let by = caller.as_ref().map_or("proxyd", |caller| &caller.principal.user);
            let end = |directory: &mut _, family: &str| accounts.end_login(directory, family, by, now_s);
            // Each ends, whatever becomes of the other.
            let own = caller.as_ref().map_or(Ok(()), |caller| end(directory, &caller.family));
            let of_token = hash.map_or(Ok(None), |hash| directory.refresh_family(&hash))?;
            own.and(of_token.map_or(Ok(()), |family| end(directory, &family)))
        });
        dropped.await.map_err(|error| unavailable(&error))?;
        // Whether there was such a token is nobody's business (RFC 7009 section 2.2).
        Ok(Outcome::told(200, json!({"status": "logged_out"})))
    }

    /// Ends every login of the account.
    pub(super) async fn logout_all(self: &Arc<Self>, asked: &Asked, caller: &Caller) -> Result<Outcome, Failure> {
        let fields::Nothing {} = asked.call.fields("Nothing is expected.")?;
        let (id, accounts) = (caller.id.clone(), Arc::clone(self));
        let out = self.directory(asked.network, move |directory| {
            let user = directory.user_sign_out(&id)?;
            accounts.state.standing.note(&user);
            Ok(())
        });
        match out.await {
            Ok(()) | Err(DirectoryError::Unknown { .. }) => Ok(Outcome::told(200, json!({"status": "logged_out"}))),
            Err(error) => Err(unavailable(&error)),
        }
    }
}
