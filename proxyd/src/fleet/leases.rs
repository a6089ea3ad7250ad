//! The places that a thread's requests hold at engines: renewed while they go on, given back behind their answers.
//!
//! A process that dies says nothing: its leases end by themselves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Link;
use super::lease::{BATCH, LEASE};

/// A lease is renewed when it has so much left, or less.
const RENEWED_AT: Duration = Duration::from_secs(20);

/// So often it is seen what must be renewed, and asked again what was not answered.
const EVERY: Duration = Duration::from_secs(1);

/// So many places wait to be given back while the engine is silent. The leases of more end by themselves.
const MOST_ENDED: usize = 10_000;

/// See the module. One per thread.
pub struct Leases {
    book: RefCell<Book>,
    ended: Notify,
}

struct Book {
    /// Of this thread of this process, in the engine; none where there is no randomness.
    name: Option<u128>,
    count: u64,
    running: HashMap<u64, Lease>,
    ended: Vec<Lease>,
    /// Given back in vain. Said again at the next tick.
    unheard: Vec<Lease>,
    /// The way to the engine in force: the last that a place was asked of.
    latest: Weak<Link>,
    is_tended: bool,
}

#[derive(Clone)]
struct Lease {
    link: Rc<Link>,
    key: Arc<str>,
    who: Rc<str>,
    /// Whether a request has it. Until then it is only asked for.
    is_held: bool,
    /// Whether the engine may know of it. What it was never told is not given back.
    is_told: bool,
    /// When it ends, if nobody says anything more; none: the engine does not know it, or may not.
    until: Option<Instant>,
}

/// What is said of at once: one key, by one link.
type Shared = (*const Link, Arc<str>);

/// The links that did not answer since the last tick: until the next, nothing is said there.
#[derive(Default)]
struct Silent(Vec<Rc<Link>>);

/// A place that is held, or asked for, until this is dropped.
pub struct Place {
    leases: Rc<Leases>,
    number: u64,
}

impl Default for Leases {
    fn default() -> Self {
        let mut name = [0; 16];
        let name = getrandom::fill(&mut name).is_ok().then(|| u128::from_le_bytes(name));
        let book = Book {
            name,
            count: 0,
            running: HashMap::new(),
            ended: Vec::new(),
            unheard: Vec::new(),
            latest: Weak::new(),
            is_tended: false,
        };
        Self { book: RefCell::new(book), ended: Notify::new() }
    }
}

impl Leases {
    /// Somebody who will ask for a place. None where it cannot be told from others.
    pub fn open(self: &Rc<Self>, link: &Rc<Link>, key: Arc<str>) -> Option<Place> {
        let mut book = self.book.borrow_mut();
        let number = book.count;
        book.count += 1;
        let who = format!("{:032x}:{number:x}", book.name?).into();
        let lease = Lease { link: Rc::clone(link), key, who, is_held: false, is_told: true, until: None };
        book.running.insert(number, lease);
        book.latest = Rc::downgrade(link);
        if !std::mem::replace(&mut book.is_tended, true) {
            tokio::task::spawn_local(Rc::clone(self).tend());
        }
        Some(Place { leases: Rc::clone(self), number })
    }

    async fn tend(self: Rc<Self>) {
        let mut silent = Silent::default();
        let mut tick = Instant::now() + EVERY;
        loop {
            tokio::select! {
                () = self.ended.notified() => {}
                () = tokio::time::sleep_until(tick) => {}
            }
            let is_tick = Instant::now() >= tick;
            if is_tick {
                silent.0.clear();
                let book = &mut *self.book.borrow_mut();
                book.ended.append(&mut book.unheard);
            }
            // One after the other: what is given back is not held on by what was said before.
            self.free(&mut silent).await;
            if is_tick {
                self.renew(&mut silent).await;
                tick = Instant::now() + EVERY;
            }
        }
    }

    async fn free(&self, silent: &mut Silent) {
        let mut ended = std::mem::take(&mut self.book.borrow_mut().ended);
        while let Some(first) = ended.first() {
            let link = Rc::clone(&first.link);
            let these: Vec<Lease>;
            (these, ended) = ended.into_iter().partition(|lease| Rc::ptr_eq(&lease.link, &link));
            if !silent.has(&link) {
                let places: Vec<(&str, &str)> = these.iter().map(|lease| (&*lease.key, &*lease.who)).collect();
                if link.free_places(&places).await.is_ok() {
                    continue;
                }
                silent.0.push(link);
            }
            let now = Instant::now();
            let book = &mut *self.book.borrow_mut();
            // What has ended by itself needs no word.
            let open = these.into_iter().filter(|lease| lease.until.is_some_and(|until| now < until));
            let room = book.room();
            book.unheard.extend(open.take(room));
        }
    }

    async fn renew(&self, silent: &mut Silent) {
        for ((_, key), leases) in self.due() {
            for batch in leases.chunks(BATCH) {
                let Some((_, first)) = batch.first() else { continue };
                if silent.has(&first.link) {
                    continue;
                }
                let all: Vec<&str> = batch.iter().map(|(_, lease)| &*lease.who).collect();
                let until = Instant::now() + LEASE;
                // One that ends meanwhile is given back.
                self.each(batch, |lease, _| lease.is_told = true);
                match first.link.hold_places(&key, &all).await {
                    Ok(()) => self.each(batch, |lease, _| lease.until = Some(until)),
                    Err(error) => {
                        silent.0.push(Rc::clone(&first.link));
                        if !error.may_be_heard() {
                            self.each(batch, |lease, before| lease.is_told = before.is_told);
                        }
                    }
                }
            }
        }
        self.leave(silent);
    }

