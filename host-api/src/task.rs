//! A bridge's work as the outcome of a Task's attempt.
//!
//! Refuses to count fuel: nothing of ours runs.

use stepwell_types::{Data, Failure, Spent, StepOutcome, StepRequest};
use tokio::time::Instant;

/// Does the work that a request asks for, and measures it.
pub(crate) async fn measured(
    request: &StepRequest,
    work: impl Future<Output = Result<Data, Failure>>,
) -> StepOutcome {
    let started = Instant::now();
    let result = work.await;
    let output = result.as_ref().map_or(0, Data::len_bytes);
    StepOutcome {
        spent: Spent {
            fuel: 0,
            time_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            bytes: (request.input.len_bytes() + output) as u64,
        },
        result,
        logs: Vec::new(),
        effects: None,
        notes: None,
    }
}
