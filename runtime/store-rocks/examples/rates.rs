//! Measures the store alone: commits a second by size of the group, the cost of many
//! finished executions, and a restart.
//!
//! `cargo build --workspace --example rates`, then in the target folder
//! `debug/examples/rates DIRECTORY [FINISHED]`.
//! The directory must be missing or empty, on the disk that is asked about.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and its arguments"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use stepwell_store::{Batch, Key, Range, Reader, Writer};
use stepwell_store_rocks::{Error, Options, RocksReader, RocksWriter, open};
use stepwell_types::{ExecutionId, ShardId, Timestamp};

/// How long one turn lasts.
const ROUND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("which directory?")?;
    let finished: u64 = args.next().as_deref().unwrap_or("200000").parse()?;
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    let (full_dir, empty_dir) = (dir.join("full"), dir.join("empty"));

    let (reader, mut writer) = open(&full_dir, Options::default())?;
    let start = Instant::now();
    let mut next = 0;
    while next < finished {
        let batches: Vec<Batch> = (next..next + 500).map(execution).collect();
        writer.commit(&batches)?;
        next += 500;
    }
    println!("{next} finished executions added in {:?}", start.elapsed());
    names(&reader, next)?;
    pages(&reader)?;

    // Turn and turn about, since other programs disturb the disk.
    let (_empty, mut empty) = open(&empty_dir, Options::default())?;
    let mut first = 0;
    for size in [1, 8, 32, 128] {
        for _ in 0..3 {
            group("empty", &mut empty, &mut first, size)?;
            group("full", &mut writer, &mut next, size)?;
        }
    }
    names(&reader, next)?;
    drop((reader, writer));

    let start = Instant::now();
    let (reader, _writer) = open(&full_dir, Options::default())?;
    let (took, bytes) = (start.elapsed(), bytes(&full_dir)?);
    println!(
        "a restart with {next}: {took:?}, {} bytes an execution on disk",
        bytes / next
    );
    names(&reader, next)
}

/// What a short execution leaves: log, summary, index, name, and a hot row that came and went.
fn execution(n: u64) -> Batch {
    let execution = ExecutionId::new(Timestamp(n as i64), ShardId((n % 64) as u8), n.into());
    let mut batch = Batch::default();
    let text = format!("{{\"order\": {n}, \"total\": {}}} ", n * 37).repeat(12);
    batch.put(Key::Log { execution, seq: 0 }, text);
    batch.put(Key::Summary { execution }, vec![n as u8; 120]);
    batch.put(
        Key::FlowExecution {
            flow: "orders".into(),
            execution,
        },
        "",
    );
    batch.put(name(n), execution.0);
    batch.put(Key::Hot { execution }, "");
    batch.delete(Key::Hot { execution });
    batch
}

fn name(n: u64) -> Key {
    // Spread, as names that clients choose are.
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::Name {
        flow: "orders".into(),
        name: format!("{spread:016x}").into(),
    }
}

fn group(what: &str, writer: &mut RocksWriter, next: &mut u64, size: u64) -> Result<(), Error> {
    let start = Instant::now();
    let (mut commits, mut slowest) = (0u32, Duration::ZERO);
    while start.elapsed() < ROUND {
        let batches: Vec<Batch> = (*next..*next + size).map(execution).collect();
        let begun = Instant::now();
        writer.commit(&batches)?;
        slowest = slowest.max(begun.elapsed());
        *next += size;
        commits += 1;
    }
    let rate = f64::from(commits) / start.elapsed().as_secs_f64();
    println!(
        "  {what:5}, groups of {size:3}: {rate:6.0} commits/s, {:7.0} executions/s, slowest {slowest:?}",
        rate * size as f64
    );
    Ok(())
}

fn names(reader: &RocksReader, taken: u64) -> Result<(), Box<dyn std::error::Error>> {
    for (what, from) in [("taken", 0), ("free", taken)] {
        let start = Instant::now();
        for n in 0..20_000 {
            let found = reader.get(&name(from + n * 7 % taken.max(1)))?.is_some();
            if found != (from == 0) {
                return Err(format!("name {n} is not {what}").into());
            }
        }
        println!("  a {what} name: {:?}", start.elapsed() / 20_000);
    }
    Ok(())
}

fn pages(reader: &RocksReader) -> Result<(), Error> {
    let start = Instant::now();
    let newest = reader.scan(&Range::Summaries { before: None }, 50)?.len();
    println!("  the newest {newest} summaries: {:?}", start.elapsed());
    let start = Instant::now();
    let hot = (0..64).try_fold(0, |sum, shard| {
        let range = Range::Hot {
            shard: ShardId(shard),
            after: None,
        };
        reader.scan(&range, 1_000).map(|rows| sum + rows.len())
    })?;
    println!("  {hot} hot rows of all shards: {:?}", start.elapsed());
    Ok(())
}

fn bytes(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => bytes(&entry.path())?,
            false if entry.file_name() == "ballast" => 0,
            false => entry.metadata()?.len(),
        };
    }
    Ok(sum)
}
