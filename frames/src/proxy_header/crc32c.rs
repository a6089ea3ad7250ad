//! CRC-32C (RFC 3720 appendix B.4). A header comes once per connection and is short: no table, no instruction of the
//! machine's own.

/// Castagnoli's polynomial, its bits turned round.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Over these pieces, one behind the other.
pub(super) fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut rest = u32::MAX;
    for byte in pieces.iter().copied().flatten() {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = if rest & 1 == 1 { POLYNOMIAL } else { 0 };
            rest = rest >> 1 ^ carry;
        }
    }
    !rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        let check = |bytes: &[u8], expected: u32| {
            assert_eq!(crc32c(&[bytes]), expected);
            let (one, other) = bytes.split_at(bytes.len() / 3);
            assert_eq!(crc32c(&[one, &[], other]), expected);
        };
        check(b"", 0);
        check(b"123456789", 0xe306_9283);
        // RFC 3720 appendix B.4.
        check(&[0; 32], 0x8a91_36aa);
        check(&[0xff; 32], 0x62a8_ab43);
    }
}
