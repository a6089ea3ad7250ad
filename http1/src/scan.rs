//! Where the first byte stands that ends a name, a target or a value: sixteen bytes at a time, and what is left one by one.

use crate::octet::{TARGET, VALUE, has};

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// The first colon, blank or control byte.
pub(crate) fn name(bytes: &[u8]) -> Option<usize> {
    first(bytes, block::ends_name, ends_name)
}

/// The first byte that may not stand in a target.
pub(crate) fn target(bytes: &[u8]) -> Option<usize> {
    first(bytes, block::ends_target, ends_target)
}

/// The first byte that may not stand in a value.
pub(crate) fn value(bytes: &[u8]) -> Option<usize> {
    first(bytes, block::ends_value, ends_value)
}

fn ends_name(byte: u8) -> bool {
    byte == b':' || byte <= b' '
}

fn ends_target(byte: u8) -> bool {
    !has(byte, TARGET)
}

fn ends_value(byte: u8) -> bool {
    !has(byte, VALUE)
}

/// `marks` has a bit for each byte of a block that ends what is looked through, the lowest for the first; `ends` tells the
/// same of one byte.
#[inline]
fn first(bytes: &[u8], marks: impl Fn(&[u8; BLOCK]) -> u32, ends: impl Fn(u8) -> bool) -> Option<usize> {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let marks = marks(block);
        if marks != 0 {
            return Some(bytes.len() - rest.len() + marks.trailing_zeros() as usize);
        }
        rest = behind;
    }
    let at = rest.iter().position(|&byte| ends(byte))?;
    Some(bytes.len() - rest.len() + at)
}

/// With the instructions that every `x86_64` processor has.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set_epi64x, _mm_set1_epi8,
    };

    use super::BLOCK;

    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; BLOCK]) -> __m128i {
        let whole = u128::from_le_bytes(*block);
        _mm_set_epi64x((whole >> 64) as i64, whole as i64)
    }

    #[target_feature(enable = "sse2")]
    fn all(byte: u8) -> __m128i {
        _mm_set1_epi8(byte.cast_signed())
    }

    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, all(byte))
    }

    #[target_feature(enable = "sse2")]
    fn at_most(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(bytes, all(byte)), bytes)
    }

    #[target_feature(enable = "sse2")]
    fn bits(marks: __m128i) -> u32 {
        _mm_movemask_epi8(marks).cast_unsigned()
    }

    #[target_feature(enable = "sse2")]
    pub(super) fn ends_name(block: &[u8; BLOCK]) -> u32 {
        let bytes = load(block);
        bits(_mm_or_si128(at_most(bytes, b' '), equal(bytes, b':')))
    }

    #[target_feature(enable = "sse2")]
    pub(super) fn ends_target(block: &[u8; BLOCK]) -> u32 {
        let bytes = load(block);
        // As signed numbers, what is not ASCII is below everything else.
        let below = _mm_cmplt_epi8(bytes, all(b'!'));
        bits(_mm_or_si128(below, _mm_or_si128(equal(bytes, 0x7f), equal(bytes, b'#'))))
    }

    #[target_feature(enable = "sse2")]
    pub(super) fn ends_value(block: &[u8; BLOCK]) -> u32 {
        let bytes = load(block);
        let control = _mm_andnot_si128(equal(bytes, b'\t'), at_most(bytes, 0x1f));
        bits(_mm_or_si128(control, equal(bytes, 0x7f)))
    }
}

/// The same, for whoever is not compiled for those instructions alone.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "SSE2 is part of x86_64: there is no such processor without it")]
mod block {
    use super::{BLOCK, sse2};

    pub(super) fn ends_name(block: &[u8; BLOCK]) -> u32 {
        // SAFETY: see above.
        unsafe { sse2::ends_name(block) }
    }

    pub(super) fn ends_target(block: &[u8; BLOCK]) -> u32 {
        // SAFETY: see above.
        unsafe { sse2::ends_target(block) }
    }

    pub(super) fn ends_value(block: &[u8; BLOCK]) -> u32 {
        // SAFETY: see above.
        unsafe { sse2::ends_value(block) }
    }
}

/// On other processors, as the compiler makes it.
#[cfg(not(target_arch = "x86_64"))]
mod block {
    use super::BLOCK;

    fn marks(block: &[u8; BLOCK], ends: impl Fn(u8) -> bool) -> u32 {
        block.iter().rev().fold(0, |marks, &byte| marks << 1 | u32::from(ends(byte)))
    }

    pub(super) fn ends_name(block: &[u8; BLOCK]) -> u32 {
        marks(block, super::ends_name)
    }

    pub(super) fn ends_target(block: &[u8; BLOCK]) -> u32 {
        marks(block, super::ends_target)
    }

    pub(super) fn ends_value(block: &[u8; BLOCK]) -> u32 {
        marks(block, super::ends_value)
    }
}
