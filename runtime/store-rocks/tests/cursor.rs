//! Fired timers must not slow the ones to come: a scan begins at its cursor.

#![allow(clippy::disallowed_methods, reason = "the test measures time")]

use std::time::{Duration, Instant};

use stepwell_store::{Batch, Key, Range, Reader, Writer};
use stepwell_store_rocks::{Options, open};
use stepwell_types::{ExecutionId, ShardId, Timestamp};
use tempfile::TempDir;

const FIRED: i64 = 100_000;

fn timer(at: i64) -> Key {
    Key::Timer {
        at: Timestamp(at),
        execution: ExecutionId::new(Timestamp(0), ShardId(5), at as u128),
    }
}

#[test]
fn scans_start_at_the_cursor() {
    let dir = TempDir::new().expect("a temporary directory");
    let options = Options {
        ballast_bytes: 0,
        ..Options::default()
    };
    let (reader, mut writer) = open(dir.path(), options).expect("open");
    for chunk in 0..FIRED / 1_000 {
        let (mut set, mut fire) = (Batch::default(), Batch::default());
        for i in chunk * 1_000..(chunk + 1) * 1_000 {
            set.put(timer(i), "");
            fire.delete(timer(i));
        }
        writer.commit(&[set]).expect("commit");
        writer.commit(&[fire]).expect("commit");
    }
    let mut batch = Batch::default();
    (FIRED..FIRED + 20).for_each(|i| batch.put(timer(i), ""));
    writer.commit(&[batch]).expect("commit");

    let range = Range::Timers {
        shard: ShardId(5),
        from: Timestamp(FIRED),
    };
    // The quickest of several, since other programs run too. Walking over the removed
    // rows would take tens of milliseconds each time.
    let quickest = (0..50)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(reader.scan(&range, 10).expect("scan").len(), 10);
            start.elapsed()
        })
        .min()
        .expect("fifty");
    assert!(quickest < Duration::from_millis(2), "{quickest:?}");
}
