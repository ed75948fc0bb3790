//! The flows' own endpoints, below `/t`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_trigger::Pattern;
use stepwell_types::ExecutionId;

use crate::Error;
use crate::app::Api;
use crate::problem::Problem;
use crate::wire::{self, execution};

const EXECUTION: HeaderName = HeaderName::from_static("stepwell-execution-id");

/// Starts the flow that has this endpoint.
///
/// A synchronous one answers with the output alone (200), with a problem when the
/// execution did not succeed (502, 504), or with 202 when it takes longer than the
/// server holds a caller. The header `stepwell-execution-id` names the execution.
/// The endpoint's own method counts: GET, POST, PUT, PATCH or DELETE.
#[utoipa::path(
    post,
    operation_id = "fire_endpoint",
    path = "/t/{*path}",
    tag = "endpoints",
    params(("path" = String, Path, description = "As the flow's endpoint says; may have slashes")),
    request_body(content = Option<serde_json::Value>, description = "`body` of the input; may be empty: JSON as it is, other types as text or base64", content_type = "application/json"),
    responses(
        (status = 200, description = "The output, of an endpoint that waits", body = serde_json::Value, headers(("stepwell-execution-id" = String, description = "The execution's id"))),
        (status = 202, description = "It was accepted and is durable; or, of an endpoint that waits: the execution, which still runs, without its input", body = execution::Accepted, headers(("Location" = String, description = "The execution's path"), ("stepwell-execution-id" = String, description = "The execution's id"))),
        (status = 400, description = "`API0101`: the `Idempotency-Key` cannot be a name; `API0102`: the body says that it is JSON and is not", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`API0001`: no flow has this endpoint", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 405, description = "`API0002`: the endpoint has other methods", body = wire::problem::Problem, content_type = "application/problem+json", headers(("Allow" = String, description = "Its methods"))),
        (status = 409, description = "`RUN0004`: the `Idempotency-Key` came with another request before", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: the body is above 32 MiB", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`RUN0022`: the flow's expressions took too long on this input", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0005`: busy; see `Retry-After`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 502, description = "`API0017`: the execution failed or was aborted", body = wire::problem::Problem, content_type = "application/problem+json", headers(("stepwell-execution-id" = String, description = "The execution's id"))),
        (status = 503, description = "`RUN0006`: the disk is full; `RUN0007`: the server is stopping", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 504, description = "`API0017`: the execution timed out", body = wire::problem::Problem, content_type = "application/problem+json", headers(("stepwell-execution-id" = String, description = "The execution's id")))
    )
)]
pub(crate) async fn fire(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let full = parts.uri.path();
    let path = full.strip_prefix("/t").unwrap_or(full);
    let method = parts.method.as_str();
    let Some((flow, trigger)) = api.orchestrator.trigger(method, path) else {
        return Ok(refusal(&api, method, path));
    };
    // Decoded here, strictly; the orchestrator only chose.
    let parameters = Pattern::parse(&trigger.path)?
        .captures(path)?
        .unwrap_or_default();
    let headers = &parts.headers;
    let max = stepwell_types::limits::PAYLOAD_BYTES_MAX;
    let body = crate::body::whole(headers, body, max, &api.bodies).await?;
    let (named_flow, path) = (Arc::clone(&flow), path.to_owned());
    let start = crate::body::over(body.len(), move || {
        let headers: Vec<(&str, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        stepwell_trigger::start(
            named_flow,
            &stepwell_trigger::Request {
                method: parts.method.as_str(),
                path: &path,
                parameters: &parameters,
                query: parts.uri.query().unwrap_or_default(),
                headers: &headers,
                body: &body,
            },
        )
    });
    let start = start.await??;
    if !trigger.wait {
        let started = api.orchestrator.start(start).await?;
        let json = execution::started(&flow, &started);
        return Ok(named(super::start::accepted(started.id, json), started.id));
    }
    let limit = api.options.trigger_wait;
    match api.orchestrator.start_and_wait(start, limit).await? {
        (_, Some(ended)) => result(ended),
        (id, None) => Ok(named(super::start::still_running(&api, id).await?, id)),
    }
}

/// Nothing at the path, or only other methods.
fn refusal(api: &Api, method: &str, path: &str) -> Response {
    let methods = api.orchestrator.trigger_methods(path);
    if methods.is_empty() {
        let shown = format!("{method} /t{}", super::cut(path, 200));
        let hint = "no flow has this endpoint; `stepwell flow list` shows those that there are";
        return Problem::from(Error::NoRoute(shown, hint)).into_response();
    }
    let mut response = Problem::from(Error::BadMethod(method.to_owned())).into_response();
    if let Ok(allow) = HeaderValue::try_from(methods.join(",")) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn result(ended: Execution) -> Result<Response, Problem> {
    if let (Status::Succeeded, Some(output)) = (ended.status, &ended.output) {
        let body = output.text().as_bytes().to_vec();
        return Ok(named(wire::ready(StatusCode::OK, body), ended.id));
    }
    let failure = ended.failure;
    let error = failure.as_ref().map_or("", |f| &f.error);
    let mut problem = Problem::from(Error::ExecutionFailed {
        status: execution::status_text(ended.status),
        error: error.to_owned(),
    });
    let id = ended.id.to_string();
    problem.extra.push(("execution_id", id.into()));
    if let Some(failure) = &failure {
        problem.extra.push(("error", (*failure.error).into()));
        problem.extra.push(("cause", (*failure.cause).into()));
    }
    Ok(named(problem.into_response(), ended.id))
}

fn named(mut response: Response, id: ExecutionId) -> Response {
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(EXECUTION, value);
    }
    response
}
