//! The client's connection, as an exchange shares it with the room that serves it: the body is read here, interim answers
//! are left here, and what was not read of a body is handed back.

use std::cell::{Cell, RefCell};

use http1::{Incoming, Wire};
use tokio::net::TcpStream;

/// What a connection is made of.
pub type Socket = TcpStream;

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

    /// Leaves an interim answer to be sent before the final one. One more than can be kept is dropped: they are hints.
    pub fn interim(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut interim = self.interim.borrow_mut();
        if interim.len() < MOST_INTERIM {
            write(&mut interim);
        }
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
