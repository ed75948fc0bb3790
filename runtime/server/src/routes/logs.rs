//! What the steps of an execution have logged.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use stepwell_types::ExecutionId;

use crate::app::{Api, Names};
use crate::params::{Params, id};
use crate::problem::Problem;
use crate::wire;

/// Pages through the lines that an execution's steps have logged, oldest first.
///
/// A step's lines come when its attempt has ended; standard error of a program in a container or on a
/// machine line by line while it runs.
#[utoipa::path(
    get,
    operation_id = "list_logs",
    path = "/v1/executions/{id}/logs",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("state" = Option<String>, Query, description = "Only this state's"),
        ("after" = Option<u64>, Query, description = "Number of the line after which to begin; 0 when absent"),
        ("limit" = Option<u32>, Query, description = "Lines of the page, 1 to 1,000; 100 when absent")
    ),
    responses(
        (status = 200, description = "One page", body = wire::log::LogPage),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`, `RUN0020`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn logs(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["state", "after", "limit"])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let after = params.number("after", 0, u64::MAX)?.unwrap_or(0);
    let state = params.get("state")?.map(Arc::from);
    let limit = params.limit()?;
    let page = api.orchestrator.logs(id, state, after, limit).await?;
    Ok(wire::json(StatusCode::OK, &wire::log::LogPage::from(page)))
}
