//! Going: `logout` and `logout-all`.

use std::sync::Arc;

use directory::DirectoryError;
use serde_json::json;

use super::answer::{Failure, refused};
use super::{Accounts, Asked, Caller, Outcome, fields, secret, unavailable};
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
        let dropped = self.directory(asked.network, move |directory| {
            let of_token = hash.map_or(Ok(None), |hash| directory.refresh_family(&hash))?;
            let by = caller.as_ref().map_or("proxyd", |caller| &caller.principal.user);
            for family in of_token.iter().chain(caller.as_ref().map(|caller| &caller.family)) {
                accounts.end_login(directory, family, by, now_s)?;
            }
            Ok(())
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
