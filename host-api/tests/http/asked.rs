//! A bridge as tests ask it: its settings, an attempt of a Task, and the journal of that.

use std::sync::Arc;

use stepwell_host_api::http::WallClock;
use stepwell_host_api::secrets::GivenSecrets;
use stepwell_host_api::{Gate, HttpBridge, HttpOptions, Journal, LimitOptions, Limiter};
use stepwell_types::{Data, EntryId, ExecutionId, ShardId, StepRequest, StepTarget, Timestamp};

const NOW: Timestamp = Timestamp(1_000_000);

pub fn limited(options: HttpOptions, limits: LimitOptions) -> HttpBridge {
    let clock: WallClock = Arc::new(|| NOW);
    let limiter = Limiter::new(limits, clock.clone());
    HttpBridge::new(options, limiter, clock).expect("bridge")
}

pub fn request(input: &str) -> StepRequest {
    StepRequest {
        execution: ExecutionId::new(Timestamp(1), ShardId(1), 1),
        execution_name: "e".into(),
        flow: "f".into(),
        state: "s".into(),
        entry: EntryId(2),
        attempt: 1,
        target: StepTarget::Http,
        input: Data::parse(input).expect("JSON"),
        deadline: None,
        token: None,
        seed: 0,
        grants: None,
        recorded: None,
        entered: None,
    }
}

pub fn journal(gate: Arc<dyn Gate>, request: StepRequest) -> Arc<Journal> {
    let secrets = Arc::new(GivenSecrets::default());
    Journal::new(gate, secrets, Arc::new(request), NOW)
}
