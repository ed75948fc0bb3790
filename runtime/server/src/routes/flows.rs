//! Flows: publish, validate, list, describe.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use stepwell_orchestrator::api::{Filling, HttpTrigger, Keep, Mode, Permission, Picture};
use stepwell_trigger::Endpoint;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::Error;
use crate::app::{Api, Names};
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::{self, flow, value_of};

/// A body that is a definition with what fills it in.
const PUBLISH_TYPE: &str = "application/vnd.stepwell.publish+json";
/// A browser shows a picture as a page of this server's: nothing in it loads or runs, and its
/// own styles count.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
/// Largest such body: escaped, a definition is longer, and bindings come with it.
const PUBLISH_BYTES_MAX: usize = 8 << 20;

/// Publishes a version of a flow.
///
/// The body is the definition, Amazon States Language as JSON or YAML; or, as
/// `application/vnd.stepwell.publish+json`, the definition with values for its `${NAME}` and
/// with what its resources mean. Both are kept with the version. Each `trigger`
/// gives the flow an endpoint of its own below `/t`; without any the endpoints stay,
/// and one empty `trigger=` removes them all.
#[utoipa::path(
    put,
    operation_id = "publish_flow",
    path = "/v1/flows/{name}",
    tag = "flows",
    params(
        ("name" = String, Path, description = "1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit"),
        ("trigger" = Option<Vec<String>>, Query, description = "`POST /orders/{id}`, or `async POST /orders` to answer 202 at once; repeatable"),
        ("type" = Option<String>, Query, description = "`standard`, or `express`: short executions kept in memory"),
        ("history" = Option<String>, Query, description = "Which histories of express executions are kept: `none`, `errors` or `all`"),
        ("confirm_grants" = Option<bool>, Query, description = "`true`: it may reach further than the version before")
    ),
    request_body(description = "The definition, at most 1 MiB; alone, or with what fills it in", content((String = "text/plain"), (flow::Publish = "application/vnd.stepwell.publish+json"))),
    responses(
        (status = 200, description = "The newest version already was this text with these modules", body = flow::PublishedFlow, headers(("Location" = String, description = "The version's path"))),
        (status = 201, description = "A new version", body = flow::PublishedFlow, headers(("Location" = String, description = "The version's path"))),
        (status = 400, description = "`API0004`, `API0005`, `API0010`, `API0015`, `API0103`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0027`: it would reach further than the version before; `beyond` says what", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`RUN0008`: `diagnostics` has every problem; `RUN0015`: an endpoint is taken; `RUN0021`: a substitution or binding cannot be used; `RUN0026`: the manifest is wrong; `RUN0043`: it does not grant what the definition names, `missing` says what", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`, `RUN0007`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn publish(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(
        request.uri(),
        &["trigger", "type", "history", "confirm_grants"],
    )?;
    let mode = mode(&params)?;
    let triggers = triggers(&params)?;
    let confirmed = params.flag("confirm_grants")?;
    let (text, mut filling) = definition(&api, request).await?;
    filling.permission.confirmed = confirmed;
    let published = api
        .orchestrator
        .publish(&name, &text, filling, triggers, mode)
        .await?;
    let status = if published.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let version = published.flow.version;
    let mut value = value_of(&flow::Flow::from(&published.flow));
    if let Value::Object(members) = &mut value {
        let found = published.diagnostics.iter().map(value_of).collect();
        members.insert("new".to_owned(), published.new.into());
        for (name, lines) in [("gained", &published.gained), ("lost", &published.lost)] {
            if !lines.is_empty() {
                members.insert(name.to_owned(), value_of(lines));
            }
        }
        members.insert("diagnostics".to_owned(), Value::Array(found));
    }
    let mut response = wire::json(status, &value);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/flows/{name}?version={version}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The text of a request's body, and what fills it in.
async fn definition(api: &Api, request: Request) -> Result<(String, Filling), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|k| k.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(PUBLISH_TYPE) {
        let body = super::sized(api, request, DEFINITION_BYTES_MAX).await?;
        return Ok((crate::body::text(&body)?.to_owned(), Filling::default()));
    }
    let body = super::sized(api, request, PUBLISH_BYTES_MAX).await?;
    let given: flow::Publish = crate::body::fields(crate::body::text(&body)?)?;
    let filling = Filling {
        substitutions: given.substitutions,
        resources: given
            .resources
            .into_iter()
            .map(|(name, target)| (name, target.text()))
            .collect(),
        permission: Permission {
            grants: given.grants.map(Into::into),
            confirmed: false,
        },
    };
    Ok((given.definition, filling))
}

/// `type` and `history`.
fn mode(params: &Params) -> Result<Mode, Problem> {
    let express = match params.get("type")? {
        None | Some("standard") => false,
        Some("express") => true,
        Some(_) => return Err(Error::BadQuery("type is standard or express".into()).into()),
    };
    let keep = match params.get("history")? {
        None | Some("none") => Keep::None,
        Some("errors") => Keep::Errors,
        Some("all") => Keep::All,
        Some(_) => return Err(Error::BadQuery("history is none, errors or all".into()).into()),
    };
    if !express && params.get("history")?.is_some() {
        let text = "history is for type=express; standard executions keep theirs";
        return Err(Error::BadQuery(text.into()).into());
    }
    Ok(if express {
        Mode::Express(keep)
    } else {
        Mode::Standard
    })
}

