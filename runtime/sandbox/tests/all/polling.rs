//! What a driver counts on: quick polls, any waker, any thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use stepwell_sandbox::Limits;
use stepwell_types::StepOutcome;

use crate::harness::{guest, request, sandbox, wait};

type Running = Pin<Box<dyn Future<Output = StepOutcome> + Send>>;

fn poll_once(future: &mut Running) -> Poll<StepOutcome> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_warm_step_ends_in_its_first_poll_outside_of_any_runtime() {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&guest("json-step"));
    let step = request(digest, "{\"a\":[1,2,3]}");
    assert!(sandbox.sandbox.is_warm(&step));
    // A tick may fall into any one poll; not into most of them.
    let ready = (0..50)
        .filter(|_| poll_once(&mut sandbox.start(step.clone())).is_ready())
        .count();
    assert!(ready > 25, "{ready} of 50");
}

#[test]
fn a_cold_step_is_pending_first_and_loads_apart() {
    let sandbox = sandbox(Limits::default());
    let digest = sandbox.upload(&guest("echo"));
    let sandbox = sandbox.reopen(Limits::default(), || ());
    let step = request(digest, "1");
    assert!(!sandbox.sandbox.is_warm(&step));
    let mut running = sandbox.start(step.clone());
    assert!(poll_once(&mut running).is_pending());
    let outcome = wait(running);
    assert_eq!(outcome.result.expect("echo").text(), "1");
    assert!(sandbox.sandbox.is_warm(&step));
}

#[test]
fn an_endless_step_lets_its_thread_go_on() {
    let sandbox = sandbox(Limits {
        fuel: u64::MAX >> 1,
        ..Limits::default()
    });
    let spin = sandbox.upload(&guest("spin"));
    let echo = sandbox.upload(&guest("echo"));
    let mut endless = sandbox.start(request(spin, "0"));
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for turn in 0..100 {
        let poll = Instant::now();
        assert!(poll_once(&mut endless).is_pending());
        longest = longest.max(poll.elapsed());
        // On the same thread, between two slices of the endless one.
        let outcome = sandbox.run(echo, &turn.to_string());
        assert_eq!(outcome.result.expect("echo").text(), turn.to_string());
    }
    let all = began.elapsed();
    // Generous for a busy machine: the point is that a slice is bounded at all.
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(all < Duration::from_secs(20), "{all:?}");
    drop(endless);
    assert_eq!(sandbox.run(echo, "1").result.expect("echo").text(), "1");
}

#[test]
fn more_steps_than_slots_wait_their_turn() {
    let sandbox = sandbox(Limits {
        fuel: u64::MAX >> 1,
        ..Limits::default()
    });
    let spin = sandbox.upload(&guest("spin"));
    let echo = sandbox.upload(&guest("echo"));
    let mut endless: Vec<Running> = (0..8).map(|_| sandbox.start(request(spin, "0"))).collect();
    for running in &mut endless {
        assert!(poll_once(running).is_pending());
    }
    let mut waiting = sandbox.start(request(echo, "5"));
    assert!(poll_once(&mut waiting).is_pending());
    endless.pop();
    assert_eq!(wait(waiting).result.expect("echo").text(), "5");
}

#[test]
fn a_pending_step_goes_on_in_another_thread() {
    let sandbox = sandbox(Limits::default());
    let burn = sandbox.upload(&guest("burn"));
    let mut running = sandbox.start(request(burn, "30000000"));
    assert!(poll_once(&mut running).is_pending());
    let outcome = std::thread::spawn(move || wait(running))
        .join()
        .expect("thread");
    assert_eq!(outcome.result.expect("burn").text(), "449999985000000");
}
