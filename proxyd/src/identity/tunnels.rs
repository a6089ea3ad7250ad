//! Tunnels that are open on one worker: each ends when what it was opened with is taken back. Requests pay nothing for it: it is looked
//! once a second, and only where something was taken back anywhere, or where something ends by itself now.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::bans::Terms;
use super::state::State;
use crate::exchange::{Ground, Principal};
use hashbrown::HashMap;

/// Why a tunnel ends before its two sides want to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// What it was opened with was taken back.
    Revoked,
    /// The same has expired, where that ends tunnels.
    Expired,
    /// The client's address is kept out.
    Banned,
}

impl Taken {
    /// How the tunnel ended.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Revoked => "tunnel_revoked",
            Self::Expired => "tunnel_expired",
            Self::Banned => "tunnel_banned",
        }
    }
}

/// What a tunnel was opened with.
#[derive(Debug)]
pub struct Open {
    pub principal: Option<Arc<Principal>>,
    pub client: IpAddr,
    /// Whether it ends, too, when that expires.
    pub ends_expired: bool,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub state: &'a State,
    /// Of the config in force, and its generation.
    pub bans: Terms<'a>,
    pub generation: u64,
    /// Seconds since the epoch.
    pub now_s: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Tunnels {
    open: RefCell<HashMap<u64, Rc<Watched>>>,
    next: Cell<u64>,
    /// What was looked at last: the state's number and the config's.
    seen: Cell<(u64, u64)>,
    /// When the first of them ends by itself.
    due_s: Cell<i64>,
}

#[derive(Debug)]
struct Watched {
    open: Open,
    taken: Cell<Option<Taken>>,
    waker: RefCell<Option<Waker>>,
}

/// An open tunnel's place among them.
#[derive(Debug)]
pub struct Tunnel {
    all: Rc<Tunnels>,
    number: u64,
    watched: Rc<Watched>,
}

/// How long a ground stands if nobody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stands {
    /// Until it counts as taken back.
    revoked_s: i64,
    /// Until it expires.
    expires_s: i64,
}

impl Tunnels {
    /// A tunnel begins. What was taken back since its request came is found now.
    pub fn open(self: &Rc<Self>, open: Open, look: &Look<'_>) -> Tunnel {
        let watched = Rc::new(Watched { open, taken: Cell::new(None), waker: RefCell::default() });
        let due_s = watched.judge(look);
        if self.open.borrow().is_empty() {
            // Nobody looked while there was none.
            self.due_s.set(i64::MAX);
        }
        self.due_s.set(due_s.min(self.due_s.get()));
        let number = self.next.replace(self.next.get().wrapping_add(1));
        self.open.borrow_mut().insert(number, Rc::clone(&watched));
        Tunnel { all: Rc::clone(self), number, watched }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Looks at all of them, where something may have changed.
    pub fn look(&self, look: &Look<'_>) {
        // Before anything is looked up: what changes meanwhile is looked for again.
        let seen = (look.state.changes(), look.generation);
        if self.seen.replace(seen) == seen && look.now_s < self.due_s.get() {
            return;
        }
        let mut due_s = i64::MAX;
        for watched in self.open.borrow().values() {
            due_s = due_s.min(watched.judge(look));
        }
        self.due_s.set(due_s);
    }
}

impl Watched {
    /// Notes what has become of it. When it is to be judged again though nothing changes.
    fn judge(&self, look: &Look<'_>) -> i64 {
        if self.taken.get().is_some() {
            return i64::MAX;
        }
        let now_s = look.now_s;
        let bans = &look.state.bans;
        let is_banned = bans.check(self.open.client, now_s).is_some()
            && bans.check_now(self.open.client, now_s, &look.bans).is_some();
        let stands = match &self.open.principal {
            Some(principal) => look.state.stands(&principal.ground),
            None => Stands::ALWAYS,
        };
        let expires_s = if self.open.ends_expired { stands.expires_s } else { i64::MAX };
        let taken = if stands.revoked_s <= now_s {
            Taken::Revoked
        } else if is_banned {
            Taken::Banned
        } else if expires_s <= now_s {
            Taken::Expired
        } else {
            return stands.revoked_s.min(expires_s);
        };
        self.taken.set(Some(taken));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        i64::MAX
    }
}

impl Tunnel {
    /// Whether it is to end; else whoever waits is told when it is.
    pub fn poll(&self, cx: &Context<'_>) -> Option<Taken> {
        let taken = self.watched.taken.get();
        if taken.is_none() {
            let mut waker = self.watched.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        taken
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.all.open.borrow_mut().remove(&self.number);
    }
}

impl Stands {
    const ALWAYS: Self = Self { revoked_s: i64::MAX, expires_s: i64::MAX };
    const NO_MORE: Self = Self { revoked_s: i64::MIN, expires_s: i64::MAX };

    /// Both of them.
    fn and(self, other: Self) -> Self {
        Self { revoked_s: self.revoked_s.min(other.revoked_s), expires_s: self.expires_s.min(other.expires_s) }
    }
}

impl State {
    /// Another number after each change that could end a tunnel.
    fn changes(&self) -> u64 {
        let numbers = [self.keys.changes(), self.revoked.epoch(), self.standing.changes(), self.bans.changes()];
        numbers.iter().fold(0, |sum, number| sum.wrapping_add(*number))
    }

