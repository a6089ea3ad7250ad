//! What came of a request's body, kept so that it can be sent again: a small one whole, of a larger one nothing.

/// See the module.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    /// How much of it was sent again.
    sent: usize,
    limit: usize,
    is_whole: bool,
}

impl Kept {
    /// Nothing yet, and never more than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), sent: 0, limit, is_whole: true }
    }

    /// All of this, to be sent.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), sent: 0, limit: bytes.len(), is_whole: true }
    }

    /// As much as this, if more was not allowed before.
    pub(super) fn allow(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    /// All that came so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether all that came is here.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether nothing is kept any more, and nothing is sent again.
    pub(super) fn is_over(&self) -> bool {
        !self.is_whole && self.again().is_none()
    }

    /// What is still to be sent again; none once that is done.
    pub(super) fn again(&self) -> Option<&[u8]> {
        self.bytes.get(self.sent..).filter(|rest| !rest.is_empty())
    }

    /// So many bytes of what is at hand were used: whether they were sent again.
    pub(super) fn advance(&mut self, bytes: usize) -> bool {
        let repeats = self.sent < self.bytes.len();
        if repeats {
            self.sent = (self.sent + bytes).min(self.bytes.len());
        }
        repeats
    }

    /// More came, and was used.
    pub(super) fn append(&mut self, chunk: &[u8]) {
        if !self.is_whole {
            return;
        }
        if self.bytes.len() + chunk.len() > self.limit {
            self.give_up();
            return;
        }
        self.bytes.extend_from_slice(chunk);
        self.sent = self.bytes.len();
    }

    /// It cannot be sent again any more.
    pub(super) fn give_up(&mut self) {
        // What is being sent again is sent to its end.
        if self.again().is_none() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
        self.is_whole = false;
    }

    /// From the start again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_again_and_then_what_is_new() {
        let mut kept = Kept::new(8);
        kept.append(b"abc");
        assert_eq!(kept.again(), None);
        kept.rewind();
        assert_eq!(kept.again(), Some(&b"abc"[..]));
        assert!(kept.advance(2));
        assert_eq!(kept.again(), Some(&b"c"[..]));
        assert!(kept.advance(1));
        assert!(!kept.advance(4));
        kept.append(b"defg");
        kept.rewind();
        assert_eq!((kept.again(), kept.is_whole()), (Some(&b"abcdefg"[..]), true));
    }

    #[test]
    fn too_much_is_not_kept() {
        let mut kept = Kept::new(4);
        kept.append(b"abc");
        kept.append(b"de");
        assert!(!kept.is_whole());
        assert_eq!((kept.again(), kept.bytes()), (None, &b""[..]));
    }
}
