//! A process killed between and amid writes: what it was told is durable is there,
//! in order and without a gap.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts itself again as the victim and tells it so by the environment"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use stepwell_store::{Batch, Key, Range, Reader, Writer};
use stepwell_store_rocks::{Options, open};
use stepwell_types::{ExecutionId, ShardId, Timestamp};
use tempfile::TempDir;

const VICTIM: &str = "STEPWELL_STORE_KILL_TEST_DIR";
const KILLS: u64 = 8;

fn options() -> Options {
    Options {
        ballast_bytes: 0,
        // Small, so that kills also meet files being written out and merged.
        memtable_bytes_max: 1 << 20,
        wal_bytes_max: 1 << 20,
        ..Options::default()
    }
}

fn execution() -> ExecutionId {
    ExecutionId::new(Timestamp(1), ShardId(0), 1)
}

fn rows(reader: &impl Reader) -> Vec<u64> {
    let range = Range::Log {
        execution: execution(),
        from_seq: 0,
    };
    let rows = reader.scan(&range, usize::MAX).expect("read");
    rows.into_iter()
        .map(|(key, value)| match key {
            Key::Log { seq, .. } => {
                assert_eq!(value, value_of(seq), "row {seq}");
                seq
            }
            other => panic!("{other:?} among the log's rows"),
        })
        .collect()
}

fn value_of(seq: u64) -> Vec<u8> {
    vec![seq as u8; 100 + (seq % 7) as usize * 900]
}

/// Each commit: one log row in one batch, and a summary that names it in another.
fn victim(dir: &Path) {
    let (reader, mut writer) = open(dir, options()).expect("open");
    let first = rows(&reader).len() as u64;
    for seq in first.. {
        let (mut log, mut summary) = (Batch::default(), Batch::default());
        log.put(
            Key::Log {
                execution: execution(),
                seq,
            },
            value_of(seq),
        );
        summary.put(
            Key::Summary {
                execution: execution(),
            },
            seq.to_be_bytes(),
        );
        writer.commit(&[log, summary]).expect("commit");
        println!("durable {seq}");
    }
}

#[test]
fn what_was_durable_survives() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        return victim(Path::new(&dir));
    }
    let dir = TempDir::new().expect("a temporary directory");
    let mut told = None;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "what_was_durable_survives", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the victim");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut seen = 0;
        for line in lines {
            let line = line.expect("a line");
            if let Some((_, seq)) = line.split_once("durable ") {
                told = Some(seq.parse::<u64>().expect("a number"));
                seen += 1;
            }
            // It writes on until the signal arrives; the rest of its lines is read too.
            if seen == 50 + kill * 31 {
                child.kill().expect("kill -9");
            }
        }
        child.wait().expect("the victim's end");
        assert!(
            seen >= 50,
            "the victim ended by itself after {seen} commits"
        );

        let (reader, _writer) = open(dir.path(), options()).expect("open after the kill");
        let rows = rows(&reader);
        let told = told.expect("it told of some");
        let count = rows.len() as u64;
        assert!(rows.iter().copied().eq(0..count), "a gap in {rows:?}");
        assert!(
            count == told + 1 || count == told + 2,
            "kill {kill}: {count} rows are there, the last one told of is {told}"
        );
        let summary = reader.get(&Key::Summary {
            execution: execution(),
        });
        let summary = summary.expect("read").expect("a summary");
        assert_eq!(summary, (count - 1).to_be_bytes(), "commits are whole");
    }
}
