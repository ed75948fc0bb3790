//! Turns as they are taken: many who ask, some who give up, and time that passes at least.

use std::sync::atomic::{AtomicUsize, Ordering};

use stepwell_types::{BridgeAnswer, BridgeCall, Circuit, ExecutionId, ShardId, WaitReason};

use super::*;
use crate::gate::{Boxed, Verdict};
use crate::journal::attempt_for_tests;

/// A gate that counts who waits.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Gate for Counts {
    fn admit(&self, _: BridgeCall) -> Boxed<'static, Verdict> {
        Box::pin(std::future::ready(Verdict::Go))
    }

    fn answered(&self, _: BridgeAnswer) {}

    fn waits(&self, _: AttemptId) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn asker(gate: &Arc<Counts>, number: u128, flow: &str) -> Asker {
    let request = StepRequest {
        execution: ExecutionId::new(Timestamp(1), ShardId(0), number),
        flow: flow.into(),
        ..attempt_for_tests()
    };
    Asker::new(gate.clone(), Arc::new(request))
}

fn limiter(limit: Limit, change: impl FnOnce(&mut LimitOptions)) -> Limiter {
    let mut options = LimitOptions::default();
    options.hosts.base = limit;
    options.failures_max = 2;
    options.open_ms = 50;
    change(&mut options);
    Limiter::new(options, Arc::new(|| Timestamp(1_000)))
}

fn host(name: &str) -> TargetName {
    TargetName::new(TargetKind::Host, name)
}

fn at_once(most: u32) -> Limit {
    Limit {
        concurrency: Some(most),
        ..Limit::default()
    }
}

fn status(limiter: &Limiter, target: &TargetName) -> TargetStatus {
    let all = limiter.targets();
    all.into_iter()
        .find(|t| t.target == *target)
        .expect("a target")
}

#[tokio::test]
async fn who_waits_is_seen_and_goes_in_turn() {
    let limiter = limiter(at_once(1), |_| {});
    let gate = Arc::new(Counts::default());
    let target = host("a.example");
    let first = limiter.turn(&target, &asker(&gate, 0, "f")).await;
    let first = first.expect("free");
    assert_eq!(gate.0.load(Ordering::Relaxed), 0, "it did not wait");
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (number, flow) in [(1, "f"), (2, "f"), (3, "f"), (4, "g")] {
        let (limiter, target) = (limiter.clone(), target.clone());
        let (asker, order) = (asker(&gate, number, flow), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let permit = limiter.turn(&target, &asker).await.expect("a turn");
            order.lock().push(number);
            drop(permit);
        }));
        tokio::task::yield_now().await;
    }
    let waiting = limiter.waiting(ExecutionId::new(Timestamp(1), ShardId(0), 3));
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].reason, WaitReason::Concurrency);
    assert_eq!(
        waiting[0].to_string(),
        "concurrency limit of host a.example"
    );
    assert_eq!(waiting[0].since, Timestamp(1_000));
    let seen = status(&limiter, &target);
    assert_eq!((seen.under_way, seen.waiting), (1, 4));
    assert_eq!(gate.0.load(Ordering::Relaxed), 4);
    // One gives up: nobody behind it is forgotten.
    tasks.remove(0).abort();
    tokio::task::yield_now().await;
    drop(first);
    for task in tasks {
        task.await.expect("done");
    }
    assert_eq!(*order.lock(), [2, 4, 3]);
    let seen = status(&limiter, &target);
    assert_eq!((seen.under_way, seen.waiting, seen.calls), (0, 0, 4));
    let all = status(&limiter, &TargetName::all(TargetKind::Host));
    assert_eq!((all.under_way, all.calls), (0, 4));
}

#[tokio::test]
async fn who_waited_before_a_death_goes_first_and_in_that_order() {
    let limiter = limiter(at_once(1), |_| {});
    let gate = Arc::new(Counts::default());
    let target = host("a.example");
    let first = limiter.turn(&target, &asker(&gate, 0, "f")).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    // As they are read back; the third was never here before.
    for (number, entered) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(20))] {
        let mut asker = asker(&gate, number, "f");
        asker.request = Arc::new(StepRequest {
            entered: entered.map(Timestamp),
            ..(*asker.request).clone()
        });
        let (limiter, target, order) = (limiter.clone(), target.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let permit = limiter.turn(&target, &asker).await.expect("a turn");
            order.lock().push(number);
            drop(permit);
        }));
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&limiter, &target).waiting, 4);
    drop(first.expect("free"));
    for task in tasks {
        task.await.expect("done");
    }
    assert_eq!(*order.lock(), [2, 4, 1, 3]);
}

