//! Answers of outside programs, by task token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use stepwell_types::TaskToken;

use crate::app::{Api, Names};
use crate::params::{Id, Params, id};
use crate::problem::Problem;
use crate::wire::{self, execution};

/// Ends a waiting task well.
///
/// The body is its output (JSON; empty means `{}`). The same answer again is fine;
/// another one is refused.
#[utoipa::path(
    post,
    operation_id = "succeed_task",
    path = "/v1/tasks/{token}/succeed",
    tag = "tasks",
    params(("token" = String, Path, description = "The task token")),
    request_body(content = Option<serde_json::Value>, description = "The output; may be empty", content_type = "application/json"),
    responses(
        (status = 204, description = "Taken, and durable"),
        (status = 400, description = "`API0005`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0009`: no such token, or of an older attempt", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0010`: the task has ended otherwise", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the output is above 32 MiB", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn succeed(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let token = read(&request, &text)?;
    let body = super::payload(&api, request).await?;
    let output = crate::body::data(body).await?;
    api.orchestrator.token_succeed(token, output).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends a waiting task with a failure, which the flow may retry or catch.
#[utoipa::path(
    post,
    operation_id = "fail_task",
    path = "/v1/tasks/{token}/fail",
    tag = "tasks",
    params(("token" = String, Path, description = "The task token")),
    request_body(content = Option<execution::Ending>, description = "Error and cause; `States.TaskFailed` when there is no error"),
    responses(
        (status = 204, description = "Taken, and durable"),
        (status = 400, description = "`API0005`, `API0008`, `API0015`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0009`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0010`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn fail(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let token = read(&request, &text)?;
    let body = super::sized(&api, request, super::SHAPE_BYTES_MAX).await?;
    let failure = super::failure(crate::body::shape(&body)?, "States.TaskFailed")?;
    api.orchestrator.token_fail(token, failure).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Says that the outside program is still at work, which restarts `HeartbeatSeconds`.
#[utoipa::path(
    post,
    operation_id = "heartbeat_task",
    path = "/v1/tasks/{token}/heartbeat",
    tag = "tasks",
    params(("token" = String, Path, description = "The task token")),
    responses(
        (status = 204, description = "Noted"),
        (status = 400, description = "`API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0009`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0010`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn heartbeat(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let token = read(&request, &text)?;
    api.orchestrator.token_heartbeat(token).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn read(request: &Request, text: &str) -> Result<TaskToken, Problem> {
    Params::read(request.uri(), &[])?;
    // The text itself is not repeated in the refusal: it may be most of a real token.
    id("task token", text).map_err(|mut p: Problem| {
        p.detail = format!("this is not a task token: {}", <TaskToken as Id>::FORM);
        p
    })
}
