//! The whole application as one router, testable without a socket.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use bytes::Bytes;
use stepwell_orchestrator::Orchestrator;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::body::Bounds;
use crate::edge::Edge;
use crate::metrics::HttpMetrics;
use crate::problem::Problem;
use crate::{Error, Options, routes};

/// The API, the flows' own endpoints, health and metrics.
pub fn app(orchestrator: Orchestrator, options: Options) -> Router {
    let (router, document) = documented();
    let metrics = Arc::new(HttpMetrics::default());
    let edge = Edge::new(&options, Arc::clone(&metrics));
    let json = document.to_pretty_json().unwrap_or_default();
    let api = Arc::new(Api {
        bodies: Bounds::new(&options),
        orchestrator,
        options,
        metrics,
        openapi: Bytes::from(json),
    });
    router
        .fallback(no_route)
        .method_not_allowed_fallback(bad_method)
        .layer(edge)
        .with_state(api)
}

/// The OpenAPI document, generated from the routes.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().1
}

/// What every handler gets.
pub(crate) struct Api {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) options: Options,
    pub(crate) bodies: Bounds,
    pub(crate) metrics: Arc<HttpMetrics>,
    pub(crate) openapi: Bytes,
}

/// The path's parameters, with our own words when they cannot be read.
pub(crate) struct Names<T>(pub(crate) T);

impl<S, T> FromRequestParts<S> for Names<T>
where
    S: Send + Sync,
    T: serde::de::DeserializeOwned + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Names<T>, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Names(path.0)),
            Err(_) => Err(stepwell_trigger::Error::BadEncoding("path").into()),
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stepwell",
        description = "Runs flows of steps. Keys are in snake_case, times are RFC 3339 in UTC. \
            Every refusal is problem+json with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "modules", description = "Uploaded Wasm components: what steps run"),
        (name = "flows", description = "Definitions, versions and their endpoints"),
        (name = "endpoints", description = "What flows are triggered by: paths of their own"),
        (name = "executions", description = "Runs of flows"),
        (name = "tasks", description = "Answers of outside programs, by task token"),
        (name = "objects", description = "Large data in buckets: what a distributed Map reads and writes"),
        (name = "state", description = "What steps keep in namespaces"),
        (name = "secrets", description = "Values that steps and calls use by name; they are never read back"),
        (name = "operations", description = "Health, metrics, usage")
    ),
    security(("token" = [])),
    paths(crate::routes::triggers::fire),
    components(schemas(crate::wire::problem::Problem))
)]
struct Document;

fn documented() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    let mut document = Document::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "Needed for everything but health and readiness, when the server has a token.",
        ))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(scheme));
    let router = OpenApiRouter::with_openapi(document).merge(routes::all());
    let (router, mut document) = router.split_for_parts();
    // The router's mark for "the rest of the path" means nothing in OpenAPI.
    let paths = std::mem::take(&mut document.paths.paths);
    let named = |(path, item): (String, _)| (path.replace("{*", "{"), item);
    document.paths.paths = paths.into_iter().map(named).collect();
    (router, document)
}

async fn no_route(uri: Uri) -> Problem {
    let path = uri.path().chars().take(200).collect();
    Error::NoRoute(path, "/v1/openapi.json lists what there is").into()
}

async fn bad_method(method: Method) -> Problem {
    Error::BadMethod(method.to_string()).into()
}

#[cfg(test)]
mod tests {
    /// The document is the contract with every client: a change of it shows up in review.
    /// `UPDATE_EXPECT=1` writes it anew.
    #[test]
    fn the_openapi_document_is_as_reviewed() {
        let document = super::openapi();
        assert_eq!(serde_json::to_value(&document).unwrap()["openapi"], "3.1.0");
        let text = document.to_pretty_json().unwrap() + "\n";
        expect_test::expect_file!["../tests/openapi.json"].assert_eq(&text);
    }
}
