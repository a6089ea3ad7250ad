//! The header of the PROXY protocol, versions 1 and 2 (`proxy-protocol.txt` of haproxy.org): read before a connection's first
//! byte, and written before the first byte to an upstream.
//!
//! A header says who speaks, so it is read strictly: one spelling, one meaning, or a fault. Whether a peer may send one
//! is decided elsewhere.

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

pub use v1::{write_v1, write_v1_unknown};
pub use v2::{write_v2, write_v2_local};

/// The longest header of version 1, with its CRLF (section 2.1).
pub const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read: the fixed part and as much behind it as anybody sends. The protocol
/// itself allows 64 KiB (section 2.2).
pub const LONGEST_V2: usize = 16 + 4096;

/// Which versions may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    V1,
    V2,
    Any,
}

/// The version in which a header came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose connection it is. None where the header speaks of no TCP connection: `UNKNOWN`, `LOCAL`, a family that is
    /// unspecified, Unix sockets, datagrams. Then the connection's own addresses count (sections 2.1, 2.2). An IPv4
    /// address in the clothes of IPv6 is told as IPv4, so that rules for the one hold for the other.
    pub source: Option<SocketAddr>,
    /// Where that connection was made to; there where `source` is.
    pub destination: Option<SocketAddr>,
    pub version: Version,
}

impl Header {
    fn unknown(version: Version) -> Self {
        Self { source: None, destination: None, version }
    }

    fn known(version: Version, source: SocketAddr, destination: SocketAddr) -> Self {
        Self { source: Some(canonical(source)), destination: Some(canonical(destination)), version }
    }
}

/// Why bytes are not a header that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyFault {
    /// The connection begins with something else, or with a version that may not come (section 2: the receiver must not
    /// guess whether a header is there).
    #[error("the connection does not begin with a PROXY header")]
    Signature,
    /// Longer than [`LONGEST_V1`] or [`LONGEST_V2`].
    #[error("the PROXY header is too long")]
    TooLong,
    /// CR without LF, or LF without CR (section 2.1).
    #[error("the PROXY header's line does not end with CRLF")]
    LineEnd,
    /// Neither `TCP4`, `TCP6` nor `UNKNOWN` (section 2.1); a byte of family and transport that is not defined (2.2).
    #[error("the PROXY header's protocol family is not defined")]
    Family,
    /// Not two addresses and two ports with exactly one space before each (section 2.1).
    #[error("the PROXY header's line is malformed")]
    Line,
    /// An address that is none of its family (section 2.1).
    #[error("an address in the PROXY header is malformed")]
    Address,
    /// A port that is not 0 to 65535 in plain decimal digits without leading zeros (section 2.1).
    #[error("a port in the PROXY header is malformed")]
    Port,
    /// A version other than 2 behind the signature of version 2 (section 2.2).
    #[error("the PROXY header's version is not 2")]
    Version,
    /// A command other than LOCAL and PROXY (section 2.2).
    #[error("the PROXY header's command is not defined")]
    Command,
    /// Fewer bytes than the addresses of the family need (section 2.2).
    #[error("the PROXY header is too short for its addresses")]
    Length,
    /// A TLV that does not end where the header does (section 2.2.1).
    #[error("a TLV in the PROXY header is malformed")]
    Tlv,
    /// The checksum is another one (section 2.2.3).
    #[error("the PROXY header's checksum does not fit")]
    Checksum,
}

/// Reads the header at the start of a connection's bytes, and tells how long it is. None: more bytes are needed.
///
/// # Errors
///
/// A fault, as soon as what is there cannot become a header.
pub fn parse(bytes: &[u8], accepts: Accepts) -> Result<Option<(Header, usize)>, ProxyFault> {
    let begins = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
    if accepts != Accepts::V2 && begins(v1::SIGNATURE) {
        // Before the first byte it may be either.
        if bytes.is_empty() { Ok(None) } else { v1::parse(bytes) }
    } else if accepts != Accepts::V1 && begins(v2::SIGNATURE) {
        v2::parse(bytes)
    } else {
        Err(ProxyFault::Signature)
    }
}

/// An IPv4 address in the clothes of IPv6 without them; flow and scope mean nothing to another machine.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Both addresses in one family: as they are, or both as IPv6 (RFC 4291 section 2.5.5.2).
fn in_one_family(source: SocketAddr, destination: SocketAddr) -> (IpAddr, IpAddr) {
    let (source, destination) = (canonical(source).ip(), canonical(destination).ip());
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests;
