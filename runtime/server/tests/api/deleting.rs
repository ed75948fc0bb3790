//! Deleting a flow: it holds up no publishing, and reads nothing of what the flow has run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::json;
use stepwell_store::memory::Memory;
use stepwell_store::{Error, Key, Range, Reader};

use super::{House, PASS, block, house_reading, no_vault, request};

const WAIT: &str =
    r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": true}}}"#;

/// A store in which the flow `slow` takes long to read while somebody wants that.
#[derive(Default)]
struct Slow {
    memory: Memory,
    /// Whether it is so, and whether somebody reads it.
    reading: Mutex<(bool, bool)>,
    changed: Condvar,
    /// How many read it now, and the most that ever did at once.
    readers: Mutex<(u32, u32)>,
    /// Rows that tell of executions, as often as they were read.
    told: AtomicU64,
}

impl Slow {
    fn hold(&self, hold: bool) {
        self.reading.lock().unwrap().0 = hold;
        self.changed.notify_all();
    }

    fn is_read(&self) -> bool {
        self.reading.lock().unwrap().1
    }

    fn reads(&self, begins: bool) {
        let mut readers = self.readers.lock().unwrap();
        readers.0 = if begins { readers.0 + 1 } else { readers.0 - 1 };
        readers.1 = readers.1.max(readers.0);
    }
}

impl Reader for Slow {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        match key {
            Key::Summary { .. } => {
                self.told.fetch_add(1, Ordering::Relaxed);
            }
            Key::Flow { name, .. } if &**name == "slow" => {
                self.reads(true);
                let mut reading = self.reading.lock().unwrap();
                while reading.0 {
                    reading.1 = true;
                    reading = self.changed.wait(reading).unwrap();
                }
                self.reads(false);
            }
            _ => {}
        }
        self.memory.get(key)
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        if matches!(
            range,
            Range::FlowExecutions { .. } | Range::Summaries { .. }
        ) {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        self.memory.scan(range, limit)
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        self.memory.free_bytes()
    }
}

fn house() -> (Arc<Slow>, House) {
    let store = Arc::new(Slow::default());
    let memory = store.memory.clone();
    let house = house_reading(store.clone(), memory, Arc::new(no_vault::Kept), |_| {});
    (store, house)
}

#[test]
fn flows_are_published_while_one_is_being_deleted() {
    let (store, house) = house();
    house.check("PUT", "/v1/flows/gone", PASS, 201, "");
    // It says the name of the other, so that it is compiled as well.
    let says = PASS.replace('P', "gone").replace("goneass", "Pass");
    house.check("PUT", "/v1/flows/slow", &says, 201, "");
    store.hold(true);
    let published = block(async {
        let delete = house.ask("DELETE", "/v1/flows/gone", "");
        let publish = async {
            while !store.is_read() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let other = house.ask("PUT", "/v1/flows/other", PASS);
            let published = tokio::time::timeout(Duration::from_secs(5), other).await;
            store.hold(false);
            published
        };
        let (deleted, published) = tokio::join!(delete, publish);
        assert_eq!(deleted.0, 204, "{}", deleted.1);
        published
    });
    let (status, said) = published.expect("it was held up");
    assert_eq!(status, 201, "{said}");
    house.check("GET", "/v1/flows/gone", "", 404, "RUN0002");
    house.check("GET", "/v1/flows/other", "", 200, "");
}

/// Each deletion looks through all definitions, on a thread that may block.
#[test]
fn many_deletions_take_one_thread() {
    let (store, house) = house();
    house.check("PUT", "/v1/flows/slow", PASS, 201, "");
    let paths: Vec<_> = (0..20).map(|n| format!("/v1/flows/gone-{n}")).collect();
    for path in &paths {
        house.check("PUT", path, PASS, 201, "");
    }
    store.hold(true);
    block(async {
        let deletions = paths.iter().map(|path| house.ask("DELETE", path, ""));
        let release = async {
            while !store.is_read() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Time for the others to come as far.
            tokio::time::sleep(Duration::from_millis(300)).await;
            store.hold(false);
        };
        let (deleted, ()) = tokio::join!(futures_util::future::join_all(deletions), release);
        for (status, said) in deleted {
            assert_eq!(status, 204, "{said}");
        }
    });
    assert_eq!(store.readers.lock().unwrap().1, 1);
}

#[test]
fn a_flow_is_in_use_however_another_spells_its_name() {
    let (_, house) = house();
    house.check("PUT", "/v1/flows/gone", PASS, 201, "");
    let task = |how: &str| {
        format!(
            r#"{{"StartAt": "C", "States": {{"C": {{"Type": "Task", "End": true, "Resource": {how}}}}}}}"#
        )
    };
    let start = |name: &str| {
        task(&format!(
            r#""flow:start", "Parameters": {{"StateMachineArn": "{name}"}}"#
        ))
    };
    let bound = task(r#""arn:aws:lambda:eu-west-1:123456789012:function:go""#);
    for caller in [
        json!({"definition": start("${Begins}ne"), "substitutions": {"Begins": "go"}}),
        json!({"definition": start(r"\u0067one")}),
        json!({"definition": bound, "resources": {"arn:aws:lambda:*:function:go": {"flow": "gone"}}}),
    ] {
        let mut publish = request("PUT", "/v1/flows/caller", caller.to_string());
        let kind = "application/vnd.stepwell.publish+json".parse().unwrap();
        publish.headers_mut().insert("content-type", kind);
        let (status, said) = block(house.fill(publish));
        assert_eq!(status, 201, "{said}");
        house.check("DELETE", "/v1/flows/gone", "", 409, "flow caller");
    }
    house.check("PUT", "/v1/flows/caller", PASS, 201, "");
    house.check("DELETE", "/v1/flows/gone", "", 204, "");
}

#[test]
fn what_a_flow_has_run_is_not_read_when_it_is_deleted() {
    let (store, house) = house();
    house.check("PUT", "/v1/flows/gone", PASS, 201, "");
    for _ in 0..20 {
        let start = "/v1/flows/gone/executions?wait=10";
        house.check("POST", start, "1", 200, "SUCCEEDED");
    }
    let before = store.told.load(Ordering::Relaxed);
    house.check("DELETE", "/v1/flows/gone", "", 204, "");
    assert_eq!(store.told.load(Ordering::Relaxed), before);
}

#[test]
fn a_flow_is_in_use_while_one_of_its_executions_sleeps() {
    let (_, house) = house();
    house.check("PUT", "/v1/flows/sleeps", WAIT, 201, "");
    let (_, begun) = block(house.ask("POST", "/v1/flows/sleeps/executions", "1"));
    let sleeps = "used by an execution that has not ended";
    house.check("DELETE", "/v1/flows/sleeps", "", 409, sleeps);
    let (_, more) = block(house.ask("POST", "/v1/flows/sleeps/executions", "1"));
    let sleep = "used by 2 executions that have not ended";
    house.check("DELETE", "/v1/flows/sleeps", "", 409, sleep);
    for one in [begun, more] {
        let id = one["id"].as_str().expect("an id");
        let cancel = format!("/v1/executions/{id}/cancel");
        house.check("POST", &cancel, "{}", 200, "");
    }
    house.check("DELETE", "/v1/flows/sleeps", "", 204, "");
}
