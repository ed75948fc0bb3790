//! One file per resource; each handler says what it answers and refuses.

mod activities;
mod errors;
mod executions;
mod flows;
mod history;
mod logs;
mod modules;
mod namespaces;
mod objects;
mod operations;
mod redrive;
mod secrets;
mod signals;
mod start;
mod tasks;
mod trace;
pub(crate) mod triggers;

use std::sync::Arc;
use std::time::Duration;

use stepwell_types::limits::PAYLOAD_BYTES_MAX;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Error;
use crate::app::Api;
use crate::params::Params;
use crate::problem::Problem;

/// Bytes of a body that carries a small shape.
const SHAPE_BYTES_MAX: usize = 256 << 10;
/// What a bare `wait` means.
const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn all() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(modules::upload, modules::describe, modules::delete))
        .routes(routes!(modules::list))
        .routes(routes!(flows::publish, flows::describe, flows::delete))
        .routes(routes!(flows::list))
        .routes(routes!(flows::versions))
        .routes(routes!(flows::graph))
        .routes(routes!(flows::validate))
        .routes(routes!(start::start))
        .routes(routes!(executions::by_name))
        .routes(routes!(executions::list))
        .routes(routes!(executions::describe))
        .routes(routes!(executions::cancel))
        .routes(routes!(redrive::redrive))
        .routes(routes!(signals::send))
        .routes(routes!(signals::send_by_name))
        .routes(routes!(history::history))
        .routes(routes!(history::events))
        .routes(routes!(history::tasks))
        .routes(routes!(logs::logs))
        .routes(routes!(trace::trace))
        .routes(routes!(trace::wasm))
        .routes(routes!(tasks::succeed))
        .routes(routes!(tasks::fail))
        .routes(routes!(tasks::heartbeat))
        .routes(routes!(activities::poll))
        .routes(routes!(objects::buckets))
        .routes(routes!(objects::list))
        .routes(routes!(objects::put, objects::get, objects::delete))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::delete))
        .routes(routes!(secrets::rotate))
        .routes(routes!(namespaces::list))
        .routes(routes!(namespaces::describe, namespaces::empty))
        .routes(routes!(namespaces::keys))
        .routes(routes!(namespaces::value, namespaces::delete))
        .routes(routes!(operations::usage))
        .routes(routes!(operations::targets))
        .routes(routes!(operations::health))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::metrics))
        .routes(routes!(operations::openapi))
        .routes(routes!(errors::page))
        .route("/t/{*path}", axum::routing::any(triggers::fire))
}

/// The `wait` parameter: seconds, or bare for [`WAIT`].
fn wait(params: &Params, max: Duration) -> Result<Option<Duration>, Problem> {
    match params.get("wait")? {
        None => Ok(None),
        Some("") => Ok(Some(WAIT.min(max))),
        Some(_) => {
            let seconds = params.number("wait", 0, max.as_secs())?;
            Ok(seconds.map(Duration::from_secs))
        }
    }
}

/// The whole body of a request that carries a payload.
async fn payload(api: &Api, request: axum::extract::Request) -> Result<bytes::Bytes, Problem> {
    sized(api, request, PAYLOAD_BYTES_MAX).await
}

/// The whole body, at most `max` bytes.
async fn sized(
    api: &Api,
    request: axum::extract::Request,
    max: usize,
) -> Result<bytes::Bytes, Problem> {
    let (parts, body) = request.into_parts();
    crate::body::whole(&parts.headers, body, max, &api.bodies).await
}

/// A name from outside, cut for a message.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// `error` and `cause` of a body, within their limits.
fn failure(
    ending: crate::wire::execution::Ending,
    default: &str,
) -> Result<stepwell_types::Failure, Problem> {
    use stepwell_types::limits::{CAUSE_CHARS_MAX, ERROR_CHARS_MAX};
    let error = ending.error.unwrap_or_else(|| default.to_owned());
    if error.is_empty() || error.chars().count() > ERROR_CHARS_MAX {
        let text = format!("error has 1 to {ERROR_CHARS_MAX} characters");
        return Err(Error::BadFields(text).into());
    }
    let cause = cut(&ending.cause.unwrap_or_default(), CAUSE_CHARS_MAX);
    Ok(stepwell_types::Failure::new(error, cause))
}
