//! What steps keep: namespaces with their sizes, keys and values, and their removal.
//!
//! Refuses to set a value: that is the steps' to do.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use crate::Error;
use crate::app::{Api, Names};
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::{self, namespace};

/// How a namespace is named in a path.
const NAME: &str = "`MODULE/NAME` or `shared/NAME`, its slashes as `%2F`";

/// Lists namespaces that have keys.
#[utoipa::path(
    get,
    operation_id = "list_namespaces",
    path = "/v1/namespaces",
    tag = "state",
    params(Page),
    responses(
        (status = 200, description = "One page", body = namespace::NamespacePage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let (after, limit) = (params.get("after")?.map(str::to_owned), params.limit()?);
    let page = apart(move || api.orchestrator.namespaces(after.as_deref(), limit)).await?;
    let page = namespace::NamespacePage {
        namespaces: page.items.into_iter().map(Into::into).collect(),
        next: page.next,
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// Shows one namespace.
#[utoipa::path(
    get,
    operation_id = "describe_namespace",
    path = "/v1/namespaces/{namespace}",
    tag = "state",
    params(("namespace" = String, Path, description = NAME)),
    responses(
        (status = 200, description = "How large it is, and may be", body = namespace::Namespace),
        (status = 404, description = "`RUN0040`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn describe(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let info = api.orchestrator.namespace(&name)?;
    Ok(wire::json(
        StatusCode::OK,
        &namespace::Namespace::from(info),
    ))
}

/// Lists a namespace's keys.
#[utoipa::path(
    get,
    operation_id = "list_keys",
    path = "/v1/namespaces/{namespace}/keys",
    tag = "state",
    params(
        ("namespace" = String, Path, description = NAME),
        Page
    ),
    responses(
        (status = 200, description = "One page; an empty one where there is no such namespace", body = namespace::KeyPage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn keys(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let (after, limit) = (params.get("after")?.map(str::to_owned), params.limit()?);
    let read = move || {
        api.orchestrator
            .namespace_keys(&name, after.as_deref(), limit)
    };
    let page = apart(read).await?;
    let page = namespace::KeyPage {
        keys: page.items.iter().map(ToString::to_string).collect(),
        next: page.next.map(|next| next.to_string()),
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// What steps keep under a key.
#[utoipa::path(
    get,
    operation_id = "get_value",
    path = "/v1/namespaces/{namespace}/value",
    tag = "state",
    params(
        ("namespace" = String, Path, description = NAME),
        ("key" = String, Query, description = "The key")
    ),
    responses(
        (status = 200, description = "The value's bytes", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0040`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn value(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["key"])?;
    let value = api.orchestrator.namespace_value(&name, key(&params)?)?;
    let mut response = Response::new(Body::from(value));
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    Ok(response)
}

/// Deletes a key. A step under way that has read it runs again.
#[utoipa::path(
    delete,
    operation_id = "delete_value",
    path = "/v1/namespaces/{namespace}/value",
    tag = "state",
    params(
        ("namespace" = String, Path, description = NAME),
        ("key" = String, Query, description = "The key")
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0040`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "`RUN0005`: steps write to the key all the time", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["key"])?;
    api.orchestrator.delete_key(&name, key(&params)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes all keys of a namespace, up to a thousand in each commit. What is deleted when it fails stays so.
#[utoipa::path(
    delete,
    operation_id = "empty_namespace",
    path = "/v1/namespaces/{namespace}",
    tag = "state",
    params(("namespace" = String, Path, description = NAME)),
    responses(
        (status = 200, description = "How many there were", body = namespace::EmptiedNamespace),
        (status = 429, description = "`RUN0005`: steps write to a key all the time", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn empty(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let deleted = api.orchestrator.empty_namespace(&name).await?;
    Ok(wire::json(
        StatusCode::OK,
        &namespace::EmptiedNamespace { deleted },
    ))
}

/// Reads what may be many rows on a thread that may.
async fn apart<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, stepwell_orchestrator::Error> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(read).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Internal.into()),
    }
}

fn key(params: &Params) -> Result<&str, Problem> {
    let missing = || Error::BadQuery("key is missing".to_owned());
    Ok(params.get("key")?.ok_or_else(missing)?)
}
