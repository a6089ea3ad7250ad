//! Logins that are under way: what was drawn for one of them waits in a cookie of its own, sealed, for ten minutes at most.
//! Only the browser that began a login can end it, and only once.

use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::exchange::{Headers, Value};
use crate::identity::seal::{Purpose, Seals};
use crate::identity::session::cookie::{self, Found, Jar};
use crate::identity::session::random;

/// How long a login may take.
pub(super) const LASTS_S: i64 = 600;

/// Logins that one browser may have under way: more cookies make its requests too large.
const MOST: usize = 4;

/// Cookies that are opened to find out how old their logins are.
const MOST_OPENED: usize = 4 * MOST;

/// Logins that are remembered as ended.
const MOST_ENDED: usize = 16_384;

/// The longest state that is looked at.
const LONGEST_STATE: usize = 128;

/// One login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The provider gives it back; nobody else knows it.
    pub state: String,
    /// The provider puts it into its token.
    pub nonce: String,
    /// Proves to the provider that we are who began it (RFC 7636).
    pub verifier: String,
    /// Which login of the config.
    pub login: String,
    /// Where somebody wanted to go.
    pub to: String,
    /// Of the request that began it: the provider sends people back there.
    pub origin: String,
    pub at_s: i64,
}

impl Pending {
    /// Draws a new one.
    pub(super) fn draw(login: &str, to: &str, origin: &str, now_s: i64) -> Option<Self> {
        Some(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            login: login.to_owned(),
            to: to.to_owned(),
            origin: origin.to_owned(),
            at_s: now_s,
        })
    }

    /// The cookie that it waits in.
    pub(super) fn set(&self, jar: &Jar, seals: &Seals, https: bool) -> Option<Value> {
        let name = name(jar, https, &self.state);
        let text = serde_json::to_vec(self).ok()?;
        Jar::set_pending(https, &name, &seals.seal(Purpose::Pending, &name, &text)?, LASTS_S)
    }

    /// Takes its cookie back.
    pub(super) fn forget(jar: &Jar, https: bool, state: &str) -> Option<Value> {
        Jar::set_pending(https, &name(jar, https, state), "", 0)
    }

    /// The login that this state belongs to, as the browser's cookie has it.
    pub(super) fn find(
        headers: &Headers,
        jar: &Jar,
        seals: &Seals,
        https: bool,
        state: &str,
        now_s: i64,
    ) -> Option<Self> {
        if state.is_empty() || state.len() > LONGEST_STATE {
            return None;
        }
        let name = name(jar, https, state);
        let Found::One(value) = cookie::find(headers, &name) else { return None };
        let pending = Self::open(seals, &name, value)?;
        let same: bool = subtle::ConstantTimeEq::ct_eq(pending.state.as_bytes(), state.as_bytes()).into();
        (same && pending.is_under_way(now_s)).then_some(pending)
    }

    fn open(seals: &Seals, name: &str, value: &[u8]) -> Option<Self> {
        serde_json::from_slice(&seals.open(Purpose::Pending, name, value)?).ok()
    }

    fn is_under_way(&self, now_s: i64) -> bool {
        now_s < self.at_s.saturating_add(LASTS_S)
    }
}

/// Takes back the cookies of logins that are over, and the oldest of those under way, so that there is room for one more: people
/// go on in the tabs that they opened last.
pub(super) fn sweep(headers: &Headers, jar: &Jar, seals: &Seals, https: bool, now_s: i64) -> Vec<Value> {
    let prefix = jar.pending(https);
    let mut found: Vec<(i64, &str)> = cookie::pairs(headers)
        .filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value)))
        .filter(|(name, _)| name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit())))
        .take(MOST_OPENED)
        .map(|(name, value)| {
            let pending = Pending::open(seals, name, value).filter(|pending| pending.is_under_way(now_s));
            // What cannot be opened is good for nothing any more.
            (pending.map_or(i64::MIN, |pending| pending.at_s), name)
        })
        .collect();
    found.sort_unstable();
    let many = found.len().saturating_sub(MOST - 1);
    let old = found.iter().enumerate().filter(|(at, (at_s, _))| *at < many || *at_s == i64::MIN);
    old.filter_map(|(_, (_, name))| Jar::set_pending(https, name, "", 0)).collect()
}

/// Each login has a cookie of its own: people log in in several tabs at once.
fn name(jar: &Jar, https: bool, state: &str) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.as_bytes());
    let mut name = jar.pending(https).to_owned();
    for byte in digest.as_ref().iter().take(4) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Logins that have ended: a cookie that somebody kept is no good a second time.
#[derive(Default)]
pub(super) struct Ended(Mutex<HashMap<u128, i64>>);

impl Ended {
    /// Whether this is the first time that the state is brought. Where more logins end than are remembered, those remembered
    /// longest go first.
    pub(super) fn take(&self, state: &str, now_s: i64) -> bool {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.as_bytes());
        let Some(key) = digest.as_ref().first_chunk::<16>().map(|bytes| u128::from_be_bytes(*bytes)) else {
            return false;
        };
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.len() >= MOST_ENDED {
            ended.retain(|_, until_s| now_s < *until_s);
        }
        if ended.len() >= MOST_ENDED
            && let Some(first) = ended.iter().min_by_key(|(_, until_s)| **until_s).map(|(key, _)| *key)
        {
            ended.remove(&first);
        }
        ended.insert(key, now_s + LASTS_S).is_none()
    }
}