/// `None` when the query says nothing about endpoints.
fn triggers(params: &Params) -> Result<Option<Vec<HttpTrigger>>, Problem> {
    let given: Vec<&str> = params.all("trigger").collect();
    if given.is_empty() {
        return Ok(None);
    }
    // How many a flow may have is the orchestrator's to say (`RUN0015`).
    let mut out = Vec::new();
    for text in given.into_iter().filter(|t| !t.trim().is_empty()) {
        let endpoint = Endpoint::parse(text)?;
        out.push(HttpTrigger {
            method: endpoint.method.into(),
            path: endpoint.pattern.text().into(),
            wait: endpoint.wait,
        });
    }
    Ok(Some(out))
}

/// Checks a definition without publishing it: every problem at once.
#[utoipa::path(
    post,
    operation_id = "validate_flow",
    path = "/v1/flows:validate",
    tag = "flows",
    params(("type" = Option<String>, Query, description = "`standard`, or `express`, in which some states have no place")),
    request_body(description = "The definition, at most 1 MiB; alone, or with what fills it in", content((String = "text/plain"), (flow::Publish = "application/vnd.stepwell.publish+json"))),
    responses(
        (status = 200, description = "The verdict, good or bad", body = flow::Verdict),
        (status = 400, description = "`API0004`, `API0005`, `API0010`, `API0015`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`RUN0021`: a substitution or binding cannot be used", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn validate(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(request.uri(), &["type"])?;
    let mode = mode(&params)?;
    let (text, filling) = definition(&api, request).await?;
    let found = api.orchestrator.validate(text, filling, mode).await?;
    let found: Vec<Value> = found.iter().map(value_of).collect();
    let valid = found
        .iter()
        .all(|d| d.get("severity").and_then(Value::as_str) != Some("error"));
    let verdict = serde_json::json!({"valid": valid, "diagnostics": found});
    Ok(wire::json(StatusCode::OK, &verdict))
}

/// Deletes a flow with all versions.
///
/// Executions of it that have ended stay, and can be told of; a redrive of them is refused, unless to
/// a version that was published since. What is published under the name later goes on counting
/// versions, and the deleted ones stay deleted.
#[utoipa::path(
    delete,
    operation_id = "delete_flow",
    path = "/v1/flows/{name}",
    tag = "flows",
    params(("name" = String, Path, description = "The flow's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "`RUN0002`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0029`: an execution of it runs, it has an endpoint, or another flow starts it", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    api.orchestrator.delete_flow(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lists flows by name, the newest version of each.
#[utoipa::path(
    get,
    operation_id = "list_flows",
    path = "/v1/flows",
    tag = "flows",
    params(Page),
    responses(
        (status = 200, description = "One page", body = flow::FlowPage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let after = params.get("after")?.map(Arc::from);
    let page = api.orchestrator.flows(after, params.limit()?)?;
    let page = flow::FlowPage {
        flows: page.items.iter().map(flow::Flow::from).collect(),
        next: page.next.map(|n| n.to_string()),
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// Shows a flow version with its definition.
#[utoipa::path(
    get,
    operation_id = "describe_flow",
    path = "/v1/flows/{name}",
    tag = "flows",
    params(
        ("name" = String, Path, description = "The flow's name"),
        ("version" = Option<u32>, Query, description = "The newest when absent")
    ),
    responses(
        (status = 200, description = "The flow", body = flow::Flow),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0002`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn describe(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["version"])?;
    let info = api.orchestrator.flow(&name, params.version()?)?;
    Ok(wire::json(StatusCode::OK, &flow::Flow::from(&info)))
}

/// Draws a flow version: its states and the ways between them.
#[utoipa::path(
    get,
    operation_id = "draw_flow",
    path = "/v1/flows/{name}/graph",
    tag = "flows",
    params(
        ("name" = String, Path, description = "The flow's name"),
        ("version" = Option<u32>, Query, description = "The newest when absent"),
        ("format" = Option<String>, Query, description = "`svg` (when absent), `mermaid` or `dot`")
    ),
    responses(
        (status = 200, description = "The picture", content((String = "image/svg+xml"), (String = "text/vnd.mermaid"), (String = "text/vnd.graphviz"))),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0002`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn graph(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["version", "format"])?;
    let version = params.version()?;
    let (form, kind) = match params.get("format")? {
        None | Some("svg") => (Picture::Svg, "image/svg+xml"),
        Some("mermaid") => (Picture::Mermaid, "text/vnd.mermaid; charset=utf-8"),
        Some("dot") => (Picture::Dot, "text/vnd.graphviz; charset=utf-8"),
        Some(_) => return Err(Error::BadQuery("format is svg, mermaid or dot".into()).into()),
    };
    // A large flow takes longer than a loop may.
    let orchestrator = api.orchestrator.clone();
    let drawn = tokio::task::spawn_blocking(move || orchestrator.graph(&name, version, form)).await;
    let text = drawn.map_err(|_| Problem::from(Error::Internal))??;
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let policy = HeaderValue::from_static(POLICY);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Lists all versions of a flow, without definitions.
#[utoipa::path(
    get,
    operation_id = "list_flow_versions",
    path = "/v1/flows/{name}/versions",
    tag = "flows",
    params(("name" = String, Path, description = "The flow's name")),
    responses(
        (status = 200, description = "Its versions", body = flow::FlowVersions),
        (status = 404, description = "`RUN0002`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn versions(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let versions = api.orchestrator.flow_versions(&name)?;
    let versions = versions.iter().map(flow::Flow::from).collect();
    Ok(wire::json(StatusCode::OK, &flow::FlowVersions { versions }))
}
