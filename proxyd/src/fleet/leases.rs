//! The places that a thread's requests hold at engines: renewed while they go on, given back behind their answers.
//!
//! A process that dies says nothing: its leases end by themselves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Link;
use super::lease::LEASE;

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
    is_tended: bool,
}

#[derive(Clone)]
struct Lease {
    link: Rc<Link>,
    key: Arc<str>,
    who: Rc<str>,
    /// Whether a request has it. Until then it is only asked for.
    is_held: bool,
    /// When it ends, if nobody says anything more; none: the engine does not know it, or may not.
    until: Option<Instant>,
}

/// What is said of at once: one key, by one link.
type Shared = (*const Link, Arc<str>);

/// A place that is held, or asked for, until this is dropped.
pub struct Place {
    leases: Rc<Leases>,
    number: u64,
}

impl Default for Leases {
    fn default() -> Self {
        let mut name = [0; 16];
        let name = getrandom::fill(&mut name).is_ok().then(|| u128::from_le_bytes(name));
        let book = Book { name, count: 0, running: HashMap::new(), ended: Vec::new(), is_tended: false };
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
        book.running.insert(number, Lease { link: Rc::clone(link), key, who, is_held: false, until: None });
        if !std::mem::replace(&mut book.is_tended, true) {
            tokio::task::spawn_local(Rc::clone(self).tend());
        }
        Some(Place { leases: Rc::clone(self), number })
    }

    async fn tend(self: Rc<Self>) {
        loop {
            tokio::select! {
                () = self.ended.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            // One after the other: what is given back is not held on by what was said before.
            self.free().await;
            self.renew().await;
        }
    }

    async fn free(&self) {
        let mut ended = std::mem::take(&mut self.book.borrow_mut().ended);
        while let Some(first) = ended.first() {
            let link = Rc::clone(&first.link);
            let (these, others): (Vec<Lease>, Vec<Lease>) =
                ended.into_iter().partition(|lease| Rc::ptr_eq(&lease.link, &link));
            let places: Vec<(&str, &str)> = these.iter().map(|lease| (&*lease.key, &*lease.who)).collect();
            if link.free_places(&places).await.is_err() {
                let now = Instant::now();
                let book = &mut *self.book.borrow_mut();
                let room = MOST_ENDED.saturating_sub(book.ended.len());
                // What has ended by itself needs no word.
                let open = these.into_iter().filter(|lease| lease.until.is_some_and(|until| now < until));
                book.ended.extend(open.take(room));
            }
            ended = others;
        }
    }

    async fn renew(&self) {
        let now = Instant::now();
        let is_due = |lease: &&Lease| lease.until.is_none_or(|until| until <= now + RENEWED_AT);
        let mut due: HashMap<Shared, Vec<(u64, Lease)>> = HashMap::new();
        for (number, lease) in self.book.borrow().running.iter().filter(|(_, lease)| lease.is_held && is_due(lease)) {
            let key = (Rc::as_ptr(&lease.link), Arc::clone(&lease.key));
            due.entry(key).or_default().push((*number, lease.clone()));
        }
        for ((_, key), leases) in due {
            let Some((_, first)) = leases.first() else { continue };
            let all: Vec<String> = leases.iter().map(|(_, lease)| lease.who.to_string()).collect();
            let until = Instant::now() + LEASE;
            if first.link.hold_places(&key, &all).await.is_err() {
                return;
            }
            let mut book = self.book.borrow_mut();
            for (number, _) in leases {
                if let Some(lease) = book.running.get_mut(&number) {
                    lease.until = Some(until);
                }
            }
        }
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

/// Gives it back, also where it was asked for and nobody heard the answer.
impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.leases.book.borrow_mut();
        let Some(mut lease) = book.running.remove(&self.number) else { return };
        if book.ended.len() < MOST_ENDED {
            lease.until.get_or_insert_with(|| Instant::now() + LEASE);
            book.ended.push(lease);
            self.leases.ended.notify_one();
        }
    }
}
