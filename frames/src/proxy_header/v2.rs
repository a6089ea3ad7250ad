//! Version 2: binary (proxy-protocol.txt section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::crc32c::crc32c;
use super::{Header, LONGEST_V2, ProxyFault, Version, in_one_family};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// A checksum over the whole header, itself as zeros (section 2.2.3).
const CRC32C: u8 = 0x03;

/// Reads a header of which at least the first bytes are those of the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyFault> {
    let Some(&command) = bytes.get(12) else { return Ok(None) };
    if command >> 4 != 2 {
        return Err(ProxyFault::Version);
    }
    // A LOCAL connection is the sender's own: the receiver must discard the block, the family with it.
    let local = match command & 0xf {
        0 => true,
        1 => false,
        _ => return Err(ProxyFault::Command),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    let addresses = match family {
        _ if local => 0,
        0x00 => 0,
        0x11 | 0x12 => 2 * (4 + 2),
        0x21 | 0x22 => 2 * (16 + 2),
        0x31 | 0x32 => 2 * 108,
        _ => return Err(ProxyFault::Family),
    };
    let Some(length) = bytes.get(14..FIXED).and_then(<[u8]>::first_chunk) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < addresses {
        return Err(ProxyFault::Length);
    }
    if FIXED + length > LONGEST_V2 {
        return Err(ProxyFault::TooLong);
    }
    let Some(whole) = bytes.get(..FIXED + length) else { return Ok(None) };
    // Of what size addresses of no family are, nobody knows, nor where TLVs would begin.
    if local || family == 0x00 {
        return Ok(Some((Header::unknown(Version::V2), whole.len())));
    }
    let (_, block) = whole.split_at(FIXED);
    let (block, _) = block.split_at(addresses);
    tlvs(whole, FIXED + addresses)?;
    let found = match family {
        0x11 => pair::<4>(block),
        0x21 => pair::<16>(block),
        _ => None,
    };
    let header = found
        .map_or(Header::unknown(Version::V2), |(source, destination)| Header::known(Version::V2, source, destination));
    Ok(Some((header, whole.len())))
}

/// Two addresses of so many bytes, then their ports.
fn pair<const SIZE: usize>(block: &[u8]) -> Option<(SocketAddr, SocketAddr)>
where
    IpAddr: From<[u8; SIZE]>,
{
    let (source, rest) = block.split_first_chunk::<SIZE>()?;
    let (destination, rest) = rest.split_first_chunk::<SIZE>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let destination_port = rest.first_chunk()?;
    Some((
        SocketAddr::new((*source).into(), u16::from_be_bytes(*source_port)),
        SocketAddr::new((*destination).into(), u16::from_be_bytes(*destination_port)),
    ))
}

/// Walks over the TLVs (section 2.2.1): type, length of two bytes, value. Only a checksum is looked at.
fn tlvs(whole: &[u8], mut at: usize) -> Result<(), ProxyFault> {
    let mut checked = false;
    while let Some(rest) = whole.get(at..).filter(|rest| !rest.is_empty()) {
        let (&[kind, high, low], value) = rest.split_first_chunk().ok_or(ProxyFault::Tlv)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = value.get(..length).ok_or(ProxyFault::Tlv)?;
        if kind == CRC32C {
            // Of two checksums, neither could be computed without the other.
            if checked {
                return Err(ProxyFault::Tlv);
            }
            checked = true;
            let said: [u8; 4] = value.try_into().map_err(|_| ProxyFault::Tlv)?;
            let before = whole.get(..at + 3).unwrap_or_default();
            let behind = whole.get(at + 7..).unwrap_or_default();
            if crc32c(&[before, &[0; 4], behind]) != u32::from_be_bytes(said) {
                return Err(ProxyFault::Checksum);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// Writes a header of version 2. Addresses of two families are both written as IPv6.
pub fn write_v2(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    out.extend_from_slice(SIGNATURE);
    match in_one_family(source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&wide(from));
            out.extend_from_slice(&wide(to));
        }
    }
    out.extend_from_slice(&ports);
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Writes a header of version 2 for a connection that is on nobody's behalf, as a health check's (section 2.2, LOCAL).
pub fn write_v2_local(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0x20, 0x00, 0, 0]);
}
