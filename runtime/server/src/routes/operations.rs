//! Usage, health, metrics and the OpenAPI document.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;

use crate::Error;
use crate::app::Api;
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::standing::Standing;
use crate::wire::{self, target as outside, usage as shape};

/// Usage per flow and UTC day, by flow and then by day.
#[utoipa::path(
    get,
    operation_id = "read_usage",
    path = "/v1/usage",
    tag = "operations",
    params(
        ("flow" = Option<String>, Query, description = "Only this flow's"),
        Page
    ),
    responses(
        (status = 200, description = "One page", body = shape::Usage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn usage(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["flow", "limit", "after"])?;
    let after = match params.get("after")? {
        None => None,
        Some(text) => Some(shape::place(text).ok_or_else(|| {
            Error::BadQuery("after is `next` of the page before: FLOW/YYYY-MM-DD".into())
        })?),
    };
    let (flow, limit) = (params.get("flow")?, params.limit()?);
    let page = api.orchestrator.usage(flow, after, limit).await?;
    Ok(wire::json(StatusCode::OK, &shape::Usage::from(&page)))
}

/// Targets outside that were called lately: hosts, images, machines, activities.
#[utoipa::path(
    get,
    operation_id = "list_targets",
    path = "/v1/targets",
    tag = "operations",
    responses((status = 200, description = "Their limits and circuits", body = outside::Targets))
)]
pub(crate) async fn targets(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let targets = api.orchestrator.targets();
    let targets = targets.iter().map(outside::Target::from).collect();
    Ok(wire::json(StatusCode::OK, &outside::Targets { targets }))
}

/// Says that the process answers. Needs no token.
#[utoipa::path(
    get,
    operation_id = "check_health",
    path = "/healthz",
    tag = "operations",
    security(()),
    responses((status = 200, description = "It answers", body = Standing))
)]
pub(crate) async fn health() -> Response {
    wire::json(StatusCode::OK, &Standing::new("ok"))
}

/// Says whether new work is taken. Needs no token.
#[utoipa::path(
    get,
    operation_id = "check_readiness",
    path = "/readyz",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "It takes work", body = Standing),
        (status = 503, description = "`RUN0006`: the disk is full; `RUN0007`: it is stopping", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    api.orchestrator.ready()?;
    Ok(wire::json(StatusCode::OK, &Standing::new("ready")))
}

/// Metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(
    get,
    operation_id = "read_metrics",
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "All metrics", content_type = "application/openmetrics-text", body = String))
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let text = crate::metrics::text(
        &api.orchestrator.metrics(),
        api.orchestrator.targets(),
        &api.metrics,
    );
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    typed(Body::from(text), kind)
}

/// This document.
#[utoipa::path(
    get,
    operation_id = "read_openapi",
    path = "/v1/openapi.json",
    tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(crate) async fn openapi(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    Ok(typed(Body::from(api.openapi.clone()), "application/json"))
}

fn typed(body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