    fn due(&self) -> HashMap<Shared, Vec<(u64, Lease)>> {
        let now = Instant::now();
        let is_due = |lease: &&Lease| lease.until.is_none_or(|until| until <= now + RENEWED_AT);
        let mut due: HashMap<Shared, Vec<(u64, Lease)>> = HashMap::new();
        for (number, lease) in self.book.borrow().running.iter().filter(|(_, lease)| lease.is_held && is_due(lease)) {
            let key = (Rc::as_ptr(&lease.link), Arc::clone(&lease.key));
            due.entry(key).or_default().push((*number, lease.clone()));
        }
        due
    }

    /// Those of them that still run, each with what it was.
    fn each(&self, leases: &[(u64, Lease)], act: impl Fn(&mut Lease, &Lease)) {
        let mut book = self.book.borrow_mut();
        for (number, before) in leases {
            if let Some(lease) = book.running.get_mut(number) {
                act(lease, before);
            }
        }
    }

    /// Forgets what is over at engines that say nothing and are no longer in force: nobody asks there any more.
    fn leave(&self, silent: &Silent) {
        let now = Instant::now();
        let Book { running, latest, .. } = &mut *self.book.borrow_mut();
        let is_past = |link: &Rc<Link>| silent.has(link) && Rc::as_ptr(link) != latest.as_ptr();
        if silent.0.iter().any(is_past) {
            let is_over = |lease: &Lease| lease.is_held && lease.until.is_none_or(|until| until <= now);
            running.retain(|_, lease| !(is_over(lease) && is_past(&lease.link)));
        }
    }
}

impl Book {
    /// How many more may wait to be given back.
    fn room(&self) -> usize {
        MOST_ENDED.saturating_sub(self.ended.len() + self.unheard.len())
    }
}

impl Silent {
    fn has(&self, link: &Rc<Link>) -> bool {
        self.0.iter().any(|silent| Rc::ptr_eq(silent, link))
    }
}

impl Place {
    /// What the engine calls whoever has it.
    pub fn who(&self) -> Rc<str> {
        let book = self.leases.book.borrow();
        book.running.get(&self.number).map_or_else(|| "".into(), |lease| Rc::clone(&lease.who))
    }

    /// The engine has given it.
    pub fn taken(&self) {
        self.hold(Some(Instant::now() + LEASE));
    }

    /// It was not asked for after all: the engine knows nothing of it.
    pub fn unasked(&self) {
        if let Some(lease) = self.leases.book.borrow_mut().running.get_mut(&self.number) {
            lease.is_told = false;
        }
    }

    /// It is held although nobody answered: the engine is told when it does.
    pub fn owed(&self) {
        self.hold(None);
    }

    fn hold(&self, until: Option<Instant>) {
        if let Some(lease) = self.leases.book.borrow_mut().running.get_mut(&self.number) {
            (lease.is_held, lease.until) = (true, until);
        }
    }

    /// The engine has not given it: there is nothing to give back.
    pub fn refused(self) {
        self.leases.book.borrow_mut().running.remove(&self.number);
    }
}

/// Gives it back, also where it was asked for and nobody heard the answer; not where it was not asked for.
impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.leases.book.borrow_mut();
        let Some(mut lease) = book.running.remove(&self.number) else { return };
        if lease.is_told && book.room() > 0 {
            lease.until.get_or_insert_with(|| Instant::now() + LEASE);
            book.ended.push(lease);
            self.leases.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::settings;
    use crate::fleet::{Engine, Fleet};

    /// Nobody is there.
    fn away(fleet: &Fleet) -> Rc<Link> {
        fleet.link(&Engine::compile(Some(&settings("redis://127.0.0.1:1")), None).unwrap())
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let options = tokio::runtime::LocalOptions::default();
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap().block_on(future)
    }

    #[test]
    fn only_what_an_engine_may_know_of_is_given_back() {
        run(async {
            let fleet = Fleet::new(&Arc::default());
            let (link, leases) = (away(&fleet), fleet.leases());
            let open = || leases.open(&link, "{k}".into()).unwrap();
            let waiting = || MOST_ENDED - leases.book.borrow().room();
            open().unasked();
            open().refused();
            let local = open();
            local.unasked();
            local.owed();
            leases.renew(&mut Silent::default()).await;
            drop(local);
            assert_eq!(waiting(), 0, "nobody was told of any");
            drop(open());
            open().taken();
            open().owed();
            assert_eq!(waiting(), 3, "the engine may have heard of these");
            leases.free(&mut Silent::default()).await;
            assert_eq!((waiting(), leases.book.borrow().ended.len()), (3, 0), "said again at the next tick");
        });
    }

    #[test]
    fn what_is_over_at_an_engine_of_before_is_left() {
        run(async {
            let fleet = Fleet::new(&Arc::default());
            let (before, leases) = (away(&fleet), fleet.leases());
            let running = || leases.book.borrow().running.len();
            let owed = leases.open(&before, "{k}".into()).unwrap();
            owed.owed();
            leases.renew(&mut Silent::default()).await;
            assert_eq!(running(), 1, "it is in force");
            let taken = leases.open(&before, "{k}".into()).unwrap();
            taken.taken();
            let asked = leases.open(&away(&fleet), "{k}".into()).unwrap();
            leases.renew(&mut Silent::default()).await;
            assert_eq!(running(), 2, "a lease that goes on is left to end, and one that is asked for is awaited");
            drop((owed, taken, asked));
        });
    }
}