#[tokio::test]
async fn all_of_a_kind_together_have_a_limit() {
    let limiter = limiter(at_once(5), |options| options.hosts.total = 2);
    let gate = Arc::new(Counts::default());
    let one = limiter.turn(&host("a"), &asker(&gate, 1, "f")).await;
    let two = limiter.turn(&host("b"), &asker(&gate, 2, "f")).await;
    let (target, third) = (host("c"), asker(&gate, 3, "f"));
    let mut waits = Box::pin(limiter.turn(&target, &third));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let seen = limiter.waiting(third.by().execution);
    assert_eq!(seen[0].to_string(), "concurrency limit of all hosts");
    drop(one);
    waits.await.expect("a turn");
    drop(two);
}

#[tokio::test]
async fn a_rate_holds_over_time() {
    let limit = Limit {
        concurrency: Some(0),
        per_second: Some(100.0),
        burst: Some(1),
    };
    let limiter = limiter(limit, |_| {});
    let gate = Arc::new(Counts::default());
    let began = Instant::now();
    for number in 0..5 {
        let asker = asker(&gate, number, "f");
        drop(limiter.turn(&host("a"), &asker).await.expect("a turn"));
    }
    let took = began.elapsed();
    assert!(took.as_millis() >= 40, "{took:?}");
}

#[tokio::test]
async fn retry_after_holds_every_call() {
    let limiter = limiter(at_once(9), |options| options.retry_after_ms_max = 50);
    let gate = Arc::new(Counts::default());
    let target = host("a");
    let mut permit = limiter
        .turn(&target, &asker(&gate, 0, "f"))
        .await
        .expect("a turn");
    let headers = HeaderMap::from_iter([(
        http::header::RETRY_AFTER,
        http::HeaderValue::from_static("7"),
    )]);
    permit.answered(StatusCode::TOO_MANY_REQUESTS, &headers);
    drop(permit);
    let began = Instant::now();
    let (mine, other) = (asker(&gate, 1, "f"), host("b"));
    let mut waits = Box::pin(limiter.turn(&target, &mine));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(
        limiter.waiting(mine.by().execution)[0].to_string(),
        "Retry-After of host a"
    );
    let until = status(&limiter, &target).paused_until.expect("a pause");
    assert!((1_000..=1_050).contains(&until.0), "{until:?}");
    // Nobody else waits for it.
    limiter.turn(&other, &mine).await.expect("a turn");
    waits.await.expect("a turn");
    assert!(began.elapsed().as_millis() >= 49);
}

#[tokio::test]
async fn an_open_circuit_fails_who_waits_and_closes_again() {
    let limiter = limiter(at_once(2), |_| {});
    let gate = Arc::new(Counts::default());
    let target = host("a");
    let turn = |number| {
        let (limiter, target) = (limiter.clone(), target.clone());
        let asker = asker(&gate, number, "f");
        async move { limiter.turn(&target, &asker).await }
    };
    let (mut one, mut two) = (turn(1).await.expect("one"), turn(2).await.expect("two"));
    let waits = tokio::spawn(turn(3));
    tokio::task::yield_now().await;
    one.failed(&Failure::new("States.Http.Socket", ""));
    two.failed(&Failure::new("States.Http.Socket", ""));
    let refused = waits.await.expect("no panic").err().expect("refused");
    assert_eq!(&*refused.error, "Stepwell.CircuitOpen");
    assert!(refused.cause.contains("host a"), "{}", refused.cause);
    drop((one, two));
    let refused = turn(4).await.err().expect("refused");
    assert_eq!(&*refused.error, "Stepwell.CircuitOpen");
    let seen = status(&limiter, &target);
    assert_eq!(
        (seen.circuit, seen.failed, seen.refused),
        (Circuit::Open, 2, 2)
    );
    let until = seen.open_until.expect("a time");
    assert!((1_000..=1_050).contains(&until.0), "{until:?}");
    tokio::time::sleep(Duration::from_millis(51)).await;
    let mut probe = turn(5).await.expect("one is tried");
    assert!(turn(6).await.is_err(), "and no second");
    probe.answered(StatusCode::OK, &HeaderMap::new());
    turn(7).await.expect("closed again");
    assert_eq!(status(&limiter, &target).circuit, Circuit::Closed);
}

