//! Fills a store and measures it: `fill DIR ROWS` writes request rows as the daemon does, in chunks of 256 and
//! transactions of 4096, then times the newest 50, a filtered search and the proof of the chain.
//!
//! For the long check: ten million rows, newest 50 in under 50 ms. It must not be pointed at a store that matters.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use records::{Entry, Limits, Reader, Store, sweep, verify};
use shared::audit::{Chunk, Filter, RequestFacts};
use shared::config::Keep;

const CHUNK_ROWS: u64 = 256;
const BATCH_CHUNKS: usize = 16;
const BEGIN_US: i64 = 1_790_000_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(rows)) = (arguments.next(), arguments.next()) else {
        return Err("usage: fill DIR ROWS".into());
    };
    let (dir, rows) = (Path::new(&dir), rows.parse()?);
    let keep = Keep { days: None, size_bytes: None };
    let mut store = Store::open(dir, Limits::of(&keep), BEGIN_US)?;
    let (begun, cpu) = (Instant::now(), on_cpu());
    let (making, slowest) = fill(&mut store, rows)?;
    let took = begun.elapsed();
    let cpu_us = on_cpu().saturating_sub(cpu).as_micros() as f64 / rows as f64;
    println!("{cpu_us:.2} us of CPU a row, making the rows included");
    let writing = took.saturating_sub(making);
    println!("{rows} rows in {took:.2?}: {:.0} rows/s", rows as f64 / took.as_secs_f64());
    println!(
        "writing alone {writing:.2?}: {:.0} rows/s, slowest transaction {slowest:.1?}",
        rows as f64 / writing.as_secs_f64()
    );

    let reader = Reader::new(dir);
    let newest = Filter { last: 50, requests: true, actions: true, ..Filter::default() };
    for round in ["first", "second"] {
        timed(&format!("newest 50, {round}"), || Ok(reader.search(&newest, Duration::from_secs(5))?.rows.len()))?;
    }
    let rare = Filter { status: Some((599, 599)), ..newest.clone() };
    timed("a status that no row has, within 5 s", || {
        let found = reader.search(&rare, Duration::from_secs(5))?;
        println!("  looked back to row {}", found.reached.unwrap_or(1));
        Ok(found.rows.len())
    })?;
    store.close()?;
    timed("indexing the closed segments", || {
        let swept = sweep(dir, &keep, BEGIN_US)?;
        println!(
            "  {} segments, {} bytes, {:.1} bytes a row",
            swept.segments,
            swept.size_bytes,
            swept.size_bytes as f64 / rows as f64
        );
        Ok(swept.segments as usize)
    })?;
    let one = Filter { request_id: Some(format!("{:032x}", rows / 3)), ..newest };
    timed("one request id", || Ok(reader.search(&one, Duration::from_secs(5))?.rows.len()))?;
    timed("the proof", || {
        let verified = verify(dir, &[], &|| true)?;
        println!("  intact: {}, rows: {}", verified.intact, verified.rows);
        Ok(verified.rows as usize)
    })
}

/// What this thread has spent on a CPU: on a busy machine the only figure worth comparing.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

/// Writes the rows; the time that went into making them, and the slowest transaction.
fn fill(store: &mut Store, rows: u64) -> Result<(Duration, Duration), Box<dyn Error>> {
    let agents: Vec<String> =
        (0..200).map(|number| format!("Mozilla/5.0 (X11; Linux x86_64) Browser/{number}.0")).collect();
    let routes: Vec<String> = (0..40).map(|number| format!("route-{number}")).collect();
    let mut making = Duration::ZERO;
    let mut slowest = Duration::ZERO;
    let mut chunks: Vec<Chunk> = (0..BATCH_CHUNKS).map(|_| Chunk::with_capacity(CHUNK_ROWS as usize)).collect();
    let mut number = 0;
    while number < rows {
        let begun = Instant::now();
        for chunk in &mut chunks {
            chunk.clear();
            while number < rows && (chunk.len() as u64) < CHUNK_ROWS {
                number += 1;
                push(chunk, number, &agents, &routes);
            }
        }
        making += begun.elapsed();
        let begun = Instant::now();
        let batch: Vec<_> = chunks.iter().map(Entry::Requests).collect();
        store.write(&batch, false)?;
        slowest = slowest.max(begun.elapsed());
        // The daemon drops it on another thread.
        if let Some(retired) = store.rotate_if_due(BEGIN_US)? {
            std::thread::spawn(move || drop(retired));
        }
    }
    Ok((making, slowest))
}

fn push(chunk: &mut Chunk, number: u64, agents: &[String], routes: &[String]) {
    let pick = |list: &'_ [String], salt: u64| {
        let at = number.wrapping_mul(salt) >> 7;
        list.get(at as usize % list.len()).cloned().unwrap_or_default()
    };
    chunk.push(&RequestFacts {
        time_us: BEGIN_US + number as i64 * 100,
        request_id: &format!("{number:032x}"),
        client: &format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
        method: "GET",
        scheme: "http",
        listener: "0.0.0.0:8000",
        host: "shop.example",
        path: &format!("/api/items/{:08}/detail", number % 1_000_000),
        protocol: "HTTP/1.1",
        route: &pick(routes, 0x9e37_79b9),
        upstream: "shop",
        endpoint: "127.0.0.1:8001",
        status: if number.is_multiple_of(50) { 404 } else { 200 },
        outcome: "served",
        bytes_out: 1024,
        duration_us: 1000 + number % 5000,
        upstream_us: 900,
        attempts: 1,
        generation: 1,
        user_agent: &pick(agents, 0x85eb_ca6b),
        ..RequestFacts::default()
    });
}

fn timed(what: &str, work: impl FnOnce() -> Result<usize, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let count = work()?;
    println!("{what}: {count} in {:.1?}", begun.elapsed());
    Ok(())
}
