//! Modules: upload by streaming, list, describe, delete.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use stepwell_orchestrator::api::Permission;

use crate::Error;
use crate::app::{Api, Names};
use crate::body::Chunks;
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::{self, module};

/// Bytes of an upload between two looks at the disk's room.
const LOOK_BYTES: usize = 1 << 20;

/// Uploads a module and compiles it.
///
/// The body is the `.wasm` of a component; it is streamed to disk, never held in
/// memory. Other bytes, or other grants, under a known name become its next version.
#[utoipa::path(
    put,
    operation_id = "upload_module",
    path = "/v1/modules/{name}",
    tag = "modules",
    params(
        ("name" = String, Path, description = "1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit"),
        ("grants" = Option<String>, Query, description = "What it may reach, as JSON; that of the version before when absent, and nothing at first"),
        ("confirm_grants" = Option<bool>, Query, description = "`true`: it may reach further than the version before")
    ),
    request_body(content = Vec<u8>, description = "A Wasm component", content_type = "application/wasm"),
    responses(
        (status = 200, description = "The newest version already had these bytes", body = module::UploadedModule),
        (status = 201, description = "A new version", body = module::UploadedModule),
        (status = 400, description = "`API0007`, `RUN0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 408, description = "`API0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0027`: it would reach further than the version before; `beyond` says what", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: above the server's limit", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 422, description = "`BOX` codes: not a component, imports that the host lacks, too slow to compile, …; `RUN0026`: the manifest is wrong", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`, `RUN0007`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn upload(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    request: Request,
) -> Result<Response, Problem> {
    let params = Params::read(request.uri(), &["grants", "confirm_grants"])?;
    let permission = permission(&params)?;
    let (parts, body) = request.into_parts();
    let max = api.options.upload_bytes_max;
    let mut upload = api.orchestrator.begin_upload(&name, permission).await?;
    let mut chunks = Chunks::open(&parts.headers, body, max, &api.bodies)?;
    let mut since_look = 0;
    while let Some(bytes) = chunks.next().await? {
        since_look += bytes.len();
        if since_look >= LOOK_BYTES {
            // The disk may fill while it comes.
            api.orchestrator.room()?;
            since_look = 0;
        }
        upload.write(&bytes).await?;
    }
    // What it is compiled to may be ten times as large.
    api.orchestrator.room()?;
    let uploaded = upload.finish().await?;
    let status = if uploaded.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(wire::json(status, &module::UploadedModule::from(&uploaded)))
}

/// The manifest that an upload brings.
fn permission(params: &Params) -> Result<Permission, Problem> {
    let grants: Option<wire::grants::Grants> = match params.get("grants")? {
        None => None,
        Some(text) => {
            Some(serde_json::from_str(text).map_err(|e| Error::BadQuery(format!("grants: {e}")))?)
        }
    };
    Ok(Permission {
        grants: grants.map(Into::into),
        confirmed: params.flag("confirm_grants")?,
    })
}

/// Lists modules by name, the newest version of each.
#[utoipa::path(
    get,
    operation_id = "list_modules",
    path = "/v1/modules",
    tag = "modules",
    params(Page),
    responses(
        (status = 200, description = "One page", body = module::ModulePage),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["limit", "after"])?;
    let after = params.get("after")?.map(Arc::from);
    let page = api.orchestrator.modules(after, params.limit()?)?;
    let page = module::ModulePage {
        modules: page.items.iter().map(module::Module::from).collect(),
        next: page.next.map(|n| n.to_string()),
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// Describes a module: digest, sizes, imports, exports, and who uses it.
#[utoipa::path(
    get,
    operation_id = "describe_module",
    path = "/v1/modules/{name}",
    tag = "modules",
    params(
        ("name" = String, Path, description = "The module's name"),
        ("version" = Option<u32>, Query, description = "The newest when absent")
    ),
    responses(
        (status = 200, description = "The module", body = module::Module),
        (status = 400, description = "`API0004`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`RUN0003`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn describe(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["version"])?;
    let info = api.orchestrator.module(&name, params.version()?)?;
    Ok(wire::json(StatusCode::OK, &module::Module::from(&info)))
}

/// Deletes a module, all versions of it, when no flow uses it.
#[utoipa::path(
    delete,
    operation_id = "delete_module",
    path = "/v1/modules/{name}",
    tag = "modules",
    params(("name" = String, Path, description = "The module's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "`RUN0003`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`RUN0013`: flows use it; `used_by` names them", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Names(name): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    api.orchestrator.delete_module(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
