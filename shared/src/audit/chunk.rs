//! A batch of request rows in two allocations: how a worker hands what it served to the audit writer.

use std::ops::Range;

use super::RequestFacts;

/// Request rows, packed: their texts lie end to end in one string.
#[derive(Debug, Default)]
pub struct Chunk {
    text: String,
    rows: Vec<Packed>,
}

/// How many texts a row has.
const TEXTS: usize = 16;

#[derive(Debug)]
struct Packed {
    time_us: i64,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
    upstream_us: u64,
    generation: u64,
    start: usize,
    /// The end of each text, relative to `start`.
    ends: [u32; TEXTS],
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
        let start = self.text.len();
        let mut ends = [0; TEXTS];
        for (end, text) in ends.iter_mut().zip(texts(facts)) {
            self.text.push_str(text);
            *end = (self.text.len() - start) as u32;
        }
        self.rows.push(Packed {
            time_us: facts.time_us,
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            duration_us: facts.duration_us,
            upstream_us: facts.upstream_us,
            generation: facts.generation,
            start,
            ends,
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
        self.rows.iter().map(|row| {
            let mut from = 0;
            let mut texts = row.ends.iter().map(|&end| {
                let range: Range<usize> = row.start + from as usize..row.start + end as usize;
                from = end;
                self.text.get(range).unwrap_or_default()
            });
            let mut next = || texts.next().unwrap_or_default();
            RequestFacts {
                time_us: row.time_us,
                request_id: next(),
                client: next(),
                method: next(),
                scheme: next(),
                listener: next(),
                host: next(),
                path: next(),
                query: next(),
                protocol: next(),
                route: next(),
                upstream: next(),
                endpoint: next(),
                outcome: next(),
                principal: next(),
                user_agent: next(),
                matched: next(),
                status: row.status,
                bytes_in: row.bytes_in,
                bytes_out: row.bytes_out,
                duration_us: row.duration_us,
                upstream_us: row.upstream_us,
                attempts: row.attempts,
                generation: row.generation,
            }
        })
    }
}

/// The texts of a row, in the one order that packing and unpacking share.
fn texts<'a>(facts: &RequestFacts<'a>) -> [&'a str; TEXTS] {
    [
        facts.request_id,
        facts.client,
        facts.method,
        facts.scheme,
        facts.listener,
        facts.host,
        facts.path,
        facts.query,
        facts.protocol,
        facts.route,
        facts.upstream,
        facts.endpoint,
        facts.outcome,
        facts.principal,
        facts.user_agent,
        facts.matched,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let rows = [
            RequestFacts { request_id: "a1", path: "/x", status: 200, user_agent: "curl", ..RequestFacts::default() },
            RequestFacts { host: "h", matched: "{}", outcome: "served", attempts: 2, ..RequestFacts::default() },
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
}
