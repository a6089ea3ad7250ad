//! What several recognisers together say of a request.

use std::sync::Arc;

use shared::config::policy::Combine;

use crate::exchange::{Denial, Ground, KeyMark, Others, Principal, Response};
use crate::identity::{Answer, Recognised, Sends};

/// Answers so far.
pub(super) struct Reckoning {
    combine: Combine,
    all: usize,
    left: usize,
    who: Option<Recognised>,
    /// Those after the first.
    others: Vec<Recognised>,
    denied: Option<Denial>,
    /// The first who cannot say it now, by index of the provider.
    unavailable: Option<usize>,
    refused: Option<Response>,
}

/// What comes of them.
pub(super) enum Settled {
    Who(Recognised),
    Denied(Denial),
    Refused(Response),
    /// By whom, by index of the provider.
    Unavailable(usize),
}

impl Reckoning {
    pub(super) fn new(combine: Combine, providers: usize) -> Self {
        let (who, others) = (None, Vec::new());
        Self { combine, all: providers, left: providers, who, others, denied: None, unavailable: None, refused: None }
    }

    /// Takes a provider's answer. The word for it, and whether the outcome is certain.
    pub(super) fn take(&mut self, answer: Answer) -> (&'static str, bool) {
        let index = self.all.saturating_sub(self.left);
        self.left = self.left.saturating_sub(1);
        let (outcome, is_good) = match answer {
            Answer::Who(recognised) => {
                match &self.who {
                    None => self.who = Some(recognised),
                    Some(_) => self.others.push(recognised),
                }
                ("recognised", true)
            }
            Answer::Denied(denial) => {
                self.denied = Some(self.denied.map_or(denial, |before| telling(before, denial)));
                (denial.code(), false)
            }
            Answer::Unavailable => {
                self.unavailable.get_or_insert(index);
                ("auth_unavailable", false)
            }
            Answer::Refused(response) => {
                self.refused.get_or_insert(response);
                (Denial::ForwardRefused.code(), false)
            }
        };
        (outcome, is_certain(self.combine, is_good))
    }

    /// The outcome. Whoever is not reached might have recognised somebody, or refused: then nothing is certain.
    pub(super) fn settled(mut self, sends: &Sends) -> Settled {
        let is_good = match self.combine {
            Combine::Any => true,
            Combine::All => {
                self.left == 0 && self.denied.is_none() && self.unavailable.is_none() && self.refused.is_none()
            }
        };
        if is_good && let Some(first) = self.who {
            return together(first, self.others, sends).map_or(Settled::Denied(Denial::TokenClaims), Settled::Who);
        }
        if let Some(index) = self.unavailable {
            return Settled::Unavailable(index);
        }
        match (self.refused.take(), self.denied) {
            (Some(response), None | Some(Denial::Missing | Denial::CertificateMissing)) => Settled::Refused(response),
            (_, denied) => Settled::Denied(denied.unwrap_or(Denial::Missing)),
        }
    }
}

/// Whether the outcome is certain with an answer that recognises somebody, or with one that does not.
pub(super) fn is_certain(combine: Combine, is_good: bool) -> bool {
    match combine {
        Combine::Any => is_good,
        Combine::All => !is_good,
    }
}

