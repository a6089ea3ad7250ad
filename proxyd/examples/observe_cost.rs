//! What it costs to write a finished request down: `observe_cost COUNT PARTS`, parts among `id,trail,metrics,log,audit`, in
//! that order. With `audit` the rows go through recorder, queue and writer into a store.
//!
//! Under `valgrind --tool=callgrind`, the difference between two counts is what the requests cost, without the start:
//!
//! ```sh
//! cargo build --profile release-quick -p proxyd --example observe_cost
//! for count in 16384 32768; do
//!     valgrind --tool=callgrind --callgrind-out-file=/tmp/observe.$count \
//!         target/release-quick/examples/observe_cost $count id,trail,metrics,log,audit
//! done
//! ```
//!
//! Run as it is, with a million, it tells the rows a second of the whole path and the process's time on CPUs.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxyd::exchange::{Part, Trail};
use proxyd::telemetry::access_log::AccessLog;
use proxyd::telemetry::clock::Clock;
use proxyd::telemetry::ids::{Ids, Seed};
use proxyd::telemetry::metrics::Metrics;
use shared::audit::RequestFacts;
use shared::config;

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(count), Some(parts)) = (arguments.next(), arguments.next()) else {
        return Err("usage: observe_cost COUNT PARTS".into());
    };
    let (count, parts): (u64, Vec<&str>) = (count.parse()?, parts.split(',').collect());
    let has = |part| parts.contains(&part);
    let dir = tempfile::tempdir()?;
    let log = AccessLog::start(&config::Log {
        level: config::Level::Info,
        format: config::LogFormat::Json,
        access: config::AccessLog::File(dir.path().join("access.log")),
        slow_request: None,
        redact: config::Redact::default(),
    })?;
    let audit = config::Audit {
        requests: config::RequestAudit::All,
        path: dir.path().join("audit"),
        flush: Duration::from_millis(50),
        when_full: config::WhenFull::Wait,
        keep: config::Keep { days: None, size_bytes: None },
    };
    let (writer, mut recorders) = proxyd::audit::start(&audit, 1)?;
    let recorder = recorders.pop().ok_or("no recorder")?;
    let (lines, metrics) = (log.worker(), Metrics::new(1).worker(0));
    let (clock, ids) = (Clock::new(Instant::now()), Ids::new(Seed::draw()?, 0));
    let cells = metrics.route(&Arc::from("api"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let (begun, cpu) = (Instant::now(), on_cpus());
    let fixed = ids.next();
    runtime.block_on(async {
        for number in 0..count {
            let started = clock.now();
            let id = if has("id") { ids.next() } else { fixed };
            let texts = [id.as_str(), "127.0.0.1", "GET", "127.0.0.1", "page=2&sort=asc", AGENT, ""];
            let mut trail = Trail::default();
            if has("trail") {
                trail = Trail::open(texts, "/api/v1/items/12345");
            }
            let part = |part: Part, text| if has("trail") { trail.part(part) } else { text };
            let [id, client, method, host, query, user_agent, matched] = texts;
            let facts = RequestFacts {
                time_us: started.unix_us,
                request_id: part(Part::Id, id),
                client: part(Part::Client, client),
                method: part(Part::Method, method),
                scheme: "http",
                listener: "127.0.0.1:8000",
                host: part(Part::Host, host),
                path: if has("trail") { trail.path() } else { "/api/v1/items/12345" },
                query: part(Part::Query, query),
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
                user_agent: part(Part::UserAgent, user_agent),
                matched: part(Part::Matched, matched),
                ..RequestFacts::default()
            };
            if has("metrics") {
                metrics.request_started();
                metrics.request_finished(facts.status);
                cells.finished(facts.status, facts.duration_us, facts.bytes_in, facts.bytes_out);
            }
            if has("log") {
                lines.line(&facts, config::LogFormat::Json);
            }
            if has("audit") {
                // Without a place the row is lost, which the count of rows tells.
                if let Ok(place) = recorder.reserve().await {
                    recorder.record(place, &facts);
                }
            }
        }
        lines.flush();
        recorder.flush();
        writer.stop(Duration::from_mins(1)).await
    });
    let (took, spent) = (begun.elapsed(), on_cpus().saturating_sub(cpu));
    let numbers = writer.numbers();
    println!("{count} requests, {} rows, {} lost lines, in {took:.2?}", numbers.rows, log.dropped());
    let us = spent.as_nanos() as f64 / 1_000.0 / count as f64;
    println!("{:.0} a second, {us:.3} us of CPU each, all threads", count as f64 / took.as_secs_f64());
    Ok(())
}

/// What the process has spent on CPUs, at the kernel's tick of 10 ms.
fn on_cpus() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(12).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