    fn stands(&self, ground: &Ground) -> Stands {
        match ground {
            Ground::Nothing => Stands::ALWAYS,
            Ground::Key { prefix, hash } => match self.keys.until(prefix, hash) {
                Some((revoked_s, expires_s)) => Stands { revoked_s, expires_s },
                None => Stands::NO_MORE,
            },
            Ground::Token { provider, jti: Some(jti), .. } if self.revoked.is_revoked(provider, jti) => Stands::NO_MORE,
            Ground::Token { until_s, .. } => Stands { expires_s: *until_s, ..Stands::ALWAYS },
            Ground::Account { id, epoch } if self.standing.holds(id, *epoch) => Stands::ALWAYS,
            Ground::Account { .. } => Stands::NO_MORE,
            Ground::All(grounds) => {
                grounds.iter().fold(Stands::ALWAYS, |stands, ground| stands.and(self.stands(ground)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use directory::{NewKey, RevokedRow, UserRow};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    const CLIENT: &str = "192.0.2.1";
    const ANN: &str = "00000000000000a1";

    fn look(state: &State, now_s: i64) -> Look<'_> {
        Look { state, bans: Terms { bans: None, trusted_proxies: &[] }, generation: 1, now_s }
    }

    fn open(ground: Ground, ends_expired: bool) -> Open {
        let principal = Some(Arc::new(Principal { ground, ..Principal::default() }));
        Open { principal, client: CLIENT.parse().unwrap(), ends_expired }
    }

    fn token(jti: &str, until_s: i64) -> Ground {
        Ground::Token { provider: "jwt.main".into(), jti: Some(jti.into()), until_s }
    }

    fn revoke(state: &State, jti: &str) {
        let row =
            RevokedRow { provider: "*".into(), jti: jti.into(), expires_s: 1 << 40, revoked_s: 0, by: "test".into() };
        state.token_revoke(&row).unwrap();
    }

    fn ann(epoch: u32) -> UserRow {
        UserRow {
            id: ANN.to_owned(),
            name: "ann".to_owned(),
            email: None,
            password_hash: None,
            roles: Vec::new(),
            verified: false,
            disabled: false,
            created_s: 0,
            changed_s: 0,
            login_s: None,
            epoch,
        }
    }

    #[test]
    fn each_ends_with_what_it_was_opened_with() {
        let state = State::in_memory();
        state.standing.note(&ann(1));
        let new = NewKey { name: "a".into(), by: "test".into(), ..NewKey::default() };
        let (_, text) = state.key_create(new, 0).unwrap();
        let text = text.reveal().as_bytes().to_vec();
        let key = Ground::Key { prefix: directory::prefix_of(&text).unwrap().into(), hash: directory::digest(&text) };
        let account = |epoch| Ground::Account { id: ANN.into(), epoch };
        let all = Rc::new(Tunnels::default());
        let begin = |ground| all.open(open(ground, false), &look(&state, 10));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let taken = |tunnels: &[&Tunnel], now_s| {
            all.look(&look(&state, now_s));
            tunnels.iter().map(|one| one.poll(&Context::from_waker(&waker))).collect::<Vec<_>>()
        };
        let revoked = Some(Taken::Revoked);
        let (by_key, by_token) = (begin(key), begin(token("one", 20)));
        let (by_two, nobody) = (begin(Ground::All([token("two", 20), account(1)].into())), begin(Ground::Nothing));
        let tunnels = [&by_key, &by_token, &by_two, &nobody];
        assert_eq!(taken(&tunnels, 30), [None; 4], "what expires goes on");
        assert_eq!(begin(account(2)).poll(&Context::from_waker(&waker)), revoked, "taken back before it began");
        revoke(&state, "one");
        assert_eq!(taken(&tunnels, 31), [None, revoked, None, None]);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "whoever waits is told, and nobody else");
        state.standing.note(&ann(2));
        assert_eq!(taken(&tunnels, 32), [None, revoked, revoked, None]);
        // The text before a rotation ends when it no more opens.
        state.key_rotate("a", 60, 33).unwrap();
        assert_eq!(taken(&tunnels, 92), [None, revoked, revoked, None]);
        assert_eq!(taken(&tunnels, 93), [revoked, revoked, revoked, None]);
        state.ban(CLIENT.parse::<IpAddr>().unwrap().into(), 200, "by hand", "test", 94).unwrap();
        assert_eq!(taken(&tunnels, 95), [revoked, revoked, revoked, Some(Taken::Banned)]);
        drop((by_key, by_token, by_two, nobody));
        assert!(all.is_empty());
    }

    #[test]
    fn what_expires_ends_where_that_is_wanted() {
        let state = State::in_memory();
        let all = Rc::new(Tunnels::default());
        let begin = |until_s, ends_expired| all.open(open(token("a", until_s), ends_expired), &look(&state, 0));
        let (early, late, stays) = (begin(10, true), begin(20, true), begin(10, false));
        let check = |now_s, expected: [bool; 3]| {
            all.look(&look(&state, now_s));
            let found = [&early, &late, &stays].map(|one| one.poll(&Context::from_waker(Waker::noop())));
            assert_eq!(found, expected.map(|ends| ends.then_some(Taken::Expired)), "{now_s}");
        };
        check(9, [false; 3]);
        check(10, [true, false, false]);
        check(19, [true, false, false]);
        check(20, [true, true, false]);
    }
}