/// Of two denials the one that says more: of who looked at a credential that was meant for it.
fn telling(one: Denial, other: Denial) -> Denial {
    let rank = |denial: Denial| match denial {
        Denial::CertificateMissing => 0,
        Denial::Missing => 1,
        // A session that is over counts as none where that is allowed: it hides no credential that is bad.
        Denial::SessionInvalid | Denial::SessionExpired => 2,
        Denial::TokenMalformed | Denial::KeyUnknown => 3,
        // It says itself that it is meant for somebody else.
        Denial::TokenIssuer => 4,
        Denial::TokenAlgorithm | Denial::TokenKeyUnknown => 5,
        Denial::TokenSignature => 6,
        Denial::Ambiguous
        | Denial::TooLarge
        | Denial::TokenExpired
        | Denial::TokenNotYetValid
        | Denial::TokenAudience
        | Denial::TokenClaims
        | Denial::TokenRevoked
        | Denial::TokenInactive
        | Denial::KeyExpired
        | Denial::KeyRevoked
        | Denial::PasswordWrong
        | Denial::CertificateExpired
        | Denial::CertificateUntrusted
        | Denial::ForwardRefused => 7,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Who it is says the first; roles and scopes are those of all. None where that cannot be told upstream. Who comes again with the
/// same is the same again, with the same token of our own.
fn together(first: Recognised, others: Vec<Recognised>, sends: &Sends) -> Option<Recognised> {
    if others.is_empty() {
        return Some(first);
    }
    let principals = || others.iter().map(|other| &other.principal);
    let joined = &first.principal.joined;
    let principal = if let Some(known) = joined.of(|known| known.are(principals())) {
        known
    } else {
        let made = Arc::new(join(&first.principal, principals(), sends)?);
        // Whom nobody else holds was made for this request alone.
        if principals().all(|other| Arc::strong_count(other) > 1) {
            joined.keep(Others::new(principals()), &made);
        }
        made
    };
    let mut back = first.back;
    back.extend(others.into_iter().flat_map(|other| other.back));
    Some(Recognised { principal, back })
}

fn join<'a>(
    first: &'a Arc<Principal>,
    others: impl Iterator<Item = &'a Arc<Principal>>,
    sends: &Sends,
) -> Option<Principal> {
    let each: Vec<&Principal> = std::iter::once(first).chain(others).map(|one| &**one).collect();
    let mut principal = Principal::clone(first);
    let more = |own: &mut Box<[Box<str>]>, others: &[Box<str>]| {
        let mut joined = std::mem::take(own).into_vec();
        for other in others {
            if !joined.contains(other) {
                joined.push(other.clone());
            }
        }
        *own = joined.into();
    };
    for other in each.iter().skip(1) {
        more(&mut principal.roles, &other.roles);
        more(&mut principal.scopes, &other.scopes);
        if principal.key.is_none() {
            // Beside somebody else a key is not who it is: an app's key makes its users no one.
            principal.key = other.key.clone().map(|key| KeyMark { is_user: false, ..key });
        }
    }
    principal.until_s = each.iter().filter_map(|one| one.until_s).min();
    principal.shown = Some(each.iter().map(|one| one.credential()).collect::<Vec<_>>().join(", ").into());
    // Whatever recognised it can be taken back.
    principal.ground = Ground::All(each.iter().map(|one| one.ground.clone()).collect());
    principal.sent = sends.about_all(&principal, &each)?;
    Some(principal)
}

#[cfg(test)]
mod tests {
    use shared::config::identity::Identity;

    use super::*;
    use crate::identity::mint::Mint;

    #[test]
    fn who_comes_again_with_the_same_is_the_same() {
        let sends = Sends::compile(&Identity::default(), &Arc::new(Mint::hs256(&[7; 32]).unwrap()), 1);
        let somebody = |user: &str| Arc::new(Principal { user: user.into(), ..Principal::default() });
        let together = |first: &Arc<Principal>, others: &[&Arc<Principal>]| {
            let recognised = |one: &Arc<Principal>| Recognised { principal: Arc::clone(one), back: Vec::new() };
            let others = others.iter().map(|other| recognised(other)).collect();
            together(recognised(first), others, &sends).unwrap().principal
        };
        let (ann, app, other) = (somebody("ann"), somebody("app"), somebody("app"));
        let first = together(&ann, &[&app]);
        assert!(Arc::ptr_eq(&first, &together(&ann, &[&app])));
        // Another of the same name is another.
        let second = together(&ann, &[&other]);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&second, &together(&ann, &[&other, &app])));
        assert_eq!(Arc::strong_count(&app), 1, "it is held by nobody for this");
        // Who is made for one request is not kept.
        let kept = together(&ann, &[&app]);
        let passing = Recognised { principal: somebody("passing"), back: Vec::new() };
        let alone = Recognised { principal: Arc::clone(&ann), back: Vec::new() };
        assert!(super::together(alone, vec![passing], &sends).is_some());
        assert!(Arc::ptr_eq(&kept, &together(&ann, &[&app])));
    }

    #[test]
    fn the_denial_that_says_most_is_told() {
        let check = |one, other, expected| {
            assert_eq!(telling(one, other), expected);
            assert_eq!(telling(other, one), expected);
        };
        check(Denial::Missing, Denial::SessionExpired, Denial::SessionExpired);
        check(Denial::SessionExpired, Denial::TokenRevoked, Denial::TokenRevoked);
        check(Denial::SessionInvalid, Denial::TokenMalformed, Denial::TokenMalformed);
        check(Denial::SessionInvalid, Denial::KeyUnknown, Denial::KeyUnknown);
        check(Denial::TokenIssuer, Denial::TokenExpired, Denial::TokenExpired);
        check(Denial::TokenIssuer, Denial::TokenKeyUnknown, Denial::TokenKeyUnknown);
        check(Denial::TokenIssuer, Denial::TokenMalformed, Denial::TokenIssuer);
        check(Denial::CertificateMissing, Denial::Missing, Denial::Missing);
    }
}
