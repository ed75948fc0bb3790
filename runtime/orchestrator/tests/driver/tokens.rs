//! Answers that come again, or too late: what is read of the log for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stepwell_orchestrator::Error;
use stepwell_orchestrator::driver::{Driver, Reply, Request, TokenAnswer};
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

fn large(letter: &str) -> Data {
    Data::from_valid_text(format!("\"{}\"", letter.repeat(INLINE_BYTES_MAX + 1)))
}

fn ended(token: TaskToken, output: Data) -> Request {
    Request::Token(token, TokenAnswer::Ended(Ok(output)))
}

#[test]
fn a_late_answer_reads_no_more_of_a_log_than_it_must() {
    let flows = flows([("f", compiled(TASKS))]);
    let mut world = World::new(flows.clone(), options());
    let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
    world.ask(start("f", None, Data::from_valid_text("{}"), id, false));
    world.commit();
    let token = |entry| TaskToken::derive(&id.0, id, EntryId(entry), 0);
    for (entry, letter) in [(1, "a"), (2, "b"), (3, "c")] {
        let ticket = world.ask(ended(token(entry), large(letter)));
        world.commit();
        assert!(
            matches!(world.reply(ticket), Some(Reply::Done)),
            "{entry}: {:?}",
            world.reply(ticket)
        );
    }

    // Another process: what was answered is in the log alone.
    let store = Arc::new(Counting {
        memory: world.memory.clone(),
        ..Counting::default()
    });
    let shards: Vec<_> = (0..SHARDS).map(|s| ShardId(s as u8)).collect();
    world.driver = Driver::new(0, &shards, options(), store.clone(), flows);
    world.driver.recover(true, NOW).expect("memory");
    let read = || {
        (
            store.logs.swap(0, Ordering::Relaxed),
            store.payloads.swap(0, Ordering::Relaxed),
        )
    };
    read();

    let mut forged = token(2);
    forged.proof[0] ^= 1;
    let ticket = world.ask(ended(forged, large("b")));
    let reply = world.reply(ticket);
    assert!(
        matches!(reply, Some(Reply::Refused(Error::BadToken))),
        "{reply:?}"
    );
    assert_eq!(read(), (0, 0), "of a log whose token he does not hold");

    let ticket = world.ask(ended(token(2), large("b")));
    let reply = world.reply(ticket);
    assert!(matches!(reply, Some(Reply::Done)), "{reply:?}");
    let (_, payloads) = read();
    assert_eq!(payloads, 1, "the answer's own");

    let ticket = world.ask(ended(token(2), large("c")));
    let reply = world.reply(ticket);
    assert!(
        matches!(reply, Some(Reply::Refused(Error::TaskOver))),
        "{reply:?}"
    );
}
