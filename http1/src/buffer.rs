//! Byte buffers, borrowed from the thread for as long as they hold something: an idle connection has none, and a busy
//! worker goes on using the few that its processor's cache already holds.

use std::cell::RefCell;

use crate::headers::Line;

/// What a buffer begins with: a head with room to spare.
pub(crate) const SMALL: usize = 16 * 1024;
/// What a buffer for large bodies has: one read of a 64 KiB body with its head, with room to spare.
pub(crate) const LARGE: usize = 128 * 1024;

/// Spare buffers of each size that a thread keeps.
const SPARE_SMALL: usize = 64;
const SPARE_LARGE: usize = 8;
/// The most field lines for which a thread keeps an index.
const MOST_LINES: usize = 128;

#[derive(Default)]
struct Spare {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    lines: Vec<Vec<Line>>,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// An empty buffer of at least this capacity.
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    let spare = SPARE.try_with(|spare| {
        let mut spare = spare.try_borrow_mut().ok()?;
        if capacity <= SMALL {
            spare.small.pop()
        } else {
            spare.large.pop().filter(|large| large.capacity() >= capacity)
        }
    });
    spare
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(if capacity <= SMALL { SMALL } else { capacity.max(LARGE) }))
}

/// Gives a buffer back. One of an odd size is freed.
pub(crate) fn give(mut bytes: Vec<u8>) {
    if bytes.capacity() < SMALL {
        return;
    }
    bytes.clear();
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut() {
            let (list, most) = match bytes.capacity() {
                SMALL..LARGE => (&mut spare.small, SPARE_SMALL),
                LARGE..=0x8_0000 => (&mut spare.large, SPARE_LARGE),
                _ => return,
            };
            if list.len() < most && bytes.capacity() < 2 * LARGE {
                list.push(bytes);
            }
        }
    });
}

/// An empty index of field lines.
pub(crate) fn take_lines() -> Vec<Line> {
    let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.lines.pop());
    spare.ok().flatten().unwrap_or_else(|| Vec::with_capacity(32))
}

/// Gives an index back.
pub(crate) fn give_lines(mut lines: Vec<Line>) {
    if lines.capacity() == 0 || lines.capacity() > MOST_LINES {
        return;
    }
    lines.clear();
    let _ = SPARE.try_with(|spare| {
        if let Ok(mut spare) = spare.try_borrow_mut()
            && spare.lines.len() < SPARE_SMALL
        {
            spare.lines.push(lines);
        }
    });
}

/// Bytes that came and are not yet used. Without any it has no memory.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// A buffer that already holds something.
    #[must_use]
    pub fn holding(bytes: &[u8]) -> Self {
        let mut buffer = Self::default();
        if !bytes.is_empty() {
            buffer.bytes = take(bytes.len());
            buffer.bytes.extend_from_slice(bytes);
        }
        buffer
    }

    /// What is there.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first so many bytes are used.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.release();
        }
    }

    /// Room for reading: at least one byte, and as much as `wanted` where nothing is held yet. What is held moves to the
    /// front, or into a larger buffer, when the end is reached.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = take(wanted.clamp(1, LARGE));
        } else if self.bytes.len() == self.bytes.capacity() {
            if self.start > 0 {
                self.bytes.drain(..self.start);
                self.start = 0;
            } else {
                self.bytes.reserve(self.bytes.capacity());
            }
        }
        &mut self.bytes
    }

    /// Gives the memory back if nothing is held.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            give(std::mem::take(&mut self.bytes));
            self.start = 0;
        }
    }

    /// Takes the first so many bytes out: the buffer itself where it holds nothing else, else a copy.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.start == 0 && count == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let mut taken = take(count);
        taken.extend_from_slice(self.bytes().get(..count).unwrap_or_default());
        self.consume(count);
        taken
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_has_no_memory() {
        let mut buffer = Buffer::holding(b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.bytes(), b"cdef");
        buffer.consume(4);
        assert_eq!(buffer.bytes.capacity(), 0);
        buffer.consume(1);
        assert!(buffer.is_empty());
    }

    #[test]
    fn the_whole_is_taken_without_a_copy() {
        let mut buffer = Buffer::holding(b"head");
        let at = buffer.bytes().as_ptr();
        let taken = buffer.take(4);
        assert_eq!(taken.as_ptr(), at);
        let mut buffer = Buffer::holding(b"headrest");
        assert_eq!(buffer.take(4), b"head");
        assert_eq!(buffer.bytes(), b"rest");
    }

    #[test]
    fn room_is_made_at_the_front_first() {
        let mut buffer = Buffer::holding(&vec![b'x'; SMALL]);
        buffer.consume(SMALL - 1);
        assert!(buffer.room(1).capacity() == SMALL);
        assert_eq!(buffer.bytes(), b"x");
        let mut buffer = Buffer::holding(&vec![b'x'; SMALL]);
        assert!(buffer.room(1).capacity() > SMALL);
        assert_eq!(buffer.len(), SMALL);
    }
}
