//! The client's connection, as an exchange shares it with the room that serves it: the body is read here, interim answers
//! are left here, and what was not read of a body is handed back.

use std::cell::{Cell, RefCell};

use std::rc::Rc;

use http1::{Incoming, Wire};

use super::{ResponseHead, Socket};

/// Of interim answers that nobody takes no more than this is kept.
const MOST_INTERIM: usize = 16 * 1024;

/// See the module. Borrowed within one poll only.
pub struct Link {
    pub wire: RefCell<Wire<Socket>>,
    /// Interim answers (1xx), ready to be written.
    interim: RefCell<Vec<u8>>,
    /// A body that was let go of before its end.
    unread: Cell<Option<Incoming>>,
}

impl Link {
    /// A connection on which nothing came yet.
    pub fn new(stream: Socket) -> Self {
        Self { wire: RefCell::new(Wire::new(stream)), interim: RefCell::default(), unread: Cell::new(None) }
    }

    /// Bytes of interim answers that could not be written yet are left again.
    pub fn put_back(&self, rest: Vec<u8>) {
        *self.interim.borrow_mut() = rest;
    }

    /// The interim answers that were left.
    pub fn take_interim(&self) -> Vec<u8> {
        std::mem::take(&mut *self.interim.borrow_mut())
    }

    /// The rest of a body that was let go of, once.
    pub fn take_unread(&self) -> Option<Incoming> {
        self.unread.take()
    }

    pub(super) fn leave_unread(&self, rest: Incoming) {
        self.unread.set(Some(rest));
    }
}

/// Where interim answers (1xx) are left to be sent before the final one. One more than can be kept is dropped: they are
/// hints.
#[derive(Clone)]
pub enum Interim {
    /// The client speaks HTTP/1.0, which has none.
    Nowhere,
    Link(Rc<Link>),
    Stream(Rc<Hints>),
}

/// Interim answers for a stream of HTTP/2.
pub type Hints = RefCell<Vec<ResponseHead>>;

/// Of those no more than this is kept.
const MOST_HINTS: usize = 16;

impl Interim {
    /// Leaves one.
    pub fn leave(&self, head: &ResponseHead) {
        match self {
            Self::Nowhere => {}
            Self::Link(link) => {
                let mut interim = link.interim.borrow_mut();
                if interim.len() < MOST_INTERIM {
                    head.write(&mut interim);
                    interim.extend_from_slice(b"\r\n");
                }
            }
            Self::Stream(hints) => {
                let mut hints = hints.borrow_mut();
                if hints.len() < MOST_HINTS {
                    hints.push(head.clone());
                }
            }
        }
    }
}