#[tokio::test]
async fn what_counts_as_a_failure() {
    let limiter = limiter(at_once(9), |options| options.failures_max = 1);
    let gate = Arc::new(Counts::default());
    let after = HeaderMap::from_iter([(
        http::header::RETRY_AFTER,
        http::HeaderValue::from_static("0"),
    )]);
    let none = HeaderMap::new();
    let check = async |name: &str, tell: &dyn Fn(&mut Permit), circuit: Circuit| {
        let target = host(name);
        let permit = limiter.turn(&target, &asker(&gate, 1, "f")).await;
        tell(&mut permit.expect("a turn"));
        assert_eq!(status(&limiter, &target).circuit, circuit, "{name}");
    };
    for code in [200, 302, 404, 429, 501] {
        let code = StatusCode::from_u16(code).expect("a status");
        check(code.as_str(), &|p| p.answered(code, &none), Circuit::Closed).await;
    }
    for code in [500, 502, 503, 504] {
        let code = StatusCode::from_u16(code).expect("a status");
        check(code.as_str(), &|p| p.answered(code, &none), Circuit::Open).await;
    }
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    check("busy", &|p| p.answered(busy, &after), Circuit::Closed).await;
    let denied = Failure::new("Stepwell.HttpDenied", "");
    check("denied", &|p| p.failed(&denied), Circuit::Closed).await;
    let (short, long) = (Duration::from_millis(999), Duration::from_secs(1));
    check("hasty", &|p| p.timed_out(short), Circuit::Closed).await;
    check("patient", &|p| p.timed_out(long), Circuit::Open).await;
    check("dropped", &|_| {}, Circuit::Closed).await;
}

#[tokio::test]
async fn what_is_refused_at_the_last_moment_is_no_call() {
    let limiter = limiter(at_once(5), |options| options.hosts.total = 5);
    let gate = Arc::new(Counts::default());
    let target = host("10.0.0.5");
    for (error, calls) in [("Stepwell.HttpDenied", 0), ("States.Http.Socket", 1)] {
        let asker = asker(&gate, 1, "f");
        let mut permit = limiter.turn(&target, &asker).await.expect("a turn");
        permit.failed(&Failure::new(error, ""));
        drop(permit);
        for name in [&target, &TargetName::all(TargetKind::Host)] {
            let seen = status(&limiter, name);
            assert_eq!((seen.calls, seen.under_way), (calls, 0), "{error} {name}");
        }
    }
}

#[tokio::test]
async fn a_queue_has_an_end() {
    let limiter = limiter(at_once(1), |options| options.waiting_max = 1);
    let gate = Arc::new(Counts::default());
    let target = host("a");
    let askers: Vec<_> = (0..3).map(|n| asker(&gate, n, "f")).collect();
    let held = limiter.turn(&target, &askers[0]).await.expect("a turn");
    let mut waits = Box::pin(limiter.turn(&target, &askers[1]));
    assert!(futures_util::poll!(&mut waits).is_pending());
    let refused = limiter.turn(&target, &askers[2]).await.err();
    assert_eq!(&*refused.expect("refused").error, "Stepwell.TooManyWaiting");
    drop(held);
    waits.await.expect("a turn");
}

#[tokio::test]
async fn what_runs_already_waits_for_nothing_and_counts() {
    let limiter = limiter(at_once(1), |_| {});
    let gate = Arc::new(Counts::default());
    let target = host("a");
    let (one, two) = (limiter.resume(&target), limiter.resume(&target));
    assert_eq!(status(&limiter, &target).under_way, 2);
    let mine = asker(&gate, 1, "f");
    let mut waits = Box::pin(limiter.turn(&target, &mine));
    drop(one);
    assert!(futures_util::poll!(&mut waits).is_pending());
    drop(two);
    waits.await.expect("a turn");
}

