//! Signals on the real driver over the memory store: taken once, kept in order, never before they
//! are durable, whatever comes twice or dies on the way.

use stepwell_flow::program::Keep;
use stepwell_orchestrator::driver::{Options, Reply, Request, Ticket, read_execution, read_log};
use stepwell_store::Key;
use stepwell_types::limits::{SIGNAL_BYTES_MAX, SIGNALS_BYTES_MAX, SIGNALS_MAX};
use stepwell_types::{Data, Digest, ExecutionId, ShardId, Signal};

use super::world::{self, NOW, World, compiled, flows, options};

/// Waits for as many signals `go` as its input says, and ends with the data of all.
const TAKES: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 1, "End": true, "ItemProcessor":
    {"StartAt": "W", "States": {"W": {"Type": "Task", "Resource": "signal:wait", "Parameters": {"Name": "go"},
    "OutputPath": "$.Data", "End": true}}}}}}"#;
/// Sends itself what it waits for afterwards.
const OWN: &str = r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "signal:send", "ResultPath": null, "Next": "W",
    "Parameters": {"Execution.$": "$$.Execution.Id", "Name": "go", "Data": "from myself"}},
    "W": {"Type": "Task", "Resource": "signal:wait", "Parameters": {"Name": "go"}, "OutputPath": "$.Data", "End": true}}}"#;
/// Sends one to an execution by its name.
const NAMED: &str = r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "signal:send",
    "Parameters": {"Flow": "takes", "ExecutionName.$": "$.name", "Name": "go", "Data.$": "$.data"},
    "Catch": [{"ErrorEquals": ["Stepwell.ExecutionEnded"], "Next": "Ended"}, {"ErrorEquals": ["Stepwell.NoExecution"], "Next": "None"}],
    "End": true}, "Ended": {"Type": "Pass", "Result": "ended", "End": true}, "None": {"Type": "Pass", "Result": "none", "End": true}}}"#;
const PASS: &str =
    r#"{"StartAt": "P", "States": {"P": {"Type": "Wait", "Seconds": 60, "End": true}}}"#;

fn takers() -> World {
    let mut express = compiled(PASS);
    express.make_express(Keep::All);
    let flows = flows([
        ("takes", compiled(TAKES)),
        ("own", compiled(OWN)),
        ("named", compiled(NAMED)),
        ("express", express),
    ]);
    let options = Options {
        descendants_max: 1_000,
        ..options()
    };
    World::new(flows, options)
}

impl World {
    fn begin(&mut self, flow: &str, name: Option<&str>, input: &str) -> ExecutionId {
        let shard = name.map_or(ShardId(3), |name| ShardId::of_name(flow, name));
        let id = ExecutionId::new(NOW, shard, u128::from(self.asked) << 8);
        let input = Data::parse(input).expect("JSON");
        self.ask(world::start(flow, name, input, id, false));
        id
    }

    fn signal(&mut self, id: ExecutionId, data: &str, key: Option<&str>) -> Ticket {
        self.signal_of("go", id, data, key)
    }

    fn signal_of(&mut self, name: &str, id: ExecutionId, data: &str, key: Option<&str>) -> Ticket {
        let signal = Signal {
            name: name.into(),
            data: Data::parse(data).expect("JSON"),
            sender: None,
        };
        let key = key.map(|key| Digest::of(key.as_bytes()));
        self.ask(Request::Signal(id, signal, key))
    }

    /// Brings what was sent, each so many times, and what that leads to.
    fn deliver(&mut self, times: usize) {
        self.commit();
        while !self.posts.is_empty() {
            for post in std::mem::take(&mut self.posts) {
                for _ in 0..times {
                    self.driver.post(post.clone(), NOW).expect("memory");
                    self.run();
                }
            }
            self.commit();
        }
    }

    #[track_caller]
    fn check(&self, ticket: Ticket, expected: &str) {
        let told = match self.reply(ticket) {
            None => "nothing".to_owned(),
            Some(Reply::Done) => "done".to_owned(),
            Some(Reply::Refused(e)) => e.code().to_owned(),
            Some(other) => format!("{other:?}"),
        };
        assert_eq!(told, expected);
    }

