//! Whose work is done next: a few at a time in the whole process, so that a flood takes neither the cores nor the memory nor the
//! threads of those who are in. Who waits for one purpose takes no place of those who wait for another, and one network never
//! takes all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// At a time.
const AT_ONCE: usize = 2;

/// Beyond so many that wait in one queue, the next is told to come later …
const WAITING: usize = 64;

/// … and beyond so many of one network.
const OF_ONE_NETWORK: usize = 16;

/// So many may wait for a session that there is: each of them has logged in, and its request waits with it.
const SESSIONS: usize = 4096;

/// A queue of those who wait for their turn.
#[derive(Debug)]
pub struct Turns {
    permits: Arc<Semaphore>,
    room: usize,
    waiting: Mutex<Waiting>,
}

/// The queues of the process.
#[derive(Debug)]
pub struct Queues {
    /// Passwords of `identity.basic`.
    pub basic: Arc<Turns>,
    /// Passwords that accounts log in with.
    pub logins: Turns,
    /// Passwords that accounts set: anybody may, where people register themselves.
    pub new_passwords: Turns,
    /// What accounts read and write: there are few threads that may wait, and names of hosts are looked up on them too.
    pub directory: Turns,
    /// Sessions on the disk that whoever sends a cookie asks for: anybody can make one up.
    pub cookies: Turns,
    /// The same of sessions that there are, or were a moment ago.
    pub sessions: Turns,
}

impl Default for Queues {
    fn default() -> Self {
        let basic = Turns::default();
        let (logins, new_passwords) = (basic.beside(), basic.beside());
        let cookies = Turns::default();
        let sessions = Turns { room: SESSIONS, ..cookies.beside() };
        Self { basic: Arc::new(basic), logins, new_passwords, directory: Turns::default(), cookies, sessions }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), room: WAITING, waiting: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Waiting {
    /// Whether there was a place for one more.
    fn take_place(&mut self, from: Option<IpAddr>, room: usize) -> bool {
        let of_one = from.and_then(|from| self.by_network.get(&from)).copied().unwrap_or_default();
        let is_room = self.all < room && of_one < OF_ONE_NETWORK;
        if is_room {
            self.all += 1;
            if let Some(from) = from {
                self.by_network.insert(from, of_one + 1);
            }
        }
        is_room
    }

    fn leave_place(&mut self, from: Option<IpAddr>) {
        self.all = self.all.saturating_sub(1);
        if let Some(from) = from
            && let Some(of_one) = self.by_network.get_mut(&from)
        {
            *of_one -= 1;
            if *of_one == 0 {
                self.by_network.remove(&from);
            }
        }
    }
}

/// One that waits; no more when it is dropped.
struct Place<'a> {
    turns: &'a Turns,
    from: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.waiting.lock().unwrap_or_else(PoisonError::into_inner).leave_place(self.from);
    }
}

impl Turns {
    /// Another queue for the same turns.
    fn beside(&self) -> Self {
        Self { permits: Arc::clone(&self.permits), room: self.room, waiting: Mutex::default() }
    }

    /// Does `work` for somebody of a network, if one is known, on a thread of its own when its turn comes. None: too many wait
    /// already. Who stops waiting loses the turn; what has begun goes on to its end, and holds its place so long.
    pub async fn run<T: Send + 'static>(
        &self,
        from: Option<IpAddr>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permit
        } else {
            let _place = self.place(from)?;
            Arc::clone(&self.permits).acquire_owned().await.ok()?
        };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let waiting = self.waiting.lock().unwrap();
        waiting.all == 0 && waiting.by_network.is_empty()
    }

    fn place(&self, from: Option<IpAddr>) -> Option<Place<'_>> {
        let is_there = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take_place(from, self.room);
        // Not one that is dropped where there is none: it would give a place back.
        is_there.then(|| Place { turns: self, from })
    }
}
