//! Workers poll for the tasks of an activity.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::app::{Api, Names};
use crate::params::Params;
use crate::problem::Problem;
use crate::wire::{self, task};

/// Takes the oldest task of an activity that waits for a worker.
///
/// Waits for one if there is none. Whoever gets it answers with its token: succeed,
/// fail, heartbeat. That the task was taken is durable before it is handed out, so that
/// no two workers get the same; if the worker hangs up before, it goes to the next one. A
/// worker that dies is noticed by `HeartbeatSeconds`.
#[utoipa::path(
    post,
    operation_id = "poll_activity",
    path = "/v1/activities/{name}/poll",
    tag = "tasks",
    params(
        ("name" = String, Path, description = "The activity's name, as flows write it behind `activity:`"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for a task; default 60"),
        ("worker" = Option<String>, Query, description = "How the worker calls itself, for the history; at most 80 characters")
    ),
    responses(
        (status = 200, description = "A task", body = task::ActivityTask),
        (status = 204, description = "None came in time"),
        (status = 400, description = "`API0004`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0007`: the server is stopping", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn poll(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["wait", "worker"])?;
    let max = api.options.wait_max;
    let wait = super::wait(&params, max)?.unwrap_or(super::WAIT.min(max));
    let worker = params.get("worker")?.filter(|w| !w.is_empty());
    let worker = worker.map(|w| Arc::from(super::cut(w, WORKER_CHARS_MAX)));
    let polled = api
        .orchestrator
        .poll_activity(&Arc::from(name), worker.as_ref(), wait)
        .await?;
    Ok(match polled {
        Some(found) => wire::ready(StatusCode::OK, task::activity_task(&found)),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Longest name of a worker, in characters.
const WORKER_CHARS_MAX: usize = 80;
