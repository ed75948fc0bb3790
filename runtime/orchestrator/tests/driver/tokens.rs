//! What is read of a log with large payloads: for answers that come again, or too late, and by readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stepwell_orchestrator::Error;
use stepwell_orchestrator::driver::{
    Driver, Reply, Request, TokenAnswer, read_log, read_some, read_state,
};
use stepwell_store::memory::Memory;
use stepwell_store::{Error as StoreError, Key, Range, Reader};
use stepwell_types::id::SHARDS;
use stepwell_types::limits::INLINE_BYTES_MAX;
use stepwell_types::{Data, EntryId, ExecutionId, ShardId, TaskToken};

use super::world::{NOW, World, compiled, flows, options, start};

/// Counts what is read of payloads that lie apart, and of logs beyond their first row.
#[derive(Default)]
struct Counting {
    memory: Memory,
    payloads: AtomicUsize,
    logs: AtomicUsize,
}

impl Reader for Counting {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        if matches!(key, Key::Blob { .. }) {
            self.payloads.fetch_add(1, Ordering::Relaxed);
        }
        self.memory.get(key)
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        if matches!(range, Range::Log { .. }) {
            self.logs.fetch_add(1, Ordering::Relaxed);
        }
        self.memory.scan(range, limit)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.memory.free_bytes()
    }
}

/// Three tasks that outside programs answer, each with a payload that lies apart.
const TASKS: &str = r#"{"StartAt": "A", "States": {
    "A": {"Type": "Task", "Resource": "callback", "Next": "B"},
    "B": {"Type": "Task", "Resource": "callback", "Next": "C"},
    "C": {"Type": "Task", "Resource": "callback", "End": true}}}"#;

fn large(letter: &str, bytes: usize) -> Data {
    Data::from_valid_text(format!("\"{}\"", letter.repeat(bytes)))
}

fn ended(token: TaskToken, output: Data) -> Request {
    Request::Token(token, TokenAnswer::Ended(Ok(output)))
}

fn token(id: ExecutionId, entry: u64) -> TaskToken {
    TaskToken::derive(&id.0, id, EntryId(entry), 0)
}

/// An execution whose tasks were all answered, with so many bytes each, and what it is read through.
fn answered(bytes: usize) -> (World, Arc<Counting>, ExecutionId) {
    let flows = flows([("f", compiled(TASKS))]);
    let mut world = World::new(flows.clone(), options());
    let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
    world.ask(start("f", None, Data::from_valid_text("{}"), id, false));
    world.commit();
    for (entry, letter) in [(1, "a"), (2, "b"), (3, "c")] {
        let ticket = world.ask(ended(token(id, entry), large(letter, bytes)));
        world.commit();
        let reply = world.reply(ticket);
        assert!(matches!(reply, Some(Reply::Done)), "{entry}: {reply:?}");
    }
    // Another process: what was answered is in the log alone.
    let store = Arc::new(Counting {
        memory: world.memory.clone(),
        ..Counting::default()
    });
    let shards: Vec<_> = (0..SHARDS).map(|s| ShardId(s as u8)).collect();
    world.driver = Driver::new(0, &shards, options(), store.clone(), flows);
    world.driver.recover(true, NOW).expect("memory");
    (world, store, id)
}

#[test]
fn a_late_answer_reads_no_more_of_a_log_than_it_must() {
    const BYTES: usize = INLINE_BYTES_MAX + 1;
    let (mut world, store, id) = answered(BYTES);
    let read = || {
        (
            store.logs.swap(0, Ordering::Relaxed),
            store.payloads.swap(0, Ordering::Relaxed),
        )
    };
    read();

    let mut forged = token(id, 2);
    forged.proof[0] ^= 1;
    let ticket = world.ask(ended(forged, large("b", BYTES)));
    let reply = world.reply(ticket);
    assert!(
        matches!(reply, Some(Reply::Refused(Error::BadToken))),
        "{reply:?}"
    );
    assert_eq!(read(), (0, 0), "of a log whose token he does not hold");

    let ticket = world.ask(ended(token(id, 2), large("b", BYTES)));
    let reply = world.reply(ticket);
    assert!(matches!(reply, Some(Reply::Done)), "{reply:?}");
    let (_, payloads) = read();
    assert_eq!(payloads, 1, "the answer's own");

    let ticket = world.ask(ended(token(id, 2), large("c", BYTES)));
    let reply = world.reply(ticket);
    assert!(
        matches!(reply, Some(Reply::Refused(Error::TaskOver))),
        "{reply:?}"
    );
}

#[test]
fn a_reader_is_given_few_large_payloads_at_a_time() {
    let (_world, store, id) = answered(3 << 20);
    store.payloads.store(0, Ordering::Relaxed);
    let (mut from, mut most) = (0, 0);
    loop {
        let records = read_some(&*store, id, from, 64).expect("memory");
        if records.is_empty() {
            break;
        }
        from += records.len() as u64;
        most = most.max(store.payloads.swap(0, Ordering::Relaxed));
    }
    // The second goes beyond 4 MiB.
    assert_eq!(most, 2);
    let whole = read_log(&*store, id, 0).expect("memory");
    assert_eq!(from, whole.len() as u64, "nothing is left out");
}

/// Who beats every second must not lose its task to a server that was down for a moment.
#[test]
fn a_limit_that_began_before_a_death_starts_afresh() {
    let task = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "callback", "HeartbeatSeconds": 2, "End": true}}}"#;
    let flows = flows([("f", compiled(task))]);
    let mut world = World::new(flows.clone(), options());
    let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
    world.ask(start("f", None, Data::from_valid_text("{}"), id, false));
    world.commit();
    let runs = |world: &mut World, after_ms: u64| {
        world.now = world.now.plus_ms(after_ms);
        world.driver.tick(world.now).expect("memory");
        world.run();
        world.commit();
        let read = read_state(&world.memory, &*flows, id).expect("it is there");
        read.state.outcome().is_none()
    };
    assert!(runs(&mut world, 1_900));
    world.crash();
    assert!(runs(&mut world, 200), "nobody could beat in this time");
    assert!(runs(&mut world, 1_900));
    assert!(!runs(&mut world, 200), "and nobody did since");
}
