//! A batch of request rows in two allocations: how a worker hands what it served to the audit writer.

use super::RequestFacts;
use super::chain::INTERNED;

/// Request rows, packed: their texts lie end to end in one string, those that the row before has too only once.
#[derive(Debug, Default)]
pub struct Chunk {
    text: String,
    rows: Vec<Packed>,
}

/// How many texts a row has: first those that a store may intern, as most rows repeat all of them, then the others.
const TEXTS: usize = INTERNED + OTHERS;
const OTHERS: usize = 7;

/// Where a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    bytes: u32,
}

#[derive(Debug)]
struct Packed {
    time_us: i64,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
    upstream_us: u64,
    generation: u64,
    interned: [Span; INTERNED],
    others: [Span; OTHERS],
    attempts: u32,
    status: u16,
}

impl Chunk {
    /// Room for `rows` rows of usual size.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        Self { text: String::with_capacity(rows * 224), rows: Vec::with_capacity(rows) }
    }

    /// Adds a row.
    pub fn push(&mut self, facts: &RequestFacts<'_>) {
        let (mut interned, mut others) = match self.rows.last() {
            Some(row) => (row.interned, row.others),
            None => ([Span::default(); INTERNED], [Span::default(); OTHERS]),
        };
        for (span, text) in interned.iter_mut().chain(&mut others).zip(texts(facts)) {
            if span.bytes as usize != text.len() || span.of(&self.text) != text.as_bytes() {
                // Chunks are handed over long before they have four gigabytes.
                *span = Span { start: self.text.len() as u32, bytes: text.len() as u32 };
                self.text.push_str(text);
            }
        }
        self.rows.push(Packed {
            time_us: facts.time_us,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            duration_us: facts.duration_us,
            upstream_us: facts.upstream_us,
            generation: facts.generation,
            interned,
            others,
            attempts: facts.attempts,
            status: facts.status,
        });
    }

    /// How many rows it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many bytes its texts have.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many bytes it has room for without growing.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.text.capacity()
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
    }

    /// The rows, in the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = RequestFacts<'_>> {
        self.repeating().map(|(facts, _)| facts)
    }

    /// The rows, in the order they were pushed, each with whether it has the very texts of the row before it as far as they may
    /// be interned (see [`super::chain::HeldRequest`]).
    pub fn repeating(&self) -> impl Iterator<Item = (RequestFacts<'_>, bool)> {
        let mut spans = [Span::default(); INTERNED];
        let mut interned = [""; INTERNED];
        self.rows.iter().enumerate().map(move |(index, row)| {
            let repeats = index > 0 && spans == row.interned;
            if !repeats {
                spans = row.interned;
                interned = spans.map(|span| self.at(span));
            }
            let [
                scheme,
                listener,
                host,
                protocol,
                route,
                upstream,
                endpoint,
                outcome,
                principal,
                user_agent,
                credential,
            ] = interned;
            let [request_id, client, method, path, query, matched, tries] = row.others.map(|span| self.at(span));
            let facts = RequestFacts {
                time_us: row.time_us,
                request_id,
                client,
                method,
                scheme,
                listener,
                host,
                path,
                query,
                protocol,
                route,
                upstream,
                endpoint,
                outcome,
                principal,
                credential,
                user_agent,
                matched,
                status: row.status,
                bytes_in: row.bytes_in,
                bytes_out: row.bytes_out,
                duration_us: row.duration_us,
                upstream_us: row.upstream_us,
                attempts: row.attempts,
                tries,
                generation: row.generation,
            };
            (facts, repeats)
        })
    }

    fn at(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.end()).unwrap_or_default()
    }
}

impl Span {
    fn end(self) -> usize {
        self.start as usize + self.bytes as usize
    }

    fn of(self, text: &str) -> &[u8] {
        text.as_bytes().get(self.start as usize..self.end()).unwrap_or_default()
    }
}

/// The texts of a row, in the one order that packing and unpacking share.
fn texts<'a>(facts: &RequestFacts<'a>) -> [&'a str; TEXTS] {
    [
        facts.scheme,
        facts.listener,
        facts.host,
        facts.protocol,
        facts.route,
        facts.upstream,
        facts.endpoint,
        facts.outcome,
        facts.principal,
        facts.user_agent,
        facts.credential,
        facts.request_id,
        facts.client,
        facts.method,
        facts.path,
        facts.query,
        facts.matched,
        facts.tries,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows = [
            RequestFacts {
                request_id: "a1",
                scheme: "http",
                path: "/x",
                status: 200,
                user_agent: "curl",
                ..RequestFacts::default()
            },
            RequestFacts {
                scheme: "http",
                host: "h",
                matched: "{}",
                outcome: "served",
                attempts: 2,
                tries: "127.0.0.1:8001 connect",
                principal: "alice",
                credential: "jwt.main",
                ..RequestFacts::default()
            },
            RequestFacts::default(),
        ];
        let mut chunk = Chunk::with_capacity(1);
        for row in &rows {
            chunk.push(row);
        }
        assert_eq!(chunk.iter().collect::<Vec<_>>(), rows);
        chunk.clear();
        assert!(chunk.is_empty() && chunk.iter().next().is_none());
    }

    #[test]
    fn repeated_texts_are_kept_once_and_told() {
        let one = RequestFacts { host: "h", user_agent: "curl", path: "/x", ..RequestFacts::default() };
        let rows = [
            one,
            one,
            RequestFacts { path: "/y", ..one },
            RequestFacts { host: "i", ..one },
            one,
            RequestFacts { credential: "basic", ..one },
        ];
        let mut chunk = Chunk::default();
        let sizes = rows.map(|row| {
            chunk.push(&row);
            chunk.text_bytes()
        });
        assert_eq!(sizes, [7, 7, 9, 12, 13, 18]);
        assert_eq!(
            chunk.repeating().map(|(_, repeats)| repeats).collect::<Vec<_>>(),
            [false, true, true, false, false, false]
        );
        assert_eq!(chunk.iter().collect::<Vec<_>>(), rows);
        // The first of all repeats nothing, even if it has no texts.
        let mut chunk = Chunk::default();
        chunk.push(&RequestFacts::default());
        assert!(chunk.repeating().all(|(_, repeats)| !repeats));
    }
}
