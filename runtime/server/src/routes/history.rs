//! What happened in an execution, page by page and live, and what it waits for.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, future, stream};
use stepwell_orchestrator::api::{HistoryLine, Status};
use stepwell_types::ExecutionId;

use crate::Error;
use crate::app::{Api, Names};
use crate::params::{Params, id};
use crate::problem::Problem;
use crate::wire::{self, execution, task};

/// Pages through an execution's history, oldest first.
#[utoipa::path(
    get,
    operation_id = "read_history",
    path = "/v1/executions/{id}/history",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("after" = Option<u64>, Query, description = "Event id after which to begin; 0 when absent"),
        ("limit" = Option<u32>, Query, description = "Events of the page, 1 to 1,000; 100 when absent")
    ),
    responses(
        (status = 200, description = "One page", body = execution::HistoryPage),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn history(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["after", "limit"])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let after = params.number("after", 0, u64::MAX)?.unwrap_or(0);
    let page = api.orchestrator.history(id, after, params.limit()?).await?;
    let bytes = page.items.iter().map(|l| l.json.len_bytes()).sum();
    let text = crate::body::over(bytes, move || execution::history(&page)).await?;
    Ok(wire::ready(StatusCode::OK, text))
}

/// Follows an execution's history live, by server-sent events.
///
/// Each event's `id` is the history event's id and its `data` the history event.
/// A last event named `end` has `{"status"}` in its data; an event named `error` a
/// problem. After a broken connection, `Last-Event-ID` goes on where it broke off.
#[utoipa::path(
    get,
    operation_id = "follow_events",
    path = "/v1/executions/{id}/events",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("after" = Option<u64>, Query, description = "Event id after which to begin; 0 when absent"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, as browsers send it; it wins")
    ),
    responses(
        (status = 200, description = "Events until the execution has ended", content_type = "text/event-stream", body = String),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["after"])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let mut after = params.number("after", 0, u64::MAX)?.unwrap_or(0);
    if let Some(last) = headers.get("last-event-id") {
        let text = last.to_str().unwrap_or("?");
        after = text.parse().map_err(|_| Error::BadId {
            what: "Last-Event-ID",
            form: "it is the `id` of the last event that came, a whole number",
            text: super::cut(text, 64),
        })?;
    }
    // Says 404 as a problem, before the stream begins.
    api.orchestrator.describe(id).await?;
    let tail = tail(Arc::clone(&api), id, after);
    let mut response = Sse::new(tail)
        .keep_alive(KeepAlive::default())
        .into_response();
    // Proxies that buffer would hold the events back.
    response.headers_mut().insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

fn tail(
    api: Arc<Api>,
    id: ExecutionId,
    after: u64,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let stop = api.options.stop.clone().cancelled_owned();
    let lines = api
        .orchestrator
        .follow(id, after)
        .scan(false, |failed, line| {
            // Nothing comes after an error.
            let over = std::mem::replace(failed, line.is_err());
            future::ready((!over).then_some(line))
        })
        .map(|line| match line {
            Ok(line) => line_event(&line),
            Err(e) => {
                let problem = Problem::from(e).to_json("", "");
                Event::default()
                    .event("error")
                    .data(String::from_utf8_lossy(&problem))
            }
        })
        .take_until(stop);
    // Whoever sees no `end` knows to come back: the server stopped, not the execution.
    let end =
        stream::once(async move { api.orchestrator.describe(id).await }).filter_map(|shown| {
            let ended = shown.ok().map(|e| e.status);
            let ended = ended.filter(|status| *status != Status::Running);
            future::ready(ended.map(|s| Event::default().event("end").data(execution::end(s))))
        });
    lines.chain(end).map(Ok)
}

fn line_event(line: &HistoryLine) -> Event {
    let event = Event::default().id(line.id.to_string());
    let text = line.json.text();
    // A line break in JSON text is only ever space between tokens.
    if text.bytes().any(|b| b == b'\r' || b == b'\n') {
        event.data(text.replace(['\r', '\n'], " "))
    } else {
        event.data(text)
    }
}

/// Lists the tasks that wait for their token, with the tokens.
#[utoipa::path(
    get,
    operation_id = "list_tasks",
    path = "/v1/executions/{id}/tasks",
    tag = "tasks",
    params(("id" = String, Path, description = "The execution's id")),
    responses(
        (status = 200, description = "The open tasks", body = task::OpenTasks),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn tasks(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let tasks = api.orchestrator.open_tasks(id).await?;
    Ok(wire::ready(StatusCode::OK, task::open_tasks(&tasks)))
}
