//! Starting executions: the hot path of the API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use stepwell_types::{ExecutionId, StartRequest};

use crate::Error;
use crate::app::{Api, Names};
use crate::params::Params;
use crate::problem::Problem;
use crate::wire::{self, execution};

/// Starts an execution.
///
/// The body is the input (JSON; empty means `{}`). Answers when the start is durable.
/// With `wait` it answers when the execution has ended, whichever way: look at `status`.
/// A second start of the same `name` and input is the same execution (`new` is false): blanks and the order of keys do not count.
/// An `Idempotency-Key` header is such a name.
#[utoipa::path(
    post,
    operation_id = "start_execution",
    path = "/v1/flows/{name}/executions",
    tag = "executions",
    params(
        ("name" = String, Path, description = "The flow's name"),
        ("name" = Option<String>, Query, description = "The execution's name: 1 to 128 of `A-Z a-z 0-9 . _ -`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The execution's name, as a header; with `name`, both must be equal"),
        ("version" = Option<u32>, Query, description = "The flow's version; the newest when absent"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for the end; 60 when bare; at most 900")
    ),
    request_body(content = Option<serde_json::Value>, description = "The input; may be empty", content_type = "application/json"),
    responses(
        (status = 200, description = "It ended within `wait`", body = execution::Execution),
        (status = 202, description = "It was accepted and is durable. With `wait`: the execution, which still runs, without its input", body = execution::Accepted, headers(("Location" = String, description = "The execution's path"))),
        (status = 400, description = "`API0004`, `API0005`, `API0019`, `API0101`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0002`: no such flow or version", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0004`: the name is taken by an execution with another input", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the input is above 32 MiB", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`RUN0022`: the flow's expressions took too long on this input", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0005`: busy; see `Retry-After`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`: the disk is full; `RUN0007`: the server is stopping", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn start(
    State(api): State<Arc<Api>>,
    Names(flow): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(request.uri(), &["name", "version", "wait"])?;
    let wait = super::wait(&params, api.options.wait_max)?;
    let version = params.version()?;
    let name = name(params.get("name")?, request.headers())?;
    let body = super::payload(&api, request).await?;
    let request = StartRequest {
        flow: Arc::from(flow.as_str()),
        version,
        name,
        input: crate::body::data(body).await?,
    };
    let Some(limit) = wait else {
        let started = api.orchestrator.start(request).await?;
        return Ok(accepted(started.id, execution::started(&flow, &started)));
    };
    match api.orchestrator.start_and_wait(request, limit).await? {
        (_, Some(ended)) => Ok(wire::ready(StatusCode::OK, execution::execution(&ended))),
        (id, None) => still_running(&api, id).await,
    }
}

/// The execution's name: the query's, or the idempotency key.
fn name(given: Option<&str>, headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let keys = headers.get_all(stepwell_trigger::IDEMPOTENCY_KEY);
    let key = stepwell_trigger::execution_name(keys.iter().map(HeaderValue::as_bytes))?;
    match (given, key) {
        (Some(name), Some(key)) if name != &*key => Err(Error::TwoNames {
            name: super::cut(name, 128),
            key: key.to_string(),
        }
        .into()),
        (None, key) => Ok(key),
        (Some(name), _) => Ok(Some(Arc::from(name))),
    }
}

/// 202 with the way to the execution.
pub(super) fn accepted(id: ExecutionId, json: Vec<u8>) -> Response {
    let mut response = wire::ready(StatusCode::ACCEPTED, json);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/executions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// 202 for a caller whose patience ended first.
pub(super) async fn still_running(api: &Api, id: ExecutionId) -> Result<Response, Problem> {
    let mut shown = api.orchestrator.describe(id).await?;
    // The caller has just sent it.
    shown.input = None;
    Ok(accepted(id, execution::execution(&shown)))
}
