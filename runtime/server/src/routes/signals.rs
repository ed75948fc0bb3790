//! Signals: named data for an execution that waits for it, or will.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use stepwell_types::ExecutionId;
use stepwell_types::limits::SIGNAL_BYTES_MAX;

use crate::app::{Api, Names};
use crate::params::{Params, id};
use crate::problem::Problem;
use crate::wire;

/// The name in the path.
const NAME: &str = "The signal's name: 1 to 128 of `A-Z a-z 0-9 . _ -`";
/// The header `Idempotency-Key`.
const KEY: &str =
    "Of this signal to this execution: what comes twice under it is taken once, for ever";
/// The body.
const DATA: &str = "The data, at most 1 MiB; may be empty";

/// Sends an execution a signal.
///
/// The body is its data (JSON; empty means `{}`). It goes to the Task `signal:wait` of this name
/// that began to wait first; without one the execution keeps it until there is one. Answers when
/// that is durable. Sent again under the same `Idempotency-Key` it comes once.
#[utoipa::path(
    post,
    operation_id = "send_signal",
    path = "/v1/executions/{id}/signals/{name}",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("name" = String, Path, description = NAME),
        ("Idempotency-Key" = Option<String>, Header, description = KEY)
    ),
    request_body(content = Option<serde_json::Value>, description = DATA, content_type = "application/json"),
    responses(
        (status = 204, description = "It came, and that is durable"),
        (status = 400, description = "`API0004`, `API0005`, `API0008`, `API0101`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0011`: it has ended; `RUN0017`: it is parked; `RUN0031`: another signal came under the key; `RUN0032`: it is an express execution", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the data is above 1 MiB", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0030`: as many signals wait in it as may; `RUN0005`: busy, see `Retry-After`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`: the disk is full; `RUN0007`: the server is stopping", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn send(
    State(api): State<Arc<Api>>,
    Names((text, name)): Names<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let id = id::<ExecutionId>("execution id", &text)?;
    signal(&api, id, &name, request).await
}

/// Sends a signal to the execution of this name.
#[utoipa::path(
    post,
    operation_id = "send_signal_by_name",
    path = "/v1/flows/{name}/executions/{execution}/signals/{signal}",
    tag = "executions",
    params(
        ("name" = String, Path, description = "The flow's name"),
        ("execution" = String, Path, description = "The execution's name"),
        ("signal" = String, Path, description = NAME),
        ("Idempotency-Key" = Option<String>, Header, description = KEY)
    ),
    request_body(content = Option<serde_json::Value>, description = DATA, content_type = "application/json"),
    responses(
        (status = 204, description = "It came, and that is durable"),
        (status = 400, description = "`API0004`, `API0005`, `API0101`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0011`, `RUN0017`, `RUN0031`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the data is above 1 MiB", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0005`, `RUN0030`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`, `RUN0007`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn send_by_name(
    State(api): State<Arc<Api>>,
    Names((flow, execution, name)): Names<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    Params::read(request.uri(), &[])?;
    let id = super::executions::named(&api, &flow, &execution)?;
    signal(&api, id, &name, request).await
}

async fn signal(
    api: &Api,
    id: ExecutionId,
    name: &str,
    request: Request,
) -> Result<Response, Problem> {
    Params::read(request.uri(), &[])?;
    let keys = request.headers().get_all(stepwell_trigger::IDEMPOTENCY_KEY);
    let key = stepwell_trigger::execution_name(keys.iter().map(HeaderValue::as_bytes))?;
    let body = super::sized(api, request, SIGNAL_BYTES_MAX).await?;
    let data = crate::body::data(body).await?;
    api.orchestrator
        .signal(id, name, data, key.as_deref())
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
