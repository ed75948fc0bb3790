//! Executions: list, look, cancel.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use stepwell_orchestrator::api::ListFilter;
use stepwell_types::ExecutionId;

use crate::Error;
use crate::app::{Api, Names};
use crate::params::{Page, Params, id};
use crate::problem::Problem;
use crate::wire::{self, execution};

/// Lists executions, newest first, without input and output.
#[utoipa::path(
    get,
    operation_id = "list_executions",
    path = "/v1/executions",
    tag = "executions",
    params(
        ("flow" = Option<String>, Query, description = "Only this flow's, without the items of distributed Maps: `parent` lists those"),
        ("status" = Option<execution::Status>, Query, description = "Only in this status"),
        ("parent" = Option<String>, Query, description = "Only those that the execution with this id started"),
        Page
    ),
    responses(
        (status = 200, description = "One page", body = execution::ExecutionPage),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["flow", "status", "parent", "limit", "after"])?;
    let status = match params.get("status")? {
        None => None,
        Some(text) => {
            let known = execution::Status::ALL;
            let found = known.iter().find(|(name, _)| *name == text);
            let (_, status) = found.ok_or_else(|| {
                let names = known.map(|(name, _)| name).join(", ");
                Error::BadQuery(format!("status is one of {names}"))
            })?;
            Some(*status)
        }
    };
    let after = match params.get("after")? {
        None => None,
        Some(text) => Some(id::<ExecutionId>("execution id", text)?),
    };
    let parent = match params.get("parent")? {
        None => None,
        Some(text) => Some(id::<ExecutionId>("execution id", text)?),
    };
    let filter = ListFilter {
        parent,
        flow: params.get("flow")?.map(Arc::from),
        status,
    };
    let page = api
        .orchestrator
        .list(filter, after, params.limit()?)
        .await?;
    Ok(wire::ready(StatusCode::OK, execution::page(&page)))
}

/// Shows one execution, with input and output.
///
/// With `wait` the answer comes when it has ended, or after that many seconds.
#[utoipa::path(
    get,
    operation_id = "describe_execution",
    path = "/v1/executions/{id}",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for the end; 60 when bare; at most 900")
    ),
    responses(
        (status = 200, description = "The execution", body = execution::Execution),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn describe(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["wait"])?;
    show(&api, id("execution id", &text)?, &params).await
}

/// Shows one execution by its name.
#[utoipa::path(
    get,
    operation_id = "describe_execution_by_name",
    path = "/v1/flows/{name}/executions/{execution}",
    tag = "executions",
    params(
        ("name" = String, Path, description = "The flow's name"),
        ("execution" = String, Path, description = "The execution's name"),
        ("wait" = Option<u64>, Query, description = "Seconds to wait for the end; 60 when bare; at most 900")
    ),
    responses(
        (status = 200, description = "The execution", body = execution::Execution),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn by_name(
    State(api): State<Arc<Api>>,
    Names((flow, name)): Names<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["wait"])?;
    show(&api, named(&api, &flow, &name)?, &params).await
}

/// The execution of this name.
pub(super) fn named(api: &Api, flow: &str, name: &str) -> Result<ExecutionId, Problem> {
    let found = api.orchestrator.find(flow, name)?;
    let missing = || {
        let text = format!(
            "{} of flow {}",
            super::cut(name, 128),
            super::cut(flow, 128)
        );
        stepwell_orchestrator::Error::NoExecution(text)
    };
    Ok(found.ok_or_else(missing)?)
}

async fn show(api: &Api, id: ExecutionId, params: &Params) -> Result<Response, Problem> {
    let mut shown = None;
    if let Some(limit) = super::wait(params, api.options.wait_max)? {
        // A stopping server lets go of those who only look.
        shown = tokio::select! {
            ended = api.orchestrator.wait(id, limit) => ended?,
            () = api.options.stop.cancelled() => None,
        };
    }
    let shown = match shown {
        Some(ended) => ended,
        None => api.orchestrator.describe(id).await?,
    };
    Ok(wire::ready(StatusCode::OK, execution::execution(&shown)))
}

/// Ends an execution. It becomes `ABORTED` with the error and cause given.
#[utoipa::path(
    post,
    operation_id = "cancel_execution",
    path = "/v1/executions/{id}/cancel",
    tag = "executions",
    params(("id" = String, Path, description = "The execution's id")),
    request_body(content = Option<execution::Ending>, description = "What to record; may be empty"),
    responses(
        (status = 200, description = "It has ended, or will as soon as its step gives way", body = execution::Execution),
        (status = 400, description = "`API0005`, `API0008`, `API0015`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0011`: it had ended before", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn cancel(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    Params::read(request.uri(), &[])?;
    let id = id::<ExecutionId>("execution id", &text)?;
    let body = super::sized(&api, request, super::SHAPE_BYTES_MAX).await?;
    let failure = super::failure(crate::body::shape(&body)?, "Stepwell.Cancelled")?;
    api.orchestrator.cancel(id, failure).await?;
    let shown = api.orchestrator.describe(id).await?;
    Ok(wire::ready(StatusCode::OK, execution::execution(&shown)))
}
