//! Redrive: an execution that ended without success goes on.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use stepwell_orchestrator::driver::Redrive;
use stepwell_types::ExecutionId;

use crate::app::{Api, Names};
use crate::params::{Params, id};
use crate::problem::Problem;
use crate::wire::{self, execution};

/// Lets an execution go on that failed, timed out or was cancelled, from where it was.
///
/// What succeeded is not done again, in a Parallel or Map neither. The body, if there is one, is
/// the input of the failed state instead of its own. Answers when the redrive is durable.
#[utoipa::path(
    post,
    operation_id = "redrive_execution",
    path = "/v1/executions/{id}/redrive",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("state" = Option<String>, Query, description = "The state that gets the body as its input; the one that failed when absent"),
        ("version" = Option<u32>, Query, description = "Go on with this version of the flow; with the one that it ran when absent")
    ),
    request_body(content = Option<serde_json::Value>, description = "Another input for the failed state; may be empty", content_type = "application/json"),
    responses(
        (status = 202, description = "It goes on, and that is durable", body = execution::Redriven, headers(("Location" = String, description = "The execution's path"))),
        (status = 400, description = "`API0004`, `API0005`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`; `RUN0002`: no such version", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0018`: it runs, or succeeded, or cannot go on", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the input is above 32 MiB", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`RUN0019`: the version does not fit the state to resume in, or the input no state", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0005`: busy; see `Retry-After`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`: the disk is full; `RUN0007`: the server is stopping", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn redrive(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(request.uri(), &["state", "version"])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let (version, state) = (params.version()?, params.get("state")?.map(str::to_owned));
    let body = super::payload(&api, request).await?;
    let input = if body.trim_ascii().is_empty() {
        None
    } else {
        Some(crate::body::data(body).await?)
    };
    let wish = Redrive {
        version,
        state,
        input,
    };
    let redriven = api.orchestrator.redrive(id, wish).await?;
    Ok(super::start::accepted(id, execution::redriven(&redriven)))
}
