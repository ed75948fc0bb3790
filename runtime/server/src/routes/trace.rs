//! What an attempt needs to run again somewhere else: its trace, and its module.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use stepwell_orchestrator::trace::Wanted;

use crate::Error;
use crate::app::{Api, Names};
use crate::params::{Params, id};
use crate::problem::Problem;
use crate::wire;

/// Gives an attempt of a module's step: its input, its journal, and how it ended.
///
/// The journal holds the answers that the step got from outside. `stepwell replay` runs the attempt
/// again from it.
#[utoipa::path(
    get,
    operation_id = "read_trace",
    path = "/v1/executions/{id}/trace",
    tag = "executions",
    params(
        ("id" = String, Path, description = "The execution's id"),
        ("state" = String, Query, description = "The state's name"),
        ("entry" = Option<u64>, Query, description = "The state entry; the last one when absent"),
        ("attempt" = Option<u32>, Query, description = "The attempt, from 0; the last one when absent")
    ),
    responses(
        (status = 200, description = "The attempt", body = wire::trace::Trace),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0001`, `RUN0020`, `RUN0025`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn trace(
    State(api): State<Arc<Api>>,
    Names(text): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["state", "entry", "attempt"])?;
    let state = params
        .get("state")?
        .ok_or_else(|| Error::BadQuery("state names the state whose attempt is wanted".into()))?;
    let attempt = params.number("attempt", 0, u64::from(u32::MAX))?;
    let wanted = Wanted {
        state: state.into(),
        entry: params.number("entry", 1, u64::MAX)?,
        attempt: attempt.and_then(|n| u32::try_from(n).ok()),
    };
    let found = api
        .orchestrator
        .trace(id("execution id", &text)?, wanted)
        .await?;
    let trace = wire::trace::Trace {
        limits: api.options.step_limits,
        ..wire::trace::Trace::from(&found)
    };
    Ok(wire::texts(StatusCode::OK, &trace))
}

/// Gives the `.wasm` of a module as it was uploaded.
#[utoipa::path(
    get,
    operation_id = "download_module",
    path = "/v1/modules/{name}/wasm",
    tag = "modules",
    params(
        ("name" = String, Path, description = "The module's name"),
        ("digest" = String, Query, description = "SHA-256 of the version, hexadecimal")
    ),
    responses(
        (status = 200, description = "The component", body = Vec<u8>, content_type = "application/wasm"),
        (status = 400, description = "`API0004`, `API0008`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0003`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn wasm(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["digest"])?;
    let digest = params
        .get("digest")?
        .ok_or_else(|| Error::BadQuery("digest says which version is wanted".into()))?;
    let bytes = api
        .orchestrator
        .module_wasm(&name, id("digest", digest)?)
        .await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}
