//! The whole application as one router, testable without a socket.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use bytes::Bytes;
use stepwell_orchestrator::Orchestrator;
use utoipa_axum::router::OpenApiRouter;

use crate::body::Bounds;
use crate::edge::Edge;
use crate::metrics::HttpMetrics;
use crate::problem::Problem;
use crate::{Error, Options, document, routes};

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

fn documented() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    let router = OpenApiRouter::with_openapi(document::begin()).merge(routes::all());
    let (router, mut document) = router.split_for_parts();
    document::complete(&mut document);
    (router, document)
}

async fn no_route(uri: Uri) -> Problem {
    let path = uri.path().chars().take(200).collect();
    Error::NoRoute(path, "/v1/openapi.json lists what there is").into()
}

async fn bad_method(method: Method) -> Problem {
    Error::BadMethod(method.to_string()).into()
}
