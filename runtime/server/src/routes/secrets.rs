//! Secrets: set, list, delete, and a new master key.
//!
//! Refuses to give a value back, whoever asks.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use stepwell_types::Secret;
use stepwell_types::limits::SECRET_BYTES_MAX;

use crate::app::{Api, Names};
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::{self, secret};

/// Sets a secret: the body is its value, byte for byte.
///
/// A new version is read by attempts that begin from now on; an attempt under way keeps the one that it has.
#[utoipa::path(
    put,
    operation_id = "set_secret",
    path = "/v1/secrets/{name}",
    tag = "secrets",
    params(("name" = String, Path, description = "1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit")),
    request_body(content = Vec<u8>, description = "The value, 1 to 65,536 bytes", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The new version", body = secret::SecretVersion),
        (status = 400, description = "`RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`HOST0006`, `HOST0007`: the key file cannot be used, or is another", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`HOST0009`: it is empty, or one too many", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`, `RUN0007`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn set(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    Params::read(request.uri(), &[])?;
    let value = super::sized(&api, request, SECRET_BYTES_MAX).await?;
    let value = Secret::new(value.into());
    let set = api.orchestrator.set_secret(&name, value).await?;
    Ok(wire::json(
        StatusCode::OK,
        &secret::SecretVersion::from(set),
    ))
}

/// Lists secrets by name, without their values.
#[utoipa::path(
    get,
    operation_id = "list_secrets",
    path = "/v1/secrets",
    tag = "secrets",
    params(Page),
    responses(
        (status = 200, description = "One page", body = secret::SecretPage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let after = params.get("after")?.map(Arc::from);
    let page = api.orchestrator.secrets(after, params.limit()?)?;
    let page = secret::SecretPage {
        secrets: page.items.into_iter().map(Into::into).collect(),
        next: page.next.map(|next| next.to_string()),
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// Deletes a secret, all versions of it.
#[utoipa::path(
    delete,
    operation_id = "delete_secret",
    path = "/v1/secrets/{name}",
    tag = "secrets",
    params(("name" = String, Path, description = "The secret's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "`RUN0028`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    api.orchestrator.delete_secret(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes a new master key, seals all secrets with it, and drops the old one.
#[utoipa::path(
    post,
    operation_id = "rotate_secret_key",
    path = "/v1/secret-key/rotate",
    tag = "secrets",
    responses(
        (status = 200, description = "It is done", body = secret::RotatedKey),
        (status = 409, description = "`HOST0006`, `HOST0007`: the key file cannot be used, or is another", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`, `RUN0007`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn rotate(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let secrets = api.orchestrator.rotate_secret_key().await?;
    Ok(wire::json(StatusCode::OK, &secret::RotatedKey { secrets }))
}
