//! Journals on the real driver over the memory store: when a call may leave, and what an attempt
//! gets back after a crash.

use stepwell_orchestrator::driver::{Options, Reply, Request, Ticket};
use stepwell_orchestrator::gate::Verdict;
use stepwell_types::{BridgeAnswer, BridgeCall, Data, Digest, ExecutionId, ShardId, StepRequest};

use super::world::{NOW, World, compiled, flows, options, start};

/// Two branches, so that one can go on, and be recorded, while the other calls.
const FLOW: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
    {"StartAt": "Calls", "States": {"Calls": {"Type": "Task", "Resource": "wasm:t", "End": true}}},
    {"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:t", "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:t", "End": true}}}]}}}"#;

/// One execution, with checkpoints from so many bytes of log on.
fn running(floor: usize) -> World {
    let options = Options {
        hot_max: 4,
        checkpoint_bytes_min: floor,
        ..options()
    };
    let mut world = World::new(flows([("f", compiled(FLOW))]), options);
    let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
    let input = Data::from_valid_text("{}");
    world.ask(start("f", None, input, id, false));
    world.commit();
    world
}

impl World {
    fn step(&self, state: &str) -> StepRequest {
        let found = self.steps.iter().find(|s| &*s.state == state);
        found.expect(state).clone()
    }

    fn call(&mut self, number: u32, request: &[u8]) -> Ticket {
        let call = BridgeCall {
            by: self.step("Calls").id(),
            call: number,
            request: Digest::of(request),
            notes: Some(vec![1, u8::try_from(number).expect("small")]),
        };
        self.ask(Request::Gate(call))
    }

    fn answer(&mut self, number: u32, part: Vec<u8>) {
        let answer = BridgeAnswer {
            by: self.step("Calls").id(),
            call: number,
            part,
            notes: None,
        };
        self.driver.call_answered(answer, NOW);
        self.run();
    }

    fn verdict(&self, ticket: Ticket) -> Option<&Verdict> {
        match self.reply(ticket)? {
            Reply::Gate(verdict) => Some(verdict),
            other => panic!("{other:?}"),
        }
    }

    fn succeed(&mut self, state: &str) {
        let step = self.step(state);
        self.steps.retain(|s| s.id() != step.id());
        self.end_with(&step, Ok("1"), Some(vec![9]));
    }

    fn crash_and_commit(&mut self) {
        self.crash();
        self.commit();
    }
}

/// With checkpoints after every commit, and with none.
fn check(test: impl Fn(World)) {
    for floor in [1, usize::MAX] {
        test(running(floor));
    }
}

#[test]
fn a_call_leaves_when_its_intent_is_durable_and_all_before_it() {
    check(|mut world| {
        let first = world.call(0, b"a");
        assert_eq!(world.verdict(first), None);
        world.commit();
        assert_eq!(world.verdict(first), Some(&Verdict::Go));
        world.answer(0, b"answer".to_vec());
        let second = world.call(1, b"b");
        world.commit();
        assert_eq!(world.verdict(second), Some(&Verdict::Go));
        // The first answer lay before the second intent.
        world.crash_and_commit();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts, [b"answer".to_vec()]);
        assert_eq!(recorded.calls[&1].request, Digest::of(b"b"));
        assert!(recorded.calls[&1].parts.is_empty());
        assert_eq!(recorded.notes, [[1, 0], [1, 1]]);
        assert_eq!(world.step("A").recorded, None);
    });
}

#[test]
fn an_attempt_of_an_earlier_life_says_when_its_state_was_entered() {
    check(|mut world| {
        assert_eq!(world.step("Calls").entered, None, "in this life");
        world.now = NOW.plus_ms(1_000);
        world.crash_and_commit();
        assert_eq!(world.step("Calls").entered, Some(NOW));
        world.succeed("A");
        world.commit();
        assert_eq!(world.step("B").entered, None, "in this life");
        world.now = NOW.plus_ms(2_000);
        world.crash_and_commit();
        assert_eq!(world.step("Calls").entered, Some(NOW));
        assert_eq!(world.step("B").entered, Some(NOW.plus_ms(1_000)));
    });
}

#[test]
fn a_journal_outlives_checkpoints_and_crashes_and_ends_with_its_attempt() {
    check(|mut world| {
        world.call(0, b"a");
        world.commit();
        // A large piece is a blob.
        let large = vec![0xff; 100_000];
        world.answer(0, large.clone());
        world.answer(0, b"rest".to_vec());
        world.commit();
        // Another branch goes on: further rows, and checkpoints behind the journal.
        world.succeed("A");
        world.commit();
        world.crash_and_commit();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts, [large.clone(), b"rest".to_vec()]);
        // The next life adds to it.
        let again = world.call(1, b"b");
        world.commit();
        assert_eq!(world.verdict(again), Some(&Verdict::Go));
        world.answer(1, b"more".to_vec());
        world.succeed("B");
        world.commit();
        world.crash_and_commit();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts.len(), 2);
        assert_eq!(recorded.calls[&1].parts, [b"more".to_vec()]);
        world.succeed("Calls");
        world.commit();
        world.crash_and_commit();
        assert!(world.steps.is_empty(), "it has ended");
    });
}

#[test]
fn an_unanswered_call_goes_again_and_another_one_in_its_place_does_not() {
    check(|mut world| {
        world.call(0, b"a");
        world.commit();
        world.crash_and_commit();
        let other = world.call(0, b"b");
        assert_eq!(world.verdict(other), Some(&Verdict::Diverged));
        let same = world.call(0, b"a");
        world.commit();
        assert_eq!(world.verdict(same), Some(&Verdict::Go));
    });
}

#[test]
fn nobody_calls_for_an_attempt_that_has_ended() {
    check(|mut world| {
        let step = world.step("Calls");
        world.succeed("Calls");
        let call = BridgeCall {
            by: step.id(),
            call: 0,
            request: Digest::of(b"a"),
            notes: None,
        };
        let late = world.ask(Request::Gate(call));
        world.commit();
        assert_eq!(world.verdict(late), Some(&Verdict::Stopped));
    });
}