#[tokio::test]
async fn names_without_end_take_no_memory_without_end() {
    let limiter = limiter(at_once(1), |options| options.failures_max = 1);
    let gate = Arc::new(Counts::default());
    let mine = asker(&gate, 1, "f");
    let held = limiter.turn(&host("held"), &mine).await.expect("a turn");
    for number in 0..3 * TARGETS_MAX {
        let target = host(&format!("x{number}"));
        let mut permit = limiter.turn(&target, &mine).await.expect("a turn");
        permit.failed(&Failure::new("States.Http.Socket", ""));
    }
    assert!(limiter.targets().len() <= TARGETS_MAX);
    assert_eq!(status(&limiter, &host("held")).under_way, 1);
    drop(held);
}

#[tokio::test]
async fn no_host_that_somebody_names_is_all_hosts() {
    let limiter = limiter(at_once(1), |options| options.retry_after_ms_max = 3_600_000);
    let gate = Arc::new(Counts::default());
    let star = super::host(&url::Url::parse("http://*/").expect("a URL"));
    let mine = asker(&gate, 1, "f");
    let mut permit = limiter.turn(&star, &mine).await.expect("a turn");
    let headers = HeaderMap::from_iter([(
        http::header::RETRY_AFTER,
        http::HeaderValue::from_static("3600"),
    )]);
    permit.answered(StatusCode::TOO_MANY_REQUESTS, &headers);
    drop(permit);
    let other = host("a");
    let mut goes = Box::pin(limiter.turn(&other, &mine));
    assert!(futures_util::poll!(&mut goes).is_ready());
}

#[tokio::test]
async fn a_further_turn_within_a_call_says_nothing_to_the_gate() {
    let limiter = limiter(at_once(1), |_| {});
    let gate = Arc::new(Counts::default());
    let (target, mine) = (host("a"), asker(&gate, 1, "f"));
    let held = limiter.turn(&target, &mine).await.expect("a turn");
    let mut waits = Box::pin(limiter.further(&target, &mine));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(gate.0.load(Ordering::Relaxed), 0);
    drop(held);
    waits.await.expect("a turn");
}

#[tokio::test]
async fn a_flow_that_fills_a_queue_makes_room_for_others() {
    let limiter = limiter(at_once(1), |options| options.waiting_max = 3);
    let gate = Arc::new(Counts::default());
    let target = host("a");
    let held = limiter.turn(&target, &asker(&gate, 0, "greedy")).await;
    let greedy: Vec<_> = (1..4).map(|n| asker(&gate, n, "greedy")).collect();
    let mut waiting: Vec<_> = greedy
        .iter()
        .map(|asker| Box::pin(limiter.turn(&target, asker)))
        .collect();
    for one in &mut waiting {
        assert!(futures_util::poll!(one).is_pending());
    }
    let modest = asker(&gate, 9, "modest");
    let mut comes = Box::pin(limiter.turn(&target, &modest));
    assert!(futures_util::poll!(&mut comes).is_pending());
    let last = waiting.pop().expect("three wait");
    let refused = last.await.err().expect("it gave way");
    assert_eq!(&*refused.error, "Stepwell.TooManyWaiting");
    drop(held);
    // In turn: one of the others' first.
    drop(waiting.remove(0).await);
    comes.await.expect("a turn");
}

#[tokio::test]
async fn limits_outlive_names_without_end() {
    let limit = Limit {
        per_second: Some(0.001),
        burst: Some(1),
        ..Limit::default()
    };
    let limiter = limiter(at_once(1), |options| {
        options.hosts.by_name = [("slow".to_owned(), limit)].into();
    });
    let gate = Arc::new(Counts::default());
    let mine = asker(&gate, 1, "f");
    drop(limiter.turn(&host("slow"), &mine).await.expect("a turn"));
    for number in 0..2 * TARGETS_MAX {
        let target = host(&format!("x{number}"));
        drop(limiter.turn(&target, &mine).await.expect("a turn"));
    }
    let slow = host("slow");
    let mut waits = Box::pin(limiter.turn(&slow, &mine));
    assert!(futures_util::poll!(&mut waits).is_pending());
}
