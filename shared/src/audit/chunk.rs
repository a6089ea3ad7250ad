//! A batch of request rows in two allocations: how a worker hands what it served to the audit writer.

use super::RequestFacts;

/// Request rows, packed: their texts lie end to end in one string, those that the row before has too only once.
#[derive(Debug, Default)]
pub struct Chunk {
    text: String,
    rows: Vec<Packed>,
}

/// How many texts a row has.
const TEXTS: usize = 16;

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
    texts: [Span; TEXTS],
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
        let mut spans = self.rows.last().map_or([Span::default(); TEXTS], |row| row.texts);
        for (span, text) in spans.iter_mut().zip(texts(facts)) {
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
            texts: spans,
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

    /// The rows, in the order they were pushed. Where a row has a text of the row before it, it is the same piece of memory.
    pub fn iter(&self) -> impl Iterator<Item = RequestFacts<'_>> {
        let mut spans = [Span::default(); TEXTS];
        let mut texts = [""; TEXTS];
        self.rows.iter().map(move |row| {
            for ((text, span), now) in texts.iter_mut().zip(&mut spans).zip(&row.texts) {
                if *span != *now {
                    *span = *now;
                    *text = self.text.get(now.start as usize..now.end()).unwrap_or_default();
                }
            }
            let [
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
                user_agent,
                matched,
            ] = texts;
            RequestFacts {
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
                user_agent,
                matched,
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
                ..RequestFacts::default()
            },
            RequestFacts::default(),
        ];
        let mut chunk = Chunk::with_capacity(1);
        for row in &rows {
            chunk.push(row);
        }
        assert_eq!(chunk.iter().collect::<Vec<_>>(), rows);
        let all = chunk.iter().collect::<Vec<_>>();
        assert!(std::ptr::eq(all[0].scheme, all[1].scheme), "an unchanged text is kept once");
        chunk.clear();
        assert!(chunk.is_empty() && chunk.iter().next().is_none());
    }
}
