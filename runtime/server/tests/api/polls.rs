//! Workers that poll, and callers that have no patience.

use std::task::Poll;
use std::time::Duration;

use serde_json::json;

use super::{House, PASS, block, house, read, request};

const PRINT: &str = "StartAt: A\nStates:\n  A: {Type: Task, Resource: activity:print, End: true}\n";
const POLL: &str = "/v1/activities/print/poll";

fn printing(count: usize) -> House {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/print", PRINT, 201, "");
    for _ in 0..count {
        h.check("POST", "/v1/flows/print/executions", "{}", 202, "");
    }
    h
}

/// Whoever hangs up while a task is on its way has not taken it.
#[test]
fn a_task_that_nobody_was_told_of_goes_to_the_next_worker() {
    const TASKS: usize = 20;
    let h = printing(TASKS);
    block(async {
        for turn in 0..TASKS {
            let mut first = Box::pin(h.send(request("POST", &format!("{POLL}?wait=9"), "")));
            let answer = match futures_util::poll!(&mut first) {
                // So quick that it was told.
                Poll::Ready(answer) => answer,
                Poll::Pending => {
                    // Gone before the answer; in every other turn with it at the door.
                    std::thread::sleep(Duration::from_millis(turn as u64 % 2 * 5));
                    drop(first);
                    h.send(request("POST", &format!("{POLL}?wait=10"), ""))
                        .await
                }
            };
            let (status, task) = read(answer).await;
            assert_eq!(status, 200, "task {turn}: {task}");
            let token = task["token"].as_str().unwrap().to_owned();
            let done = h
                .ask("POST", &format!("/v1/tasks/{token}/succeed"), "1")
                .await;
            assert_eq!(done.0, 204, "{done:?}");
        }
        let (_, list) = h.ask("GET", "/v1/executions?status=SUCCEEDED", "").await;
        assert_eq!(list["executions"].as_array().unwrap().len(), TASKS);
    });
}

#[test]
fn no_patience_takes_what_is_there() {
    let h = printing(1);
    h.check("POST", &format!("{POLL}?wait=0"), "", 200, "token");
    h.check("POST", &format!("{POLL}?wait=0"), "", 204, "");
}

#[test]
fn a_stop_lets_go_of_who_polls() {
    let h = printing(0);
    let long = format!("{POLL}?wait=600");
    let (status, problem) = block(async {
        let polling = h.ask("POST", &long, "");
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            h.orchestrator.close();
        };
        tokio::join!(polling, stopping).0
    });
    assert_eq!((status, &problem["code"]), (503, &json!("RUN0007")));
    h.check("POST", POLL, "", 503, "RUN0007");
}

/// A start without patience is answered when it is durable, as one without `wait` is.
#[test]
fn a_start_that_waits_for_nothing_was_accepted() {
    let h = house(|_| {});
    h.check("PUT", "/v1/flows/pass", PASS, 201, "");
    h.check("PUT", "/v1/flows/print", PRINT, 201, "");
    let start = "/v1/flows/print/executions?wait=0";
    for _ in 0..20 {
        h.check("POST", start, "{}", 202, r#""status":"RUNNING""#);
    }
    let (status, ended) = block(h.ask("POST", "/v1/flows/pass/executions?wait=0", "{}"));
    assert!(matches!(status, 200 | 202), "{status} {ended}");
    let (_, first) = block(h.ask("POST", &format!("{start}&name=a"), "1"));
    let (status, again) = block(h.ask("POST", &format!("{start}&name=a"), "1"));
    assert_eq!((status, &again["id"]), (202, &first["id"]));
    h.check("POST", &format!("{start}&name=a"), "2", 409, "RUN0004");
}