#[cfg(test)]
mod tests {
    use shared::config::identity::Session;

    use super::*;

    fn sent(cookies: &[Value]) -> Headers {
        let mut headers = Headers::new();
        for cookie in cookies {
            let text = cookie.as_bytes().split(|byte| *byte == b';').next().unwrap();
            assert!(headers.push(b"cookie", text));
        }
        headers
    }

    #[test]
    fn only_its_own_browser_finds_it_in_time_and_unchanged() {
        let jar = Jar::of(&Session::default());
        let seals = Seals::of(&[b"one"]).unwrap();
        let pending = Pending::draw("github", "/to", "https://a.example", 100).unwrap();
        let other = Pending::draw("github", "/to", "https://a.example", 100).unwrap();
        let cookie = pending.set(&jar, &seals, true).unwrap();
        let find = |cookies: &[Value], seals: &Seals, https, state: &str, now_s| {
            Pending::find(&sent(cookies), &jar, seals, https, state, now_s).is_some()
        };
        let own = [cookie.clone()];
        assert!(!find(&[], &seals, true, &pending.state, 100), "no cookie");
        assert!(!find(&own, &seals, true, &other.state, 100), "another state");
        assert!(!find(&own, &seals, true, "", 100), "no state");
        assert!(!find(&own, &seals, true, &"a".repeat(129), 100), "a long state");
        assert!(!find(&own, &Seals::of(&[b"two"]).unwrap(), true, &pending.state, 100), "another key");
        assert!(!find(&own, &seals, false, &pending.state, 100), "another scheme");
        assert!(!find(&[cookie.clone(), cookie.clone()], &seals, true, &pending.state, 100), "two of them");
        assert!(!find(&own, &seals, true, &pending.state, 100 + LASTS_S), "too late");
        // One login's cookie under another's name.
        let text = String::from_utf8(cookie.as_bytes().to_vec()).unwrap();
        let moved = text.replace(&name(&jar, true, &pending.state), &name(&jar, true, &other.state));
        assert!(!find(&[Value::parse(&moved).unwrap()], &seals, true, &other.state, 100), "moved");
        // A session's cookie in its place.
        let session = seals.seal(Purpose::Session, &name(&jar, true, &pending.state), b"{}").unwrap();
        let session = format!("{}={session}", name(&jar, true, &pending.state));
        assert!(!find(&[Value::parse(&session).unwrap()], &seals, true, &pending.state, 100), "another purpose");
        assert!(find(&own, &seals, true, &pending.state, 99 + LASTS_S));
        assert!(find(&own, &Seals::of(&[b"two", b"one"]).unwrap(), true, &pending.state, 100), "an earlier key");
    }

    #[test]
    fn each_state_is_taken_once() {
        let ended = Ended::default();
        assert!(ended.take("a", 0));
        assert!(!ended.take("a", 1));
        assert!(ended.take("b", 1));
        for number in 0..MOST_ENDED {
            ended.take(&number.to_string(), 2);
        }
        assert!(ended.0.lock().unwrap().len() <= MOST_ENDED);
        assert!(!ended.take(&(MOST_ENDED - 1).to_string(), 3));
    }

    #[test]
    fn what_is_left_of_many_logins_is_taken_back() {
        let jar = Jar::of(&Session::default());
        let seals = Seals::of(&[b"one"]).unwrap();
        let begun = |at_s: i64| Pending::draw("a", "/", "o", at_s).unwrap().set(&jar, &seals, false).unwrap();
        // Names come in no order that says which is older.
        let cookies: Vec<Value> = [30, 10, 40, 20].map(begun).into();
        let name = |cookie: &Value| String::from_utf8_lossy(cookie.as_bytes()).split('=').next().unwrap().to_owned();
        let check = |cookies: &[Value], https, now_s, expected: &[&Value]| {
            let swept = sweep(&sent(cookies), &jar, &seals, https, now_s);
            assert!(
                swept.iter().all(|cookie| String::from_utf8_lossy(cookie.as_bytes()).contains("=; Path=/; Max-Age=0;"))
            );
            let mut swept: Vec<_> = swept.iter().map(name).collect();
            let mut expected: Vec<_> = expected.iter().map(|cookie| name(cookie)).collect();
            swept.sort();
            expected.sort();
            assert_eq!(swept, expected, "{now_s}");
        };
        check(&cookies[1..], false, 50, &[]);
        check(&cookies, false, 50, &[&cookies[1]]);
        check(&cookies, true, 50, &[]);
        check(&cookies[1..], false, 20 + LASTS_S, &[&cookies[1], &cookies[3]]);
        check(&cookies, false, 40 + LASTS_S, &cookies.iter().collect::<Vec<_>>());
        let many: Vec<Value> = (0..10).map(begun).collect();
        check(&many, false, 50, &many[..7].iter().collect::<Vec<_>>());
        let broken = Value::parse(&format!("{}=broken; Path=/", name(&cookies[0]))).unwrap();
        check(&[broken, cookies[1].clone()], false, 50, &[&cookies[0]]);
        let hostile: Vec<Value> = (0..100).map(begun).collect();
        assert_eq!(sweep(&sent(&hostile), &jar, &seals, false, 200).len(), MOST_OPENED - MOST + 1);
    }
}
