//! Descriptors from one process to another, over the socket that the two speak through (`SCM_RIGHTS`).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use super::message::{MOST_BYTES, Word};
use crate::inherited::Use;

/// Descriptors that go along with one line: the kernel takes 253.
const BATCH: usize = 128;

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// Says a word.
pub(super) fn say(stream: &UnixStream, word: &Word) -> io::Result<()> {
    let mut stream = stream;
    stream.write_all(&line(word)?)
}

fn line(word: &Word) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    Ok(line)
}

/// Gives descriptors. They are the receiver's too from then on.
pub(super) fn give(stream: &UnixStream, given: &[(Use, OwnedFd)]) -> io::Result<()> {
    for batch in given.chunks(BATCH) {
        let line = line(&Word::Given(batch.iter().map(|(what, _)| what.clone()).collect()))?;
        let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|(_, fd)| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !along.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many descriptors at once"));
        }
        let sent = sendmsg(stream, &[IoSlice::new(&line)], &mut along, SendFlags::NOSIGNAL)?;
        let mut stream = stream;
        stream.write_all(line.get(sent..).unwrap_or_default())?;
    }
    Ok(())
}

/// The receiver's end.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) stream: UnixStream,
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Hearing {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), fds: VecDeque::new() }
    }

    /// The next word, with the descriptors that came along.
    pub(super) fn next(&mut self) -> io::Result<(Word, Vec<OwnedFd>)> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.bytes) {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                let word: Word = serde_json::from_slice(&line)?;
                let count = if let Word::Given(uses) = &word { uses.len() } else { 0 };
                if count > self.fds.len() {
                    return Err(io::Error::other("descriptors are missing; is the limit of open files too low?"));
                }
                return Ok((word, self.fds.drain(..count).collect()));
            }
            if self.bytes.len() > MOST_BYTES {
                return Err(io::Error::other("a line without end"));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut piece)];
        let received = recvmsg(&self.stream, into, &mut along, RecvFlags::CMSG_CLOEXEC)?;
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("descriptors are missing: the limit of open files is too low"));
        }
        if received.bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process before has left"));
        }
        self.bytes.extend_from_slice(piece.get(..received.bytes).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    #[test]
    fn descriptors_come_with_their_uses_however_many() {
        let (near, far) = UnixStream::pair().unwrap();
        let sockets: Vec<TcpListener> = (0..300).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let given: Vec<(Use, OwnedFd)> = sockets
            .into_iter()
            .zip(&addresses)
            .map(|(socket, address)| (Use::Traffic(*address), socket.into()))
            .collect();
        let gives = std::thread::spawn(move || {
            give(&near, &given).unwrap();
            say(&near, &Word::Yours).unwrap();
        });
        let mut hearing = Hearing::new(far);
        let mut got = Vec::new();
        loop {
            let (word, fds) = hearing.next().unwrap();
            let Word::Given(uses) = word else {
                assert_eq!((word, fds.len()), (Word::Yours, 0));
                break;
            };
            for (what, fd) in uses.into_iter().zip(fds) {
                let address = TcpListener::from(fd).local_addr().unwrap();
                assert_eq!(what, Use::Traffic(address));
                got.push(address);
            }
        }
        assert_eq!(got, addresses);
        gives.join().unwrap();
        assert_eq!(hearing.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["nonsense\n", "{\"given\":[{\"traffic\":\"127.0.0.1:1\"}]}\n", "{\"fly\":{}}\n"] {
            let (mut near, far) = UnixStream::pair().unwrap();
            near.write_all(text.as_bytes()).unwrap();
            assert!(Hearing::new(far).next().is_err(), "{text}");
        }
    }
}
