//! The bytes that are chained: those that the reference describes, and no two rows the same.

use proptest::prelude::*;

use super::*;

const HELD: [Held<'_>; INTERNED] = [
    Held::First(1, "http"),
    Held::Empty,
    Held::Known(31),
    Held::Known(32),
    Held::Inline("x"),
    Held::Empty,
    Held::Empty,
    Held::Empty,
    Held::Empty,
    Held::Empty,
    Held::Empty,
];

fn bytes(interned: &[Held<'_>; INTERNED], packed_id: Option<&[u8; 16]>, facts: &RequestFacts<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    canonical_request(&[9; 16], 300, &HeldRequest { facts, packed_id, interned }, &mut out);
    out
}

#[test]
fn a_request_is_spelled_as_the_reference_says() {
    let facts = RequestFacts { time_us: -2, status: 200, method: "GET", attempts: 1, ..RequestFacts::default() };
    let mut expected = vec![9; 16];
    expected.extend_from_slice(b"R\xac\x02\xff\xff\xff\xff\xff\xff\xff\xfe\xc8\x01\x03GET\0\0\0");
    expected.push(1);
    expected.extend_from_slice(&[7; 16]);
    expected.extend_from_slice(b"\x07\x04http\0\x7d\x81\x01\x06x\0\0\0\0\0");
    expected.extend_from_slice(b"\0\0\0\0\0\x01\0");
    assert_eq!(bytes(&HELD, Some(&[7; 16]), &facts), expected);
    let facts = RequestFacts { request_id: "id", ..RequestFacts::default() };
    let mut known = [Held::Known(31); INTERNED];
    known[INTERNED - 1] = Held::Empty;
    let out = bytes(&known, None, &facts);
    assert_eq!(out.get(29..43), Some(&b"\0\0\0\x04id\x7d\x7d\x7d\x7d\x7d\x7d\x7d\x7d"[..]));
}

#[test]
fn tries_are_told_after_all_else_and_only_where_there_are_some() {
    let without = RequestFacts { generation: 7, ..RequestFacts::default() };
    let mut expected = bytes(&HELD, None, &without);
    assert!(expected.ends_with(b"\0\0\0\0\0\0\x07"), "as it was before there were any");
    expected.extend_from_slice(b"\x16127.0.0.1:8001 connect");
    assert_eq!(bytes(&HELD, None, &RequestFacts { tries: "127.0.0.1:8001 connect", ..without }), expected);
}

#[test]
fn a_credential_is_told_behind_tries_and_only_where_there_is_one() {
    let facts = |tries| RequestFacts { generation: 7, tries, ..RequestFacts::default() };
    let with = |credential| {
        let mut held = HELD;
        held[INTERNED - 1] = credential;
        held
    };
    let check = |credential, tries, expected: &[u8]| {
        let mut all = bytes(&HELD, None, &facts(""));
        all.extend_from_slice(expected);
        assert_eq!(bytes(&with(credential), None, &facts(tries)), all, "{credential:?} {tries}");
    };
    check(Held::Empty, "", b"");
    check(Held::Empty, "ab", b"\x02ab");
    check(Held::First(33, "basic"), "", b"\0\x87\x01\x05basic");
    check(Held::Known(3), "", b"\0\x0d");
    check(Held::Inline("x"), "", b"\0\x06x");
    check(Held::Known(3), "ab", b"\x02ab\x0d");
}

/// Reads a row's bytes as the reference describes them: none if they are no row's.
struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn small(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn short(&mut self) -> Option<Vec<u8>> {
        let count = self.small()?;
        Some(self.take(count)?.to_vec())
    }

    fn row(mut self) -> Option<Vec<Vec<u8>>> {
        let mut fields = vec![self.take(17)?.to_vec(), of(self.small()?), self.take(8)?.to_vec(), of(self.small()?)];
        for _ in 0..4 {
            fields.push(self.short()?);
        }
        fields.push(match self.small()? {
            1 => self.take(16)?.to_vec(),
            twice => self.take(twice / 2)?.to_vec(),
        });
        for _ in 0..INTERNED - 1 {
            self.held(&mut fields)?;
        }
        fields.push(self.short()?);
        for _ in 0..6 {
            fields.push(of(self.small()?));
        }
        if self.0.is_empty() {
            fields.extend([Vec::new(), of(0), of(0)]);
            return Some(fields);
        }
        let tries = self.short()?;
        if self.0.is_empty() && !tries.is_empty() {
            fields.extend([tries, of(0), of(0)]);
            return Some(fields);
        }
        fields.push(tries);
        let at = fields.len();
        self.held(&mut fields)?;
        (self.0.is_empty() && fields.get(at) != Some(&of(0))).then_some(fields)
    }

    fn held(&mut self, fields: &mut Vec<Vec<u8>>) -> Option<()> {
        let word = self.small()?;
        fields.push(of(word & 3));
        match word & 3 {
            2 => fields.push(self.take(word >> 2)?.to_vec()),
            3 => fields.extend([of(word >> 2), self.short()?]),
            _ => fields.push(of(word >> 2)),
        }
        Some(())
    }
}

fn of(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

prop_compose! {
    fn held()(kind in 0..4, number in prop_oneof![1..40_u64, 1..1_u64 << 60], text in 0..TEXTS.len()) -> Held<'static> {
        match kind {
            0 => Held::Empty,
            1 => Held::Known(number),
            2 => Held::First(number, TEXTS[text]),
            _ => Held::Inline(TEXTS[text]),
        }
    }
}

/// Texts that look like what other fields leave.
const TEXTS: [&str; 8] =
    ["", "\0", "\x01", "\x01\0", "R", "\0\0\0\0\0\0\x01", "\x02ab", "127.0.0.1:8001 reset; not retried"];

proptest! {
    /// What can be read back whole is no other row's.
    #[test]
    fn no_two_rows_have_the_same_bytes(
        interned in prop::collection::vec(held(), INTERNED), texts in prop::array::uniform7(0..TEXTS.len()),
        numbers in prop::array::uniform6(prop_oneof![0..300_u64, any::<u64>()]),
        packed_id in any::<Option<[u8; 16]>>(), time_us in any::<i64>(), status in any::<u16>()
    ) {
        let [method, path, query, client, request_id, matched, tries] = texts.map(|text| TEXTS[text]);
        let [bytes_in, bytes_out, duration_us, upstream_us, attempts, generation] = numbers;
        let facts = RequestFacts {
            time_us, status, method, path, query, client, request_id, matched, tries, bytes_in, bytes_out, duration_us,
            upstream_us, attempts: attempts as u32, generation, ..RequestFacts::default()
        };
        let interned: [Held<'_>; INTERNED] = interned.try_into().unwrap();
        let mut expected = vec![[&[9; 16][..], b"R"].concat(), of(300), of(time_us as u64), of(status.into())];
        expected.extend([method, path, query, client].map(|text| text.as_bytes().to_vec()));
        expected.push(packed_id.map_or_else(|| request_id.as_bytes().to_vec(), |id| id.to_vec()));
        let spelled = |text| match text {
            Held::Empty => vec![of(0), of(0)],
            Held::Known(number) => vec![of(1), of(number)],
            Held::Inline(text) => vec![of(2), text.as_bytes().to_vec()],
            Held::First(number, text) => vec![of(3), of(number), text.as_bytes().to_vec()],
        };
        let [always @ .., credential] = interned;
        expected.extend(always.into_iter().flat_map(spelled));
        expected.push(matched.as_bytes().to_vec());
        expected.extend([bytes_in, bytes_out, duration_us, upstream_us, u64::from(attempts as u32), generation].map(of));
        expected.push(tries.as_bytes().to_vec());
        expected.extend(spelled(credential));
        prop_assert_eq!(Reading(&bytes(&interned, packed_id.as_ref(), &facts)).row(), Some(expected));
    }
}

#[test]
fn texts_held_in_different_ways_differ() {
    let facts = RequestFacts::default();
    let of = |held| bytes(&[held; INTERNED], None, &facts);
    let all = [Held::Empty, Held::Known(1), Held::Known(2), Held::First(1, "a"), Held::Inline("a"), Held::Inline("")];
    for (at, one) in all.iter().enumerate() {
        for other in all.iter().skip(at + 1) {
            assert_ne!(of(*one), of(*other), "{one:?} and {other:?}");
        }
    }
}
