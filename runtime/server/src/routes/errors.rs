//! The pages that problems lead to: `type` is their address.
//!
//! Refuses to read files: the pages of this release are part of it.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::Error;
use crate::app::Names;
use crate::problem::Problem;
use crate::wire;

/// Code and page, sorted by code.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What a code means, why it happens and what to do. Needs no token.
#[utoipa::path(
    get,
    operation_id = "read_error_page",
    path = "/docs/errors/{code}",
    tag = "operations",
    security(()),
    params(("code" = String, Path, description = "As in a problem's `code`")),
    responses(
        (status = 200, description = "The page, in Markdown", content_type = "text/markdown", body = String),
        (status = 404, description = "`API0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn page(Names(code): Names<String>) -> Result<Response, Problem> {
    let Ok(at) = PAGES.binary_search_by_key(&code.as_str(), |(code, _)| code) else {
        let shown = super::cut(&code, 100);
        return Err(Error::NoRoute(
            format!("/docs/errors/{shown}"),
            "this release has no such code",
        )
        .into());
    };
    let text = PAGES.get(at).map_or("", |(_, text)| text);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
