//! What a distributed Map reads and writes: pages of items, files of results.
//!
//! Refuses what the flow's manifest does not grant, and to fill the disk.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_buckets::results::{self, Unwritten};
use stepwell_buckets::{Buckets, items};
use stepwell_orchestrator::gate::GateHandle;
use stepwell_types::items::{ItemRead, ResultWrite};
use stepwell_types::{AttemptId, Data, Failure, Grants, Spent, StepOutcome};

use crate::objects::room::Room;
use crate::system::SystemClock;

/// Between two looks whether there is room.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Whether the manifest of a flow, if it has one, grants its states this bucket.
fn granted(grants: Option<&Grants>, bucket: &str, write: bool) -> Result<(), Failure> {
    grants.map_or(Ok(()), |grants| grants.allow_bucket(bucket, write))
}

/// Reads a page of items.
pub async fn read(
    buckets: Buckets,
    wanted: Arc<ItemRead>,
    grants: Option<Arc<Grants>>,
) -> StepOutcome {
    let read = move || {
        granted(grants.as_deref(), &wanted.source.bucket, false)?;
        items::read(&buckets, &wanted)
    };
    apart(read).await
}

/// A file of a distributed Map's results, to be written.
#[derive(Clone)]
pub struct Results {
    pub buckets: Buckets,
    pub room: Arc<Room>,
    pub wanted: Arc<ResultWrite>,
    pub grants: Option<Arc<Grants>>,
    pub records: Data,
}

impl Results {
    /// Writes it. All items have ended, and to begin again with them would be the greater loss: so it
    /// waits while the disk is full, as starts of executions do, until somebody makes room or cancels.
    /// Meanwhile the place that it has among calls is another's, and a stop waits for the next process.
    pub async fn write(self, by: AttemptId, gate: GateHandle) -> StepOutcome {
        let mut told = false;
        loop {
            let (no_room, results) = (Arc::new(Mutex::new(None)), self.clone());
            let reason = Arc::clone(&no_room);
            let outcome = apart(move || {
                results.put().map_err(|unwritten| match unwritten {
                    Unwritten::Failed(failure) => failure,
                    Unwritten::NoRoom(text) => {
                        let failure = Failure::new("States.ResultWriterFailed", text.clone());
                        *reason.lock() = Some(text);
                        failure
                    }
                })
            });
            let outcome = outcome.await;
            let Some(reason) = no_room.lock().take() else {
                return outcome;
            };
            if !std::mem::replace(&mut told, true) {
                let (execution, key) = (by.execution, self.wanted.key());
                tracing::warn!(%execution, %key, %reason, "results wait for room on the disk");
                gate.waits(by);
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    fn put(&self) -> Result<Data, Unwritten> {
        let bucket = &self.wanted.target.bucket;
        granted(self.grants.as_deref(), bucket, true).map_err(Unwritten::Failed)?;
        let has_room = |bytes| self.room.take(bucket, bytes);
        results::write(&self.buckets, &self.wanted, &self.records, &has_room)
    }
}

/// Runs what blocks on a thread that may.
async fn apart(work: impl FnOnce() -> Result<Data, Failure> + Send + 'static) -> StepOutcome {
    let begin = SystemClock.steady_us();
    let result = tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
        let cause = format!("a bucket's thread broke off: {e}");
        Err(Failure::new("Stepwell.EngineFault", cause))
    });
    let spent = Spent {
        fuel: 0,
        time_us: SystemClock.steady_us().saturating_sub(begin),
        bytes: result.as_ref().map_or(0, |data| data.len_bytes() as u64),
    };
    StepOutcome {
        result,
        spent,
        logs: Vec::new(),
        effects: None,
        notes: None,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::mpsc::{Sender, channel};

    use stepwell_buckets::Options;
    use stepwell_orchestrator::gate::{GateKeeper, Verdict, VerdictFuture};
    use stepwell_types::items::{OutputType, ResultChunk, ResultTarget, Transformation};
    use stepwell_types::{
        BridgeAnswer, BridgeCall, EntryId, ExecutionId, LogLine, ShardId, Timestamp,
    };

    use super::*;

    /// Hears which attempts wait.
    struct Heard(Sender<AttemptId>);

    impl GateKeeper for Heard {
        fn admit(&self, _call: BridgeCall) -> VerdictFuture {
            Box::pin(std::future::ready(Verdict::Stopped))
        }

        fn waits(&self, by: AttemptId) {
            self.0.send(by).unwrap();
        }

        fn answered(&self, _answer: BridgeAnswer) {}

        fn log(&self, _call: &BridgeCall, _lines: Vec<LogLine>) {}

        fn logged(&self, _call: &BridgeCall) -> Pin<Box<dyn Future<Output = usize> + Send>> {
            Box::pin(std::future::ready(0))
        }
    }

    #[test]
    fn results_give_their_place_up_while_the_disk_has_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let buckets = Buckets::open(&Options {
            kept: Some(dir.path().to_path_buf()),
            granted: Vec::new(),
            object_bytes_max: 1 << 30,
            instance: "here".to_owned(),
        });
        let buckets = buckets.unwrap();
        let by = AttemptId {
            execution: ExecutionId::new(Timestamp(1), ShardId(3), 7),
            entry: EntryId(2),
            attempt: 1,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // With this much to stay free. `None`: it waits for longer than one look.
        let written = |floor: u64| {
            let target = ResultTarget {
                bucket: "out".into(),
                prefix: "all".into(),
                transformation: Transformation::None,
                output: OutputType::Json,
            };
            let results = Results {
                buckets: buckets.clone(),
                room: Arc::new(Room::of(buckets.clone(), floor)),
                wanted: Arc::new(ResultWrite {
                    target,
                    run: "run".into(),
                    chunk: ResultChunk::Manifest,
                }),
                grants: None,
                records: Data::from_valid_text("{}"),
            };
            let (said, heard) = channel();
            let write = results.write(by, Arc::new(Heard(said)));
            let outcome = runtime
                .block_on(async { tokio::time::timeout(ROOM_PAUSE + ROOM_PAUSE / 2, write).await });
            let waits: Vec<AttemptId> = heard.iter().collect();
            (outcome.ok().map(|outcome| outcome.result), waits)
        };
        assert_eq!(written(u64::MAX), (None, vec![by]));
        let (result, waits) = written(0);
        let result = result.unwrap().unwrap();
        assert_eq!(result.value()["Key"], "all/run/manifest.json");
        assert!(waits.is_empty());
    }
}
