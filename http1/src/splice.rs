//! Bytes from one TCP connection to another through a pipe of the kernel: what is large need not be copied into our memory and
//! out of it again.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Empty pipes that a thread keeps.
const SPARE: usize = 8;
/// The most bytes that are asked for at once. A pipe holds pages, not bytes: as a rule it is full before.
const MOST: usize = 1024 * 1024;

thread_local! {
    static PIPES: RefCell<Vec<(OwnedFd, OwnedFd)>> = const { RefCell::new(Vec::new()) };
}

/// A pipe, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    /// Where to read and where to write; none once it was given back.
    ends: Option<(OwnedFd, OwnedFd)>,
    held: usize,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// Where the process may open no more files.
    pub fn take() -> io::Result<Self> {
        let spare = PIPES.try_with(|pipes| pipes.try_borrow_mut().ok()?.pop()).ok().flatten();
        let ends = match spare {
            Some(ends) => ends,
            None => pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?,
        };
        Ok(Self { ends: Some(ends), held: 0 })
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Fills the empty pipe with what comes on a connection, `most` bytes at most: how many, and none where it has ended.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, from: &TcpStream, most: u64) -> Poll<io::Result<usize>> {
        let Some((_, writer)) = &self.ends else { return Poll::Ready(Ok(0)) };
        let most = usize::try_from(most).unwrap_or(MOST).min(MOST);
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || moved(splice(from, None, writer, None, most, flags()))) {
                Ok(bytes) => {
                    self.held += bytes;
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends on what is in it: how much of it went out.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        let Some((reader, _)) = &self.ends else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || moved(splice(reader, None, to, None, self.held, flags()))) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => {
                    self.held = self.held.saturating_sub(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

fn moved(outcome: Result<usize, Errno>) -> io::Result<usize> {
    outcome.map_err(io::Error::from)
}

/// Not ready after all, or interrupted.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // One that holds something is closed: nobody else may ever see it.
        let Some(ends) = self.ends.take().filter(|_| self.held == 0) else { return };
        let _ = PIPES.try_with(|pipes| {
            if let Ok(mut pipes) = pipes.try_borrow_mut()
                && pipes.len() < SPARE
            {
                pipes.push(ends);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), async { listener.accept().await });
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_go_through_in_order_and_no_more_than_asked_for() {
        let ((mut source, from), (to, mut sink)) = (pair().await, pair().await);
        let sent: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let sending = async move {
            source.write_all(&sent).await.unwrap();
            source
        };
        let moving = async move {
            let mut pipe = Pipe::take().unwrap();
            let mut left = 2_000_000;
            while left > 0 {
                let filled = poll_fn(|cx| pipe.poll_fill(cx, &from, left)).await.unwrap();
                assert!(filled > 0);
                left -= filled as u64;
                while !pipe.is_empty() {
                    poll_fn(|cx| pipe.poll_drain(cx, &to)).await.unwrap();
                }
            }
            drop(to);
            from
        };
        let reading = async move {
            let mut read = Vec::new();
            sink.read_to_end(&mut read).await.unwrap();
            read
        };
        let (source, mut from, read) = tokio::join!(sending_or_blocked(sending), moving, reading);
        assert!(read == expected[..2_000_000], "{} bytes", read.len());
        // The rest is still there.
        let mut rest = vec![0; 1000];
        from.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, expected[2_000_000..2_001_000]);
        drop(source);
    }

    /// The kernel may hold less than is sent: then sending waits for who reads the rest, which is none of this test.
    async fn sending_or_blocked(sending: impl Future<Output = TcpStream>) -> Option<TcpStream> {
        tokio::time::timeout(std::time::Duration::from_secs(2), sending).await.ok()
    }

    #[tokio::test]
    async fn an_end_is_told_and_a_full_pipe_is_closed() {
        let ((mut source, from), (to, sink)) = (pair().await, pair().await);
        source.write_all(b"last words").await.unwrap();
        drop(source);
        let mut pipe = Pipe::take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 100)).await.unwrap(), 10);
        drop(pipe);
        let mut pipe = Pipe::take().unwrap();
        assert!(pipe.is_empty());
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &from, 100)).await.unwrap(), 0);
        drop((to, sink));
    }
}
