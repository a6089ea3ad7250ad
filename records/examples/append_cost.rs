//! What a request row costs, in instructions: `append_cost ROWS` packs and writes so many rows as the daemon does, in
//! chunks of 256 and transactions of 4096, all of one usual kind.
//!
//! Under `valgrind --tool=callgrind`, the difference between two counts of rows is what the rows cost, without the start:
//!
//! ```sh
//! cargo build --profile release-quick -p records --example append_cost
//! for rows in 40960 81920; do
//!     valgrind --tool=callgrind --callgrind-out-file=/tmp/append.$rows target/release-quick/examples/append_cost $rows
//! done
//! ```

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::time::{Duration, Instant};

use records::{Entry, Limits, Store};
use shared::audit::{Chunk, RequestFacts};
use shared::config::Keep;

const CHUNK_ROWS: usize = 256;
const BATCH_CHUNKS: usize = 16;
const BEGIN_US: i64 = 1_790_000_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let rows: u64 = std::env::args().nth(1).ok_or("usage: append_cost ROWS")?.parse()?;
    let dir = tempfile::tempdir()?;
    let mut store = Store::open(dir.path(), Limits::of(&Keep { days: None, size_bytes: None }), BEGIN_US)?;
    let mut chunks: Vec<Chunk> = (0..BATCH_CHUNKS).map(|_| Chunk::with_capacity(CHUNK_ROWS)).collect();
    let (begun, cpu) = (Instant::now(), on_cpu());
    let mut number = 0;
    while number < rows {
        for chunk in &mut chunks {
            chunk.clear();
            while number < rows && chunk.len() < CHUNK_ROWS {
                number += 1;
                push(chunk, number);
            }
        }
        let batch: Vec<_> = chunks.iter().map(Entry::Requests).collect();
        store.write(&batch, false)?;
    }
    let (took, spent) = (begun.elapsed(), on_cpu().saturating_sub(cpu));
    println!("{rows} rows: {:.0} rows/s, {:.3} us of CPU a row", rows as f64 / took.as_secs_f64(), us(spent, rows));
    store.close()?;
    Ok(())
}

fn us(spent: Duration, rows: u64) -> f64 {
    spent.as_nanos() as f64 / 1_000.0 / rows as f64
}

/// What this thread has spent on a CPU.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn push(chunk: &mut Chunk, number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [b'0'; 32];
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for digit in id.iter_mut().skip(16) {
        *digit = DIGITS[(rest & 15) as usize];
        rest >>= 4;
    }
    chunk.push(&RequestFacts {
        time_us: BEGIN_US + number as i64 * 100,
        request_id: std::str::from_utf8(&id).unwrap_or_default(),
        client: "127.0.0.1",
        method: "GET",
        scheme: "http",
        listener: "127.0.0.1:8000",
        host: "127.0.0.1",
        path: "/api/v1/items/12345",
        query: "page=2&sort=asc",
        protocol: "HTTP/1.1",
        route: "api",
        upstream: "backend",
        endpoint: "127.0.0.1:8001",
        status: 200,
        outcome: "served",
        bytes_out: 1024,
        duration_us: 1000 + number % 512,
        upstream_us: 900 + number % 256,
        attempts: 1,
        generation: 1,
        user_agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        ..RequestFacts::default()
    });
}
