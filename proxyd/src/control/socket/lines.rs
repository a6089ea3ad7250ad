//! Lines of bounded length from a stream of bytes.

use std::io;

use bytes::{Buf, BytesMut};
use shared::control::MAX_LINE_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its newline. The last line of a stream needs none.
    Whole(Vec<u8>),
    /// More than a line may have; nothing after it can be understood.
    TooLong,
    End,
}

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    read: R,
    buffer: BytesMut,
    /// How much of the buffer has been searched for a newline.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let unseen = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', unseen) {
                let length = self.searched + at;
                self.searched = 0;
                if length >= MAX_LINE_BYTES {
                    return Ok(Line::TooLong);
                }
                let line = self.buffer.split_to(length).to_vec();
                self.buffer.advance(1);
                return Ok(Line::Whole(line));
            }
            self.searched = self.buffer.len();
            if self.searched >= MAX_LINE_BYTES {
                return Ok(Line::TooLong);
            }
            self.buffer.reserve(CHUNK);
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                let rest = self.buffer.split().to_vec();
                self.searched = 0;
                return Ok(if rest.is_empty() { Line::End } else { Line::Whole(rest) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(text: &[u8], expected: &[&[u8]], last: Line) {
        let mut lines = Lines::new(text);
        for line in expected {
            assert_eq!(lines.next().await.unwrap(), Line::Whole(line.to_vec()));
        }
        assert_eq!(lines.next().await.unwrap(), last);
    }

    #[tokio::test]
    async fn streams_are_cut_into_lines() {
        check(b"", &[], Line::End).await;
        check(b"a\nbc\n", &[b"a", b"bc"], Line::End).await;
        check(b"a\n\nbc", &[b"a", b"", b"bc"], Line::End).await;
        let mut most = vec![b'x'; MAX_LINE_BYTES - 1];
        most.push(b'\n');
        check(&most, &[&most[..MAX_LINE_BYTES - 1]], Line::End).await;
        most.insert(0, b'x');
        check(&most, &[], Line::TooLong).await;
        check(&vec![b'x'; 2 * MAX_LINE_BYTES], &[], Line::TooLong).await;
    }

    proptest::proptest! {
        /// However the bytes arrive, the lines are the same.
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(
            parts in proptest::collection::vec("[a-z\\n]{0,20}", 0..20),
        ) {
            let whole = parts.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let heard = runtime.block_on(async {
                let (mut near, far) = tokio::io::duplex(7);
                let write = async move {
                    for part in parts {
                        tokio::io::AsyncWriteExt::write_all(&mut near, part.as_bytes()).await.unwrap();
                    }
                };
                let read = async move {
                    let (mut lines, mut heard) = (Lines::new(far), Vec::new());
                    while let Line::Whole(line) = lines.next().await.unwrap() {
                        heard.push(String::from_utf8(line).unwrap());
                    }
                    heard
                };
                tokio::join!(write, read).1
            });
            let mut expected: Vec<&str> = whole.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            proptest::prop_assert_eq!(heard, expected);
        }
    }
}
