//! Where lines go: stdout or a file. Knows what of a chunk was written, and mends a line that was torn.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use shared::config;

use super::AccessLogError;

/// An open target.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    /// The last write ended inside a line.
    torn: bool,
}

impl Target {
    /// Opens what the config names; none: off.
    pub(super) fn open(access: &config::AccessLog) -> Result<Option<Self>, AccessLogError> {
        let file = match access {
            config::AccessLog::Off => return Ok(None),
            // Its own handle: the standard library's stdout flushes by line and is locked.
            config::AccessLog::Stdout => {
                File::from(io::stdout().as_fd().try_clone_to_owned().map_err(AccessLogError::Stdout)?)
            }
            // Client addresses are nobody else's business. Without O_NONBLOCK, opening a FIFO would wait for its reader.
            config::AccessLog::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open(path)
                .map_err(|source| AccessLogError::Open { path: path.clone(), source })?,
        };
        Ok(Some(Self::of_file(file)))
    }

    pub(super) fn of_file(file: File) -> Self {
        Self { file, torn: false }
    }

    /// Writes whole lines; what of them is lost is in the error.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        if self.torn {
            self.write_all(b"\n").map_err(|(source, _)| Lost { lines: count(lines), source })?;
            self.torn = false;
        }
        self.write_all(lines).map_err(|(source, written)| {
            let (done, rest) = lines.split_at(written.min(lines.len()));
            self.torn = !(done.is_empty() || done.ends_with(b"\n"));
            Lost { lines: count(rest), source }
        })
    }

    /// As `Write::write_all`, but the error says how much was written before it.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((error, written)),
            }
        }
        Ok(())
    }
}

/// Lines that a target did not take.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) source: io::Error,
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let access = config::AccessLog::File(path.clone());
        assert!(Target::open(&access).is_err(), "nobody reads it: refused, not waited for");
        let mut reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
        let mut target = Target::open(&access).unwrap().unwrap();

        let line = format!("{}\n", "x".repeat(998));
        for more_is_lost in [false, true] {
            let lost = target.write(line.repeat(200).as_bytes()).unwrap_err();
            assert_eq!(lost.source.kind(), io::ErrorKind::WouldBlock);
            if more_is_lost {
                assert_eq!(target.write(b"lost\nlost\n").unwrap_err().lines, 2);
            }
            let mut taken = vec![0; 1 << 20];
            let first = reader.read(&mut taken).unwrap();
            assert_eq!(first as u64 / 999 + lost.lines, 200);
            assert_ne!(first % 999, 0, "it was not torn");
            target.write(b"whole\n").unwrap();
            let second = reader.read(&mut taken).unwrap();
            assert_eq!(&taken[..second], b"\nwhole\n");
        }
    }
}
