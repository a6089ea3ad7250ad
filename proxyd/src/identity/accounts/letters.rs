//! The mails' texts. Nothing in them comes from whoever asks for one, but an account's name, which is plain. Pure.

/// A mail to somebody, before it is one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) to: String,
    pub(super) subject: &'static str,
    /// It may hold a token: not to be shown.
    pub(super) text: String,
}

/// What a link holds in place of its token.
const PLACE: &str = "{token}";

/// To verify that the address is the account's.
pub(super) fn verify(to: &str, name: &str, url: &str, token: &str) -> Letter {
    let link = url.replace(PLACE, token);
    Letter {
        to: to.to_owned(),
        subject: "Verify your e-mail address",
        text: format!(
            "Hello {name},\n\nplease verify that this is your e-mail address:\n\n{link}\n\n\
             The link is good for 24 hours. If you did not ask for an account, do nothing.\n"
        ),
    }
}

/// To set a new password.
pub(super) fn reset(to: &str, name: &str, url: &str, token: &str) -> Letter {
    let link = url.replace(PLACE, token);
    Letter {
        to: to.to_owned(),
        subject: "Set a new password",
        text: format!(
            "Hello {name},\n\nsomebody, probably you, asked for a new password. Set it here:\n\n{link}\n\n\
             The link is good for one hour and for one use. If it was not you, do nothing: your password stays as it is.\n"
        ),
    }
}

/// Somebody registered with an address that has an account.
pub(super) fn known(to: &str, name: &str) -> Letter {
    Letter {
        to: to.to_owned(),
        subject: "You have an account already",
        text: format!(
            "Hello,\n\nsomebody, probably you, asked for an account with this e-mail address. There is one already: {name}.\n\n\
             If you forgot its password, ask for a new one where you log in. If it was not you, do nothing.\n"
        ),
    }
}

/// Somebody registered with a name that another account has.
pub(super) fn taken(to: &str, name: &str) -> Letter {
    Letter {
        to: to.to_owned(),
        subject: "This name is taken",
        text: format!(
            "Hello,\n\nsomebody, probably you, asked for an account with the name {name}. Another account has it: please \
             register again with another name. If it was not you, do nothing.\n"
        ),
    }
}

/// The password was changed.
pub(super) fn changed(to: &str, name: &str) -> Letter {
    Letter {
        to: to.to_owned(),
        subject: "Your password was changed",
        text: format!(
            "Hello {name},\n\nthe password of your account was changed, and all its sessions have ended. If it was not you, set \
             a new one now: ask for it where you log in.\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_its_token() {
        let check = |letter: Letter, link: &str| {
            assert!(letter.text.lines().any(|line| line == link), "{}", letter.text);
            assert_eq!(letter.to, "ann@example.com");
        };
        check(
            verify("ann@example.com", "ann", "https://a.example/v?t={token}#x", "T-_"),
            "https://a.example/v?t=T-_#x",
        );
        check(reset("ann@example.com", "ann", "https://a.example/r/{token}", "T-_"), "https://a.example/r/T-_");
    }
}