    fn output(&self, id: ExecutionId) -> String {
        let found = read_execution(&self.memory, id).expect("it is there");
        match (found.output, found.failure) {
            (Some(output), _) => output.text().to_owned(),
            (_, failure) => format!("{failure:?}"),
        }
    }

    fn outbox(&self) -> usize {
        let rows = self.memory.snapshot();
        let rows = rows.rows();
        rows.filter(|(key, _)| matches!(key, Key::Outbox { .. }))
            .count()
    }
}

#[test]
fn a_sender_hears_when_it_is_durable_and_a_crash_before_that_leaves_nothing() {
    let mut world = takers();
    let id = world.begin("takes", None, "[1, 2]");
    world.commit();
    assert_eq!(world.driver.metrics().hot, 0, "whoever waits sleeps");
    let lost = world.signal(id, "\"lost\"", None);
    world.check(lost, "nothing");
    world.crash();
    let kept = world.signal(id, "\"kept\"", None);
    world.check(kept, "nothing");
    world.commit();
    world.check(kept, "done");
    world.crash();
    world.signal(id, "\"second\"", None);
    world.commit();
    assert_eq!(world.output(id), r#"["kept","second"]"#);
}

#[test]
fn what_comes_early_is_kept_in_order_over_checkpoints_and_crashes() {
    let mut world = takers();
    let id = world.begin("takes", None, "[1, 2, 3, 4]");
    for n in 0..50 {
        // Bytes that lead to checkpoints.
        world.signal_of("other", id, &format!("\"{n} {}\"", "x".repeat(100)), None);
        world.commit();
    }
    for n in 0..4 {
        world.crash();
        world.signal(id, &n.to_string(), None);
        world.commit();
    }
    assert_eq!(world.output(id), "[0,1,2,3]");
    let late = world.signal(id, "4", None);
    world.commit();
    world.check(late, "RUN0011");
}

#[test]
fn a_key_is_for_one_signal_for_ever() {
    let mut world = takers();
    let id = world.begin("takes", None, "[1, 2]");
    let (first, again) = (
        world.signal(id, "1", Some("k")),
        world.signal(id, "1", Some("k")),
    );
    world.check(again, "nothing");
    world.commit();
    world.check(first, "done");
    world.check(again, "done");
    let other = world.signal(id, "2", Some("k"));
    world.commit();
    world.check(other, "RUN0031");
    world.crash();
    let again = world.signal(id, "1", Some("k"));
    world.check(again, "done");
    world.signal(id, "2", Some("l"));
    world.commit();
    assert_eq!(world.output(id), "[1,2]");
    world.crash();
    let ended = world.signal(id, "2", Some("l"));
    let late = world.signal(id, "3", Some("m"));
    world.check(ended, "done");
    world.check(late, "RUN0011");
    let log = read_log(&world.memory, id, 0).expect("memory");
    let came = log
        .iter()
        .filter(|l| format!("{l:?}").contains("Signalled"));
    assert_eq!(came.count(), 2);
}

#[test]
fn refusals_have_names() {
    let mut world = takers();
    let nobody = ExecutionId::new(NOW, ShardId(9), 77);
    let ticket = world.signal(nobody, "1", None);
    world.check(ticket, "RUN0001");
    let express = world.begin("express", None, "{}");
    let ticket = world.signal(express, "1", None);
    world.commit();
    world.check(ticket, "RUN0032");
    let id = world.begin("takes", None, "[1, 2]");
    for n in 0..SIGNALS_MAX {
        let ticket = world.signal_of("other", id, &n.to_string(), None);
        world.commit();
        world.check(ticket, "done");
    }
    let ticket = world.signal_of("other", id, "1", None);
    world.commit();
    world.check(ticket, "RUN0030");
    // Somebody waits for this one.
    let ticket = world.signal(id, "1", None);
    world.commit();
    world.check(ticket, "done");
    let id = world.begin("takes", None, "[1]");
    let large = format!("\"{}\"", "x".repeat(SIGNAL_BYTES_MAX - 2));
    for _ in 0..SIGNALS_BYTES_MAX / SIGNAL_BYTES_MAX {
        let ticket = world.signal_of("other", id, &large, None);
        world.commit();
        world.check(ticket, "done");
    }
    let ticket = world.signal_of("other", id, "1", None);
    world.commit();
    world.check(ticket, "RUN0030");
    world.driver.set_disk(Some((1, 2)));
    let ticket = world.signal(id, "1", None);
    world.check(ticket, "RUN0006");
    world.driver.set_disk(None);
    world.driver.stop();
    let ticket = world.signal(id, "1", None);
    world.check(ticket, "RUN0007");
}

#[test]
fn an_execution_signals_another_once_whatever_comes_twice_or_is_lost() {
    for times in 1..4 {
        let mut world = takers();
        let id = world.begin("takes", Some("t"), "[1, 2]");
        let one = world.begin("named", None, r#"{"name": "t", "data": 1}"#);
        world.commit();
        // Its parcel is lost with the process, and sent again from its row.
        world.crash();
        assert!(!world.posts.is_empty());
        world.deliver(times);
        // Its receipt is lost: the parcel comes again, perhaps after the receiver has ended.
        let two = world.begin("named", None, r#"{"name": "t", "data": 2}"#);
        world.commit();
        for post in std::mem::take(&mut world.posts) {
            world.driver.post(post, NOW).expect("memory");
            world.run();
        }
        world.commit();
        assert_eq!(world.output(id), "[1,2]");
        world.crash();
        world.deliver(times);
        let told = format!(r#"{{"Execution":"{id}","Name":"go"}}"#);
        assert_eq!(world.output(one), told);
        assert_eq!(world.output(two), told);
        let late = world.begin("named", None, r#"{"name": "t", "data": 3}"#);
        let nobody = world.begin("named", None, r#"{"name": "nobody", "data": 3}"#);
        world.deliver(times);
        assert_eq!(world.output(late), "\"ended\"");
        assert_eq!(world.output(nobody), "\"none\"");
        let own = world.begin("own", None, "{}");
        world.deliver(times);
        assert_eq!(world.output(own), "\"from myself\"");
        assert_eq!(world.outbox(), 0);
    }
}

/// Sends one to the execution of its input, and says when it was refused.
const BY_ID: &str = r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "signal:send",
    "Parameters": {"Execution.$": "$.id", "Name": "go", "Data": 1},
    "Catch": [{"ErrorEquals": ["Stepwell.NotGranted"], "Next": "Refused"}], "End": true},
    "Refused": {"Type": "Pass", "Result": "refused", "End": true}}}"#;

#[test]
fn a_signal_reaches_executions_of_the_flows_that_the_senders_manifest_names() {
    let bound = |granted: &str| {
        let mut program = compiled(BY_ID);
        let grants = stepwell_types::Grants {
            flows: vec![granted.into()],
            ..Default::default()
        };
        program.grants.flow = Some(grants.into());
        program
    };
    let flows = flows([
        ("takes", compiled(TAKES)),
        ("within", bound("takes")),
        ("beyond", bound("within")),
    ]);
    let mut world = World::new(flows, options());
    let taker = world.begin("takes", None, "[1]");
    world.commit();
    let input = format!(r#"{{"id": "{taker}"}}"#);
    let refused = world.begin("beyond", None, &input);
    world.commit();
    // The parcel comes again after a crash, and is judged by the same list.
    world.crash();
    world.deliver(2);
    assert_eq!(world.output(refused), "\"refused\"");
    assert_eq!(world.output(taker), "None", "it waits as before");
    let sent = world.begin("within", None, &input);
    world.deliver(2);
    assert!(world.output(sent).contains(&taker.to_string()));
    assert_eq!(world.output(taker), "[1]");
    assert_eq!(world.outbox(), 0);
}
