//! Objects in buckets: upload and download by streaming, list, delete.
//!
//! Refuses to hold an object in memory, and to touch a file on a loop's own thread.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use stepwell_buckets::Upload;
use tokio_util::io::ReaderStream;

use crate::Error;
use crate::app::{Api, Names};
use crate::body::Chunks;
use crate::params::{Page, Params};
use crate::problem::Problem;
use crate::wire::{self, object};

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// Lists the buckets: those with uploaded objects, and the directories of the configuration.
#[utoipa::path(
    get,
    operation_id = "list_buckets",
    path = "/v1/buckets",
    tag = "objects",
    responses((status = 200, description = "All of them, by name", body = object::BucketList))
)]
pub(crate) async fn buckets(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let buckets = api.options.buckets.clone();
    let list = apart(move || buckets.list()).await?;
    let buckets = list.into_iter().map(object::Bucket::from).collect();
    Ok(wire::json(StatusCode::OK, &object::BucketList { buckets }))
}

/// Lists a bucket's objects in the order of their keys' bytes.
#[utoipa::path(
    get,
    operation_id = "list_objects",
    path = "/v1/buckets/{bucket}/objects",
    tag = "objects",
    params(
        ("bucket" = String, Path, description = "The bucket's name"),
        ("prefix" = Option<String>, Query, description = "What their keys begin with"),
        Page
    ),
    responses(
        (status = 200, description = "One page", body = object::ObjectPage),
        (status = 400, description = "`API0004`, `BUCKET0003`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`BUCKET0001`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Names(bucket): Names<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["prefix", "limit", "after"])?;
    let prefix = params.get("prefix")?.unwrap_or_default().to_owned();
    let after = params.get("after")?.map(str::to_owned);
    let limit = params.limit()?;
    let bucket = api.options.buckets.bucket(&bucket)?;
    let page = apart(move || bucket.list(&prefix, after.as_deref(), limit)).await?;
    let next = page.objects.last().filter(|_| page.more);
    let page = object::ObjectPage {
        next: next.map(|o| o.key.clone()),
        objects: page.objects.into_iter().map(object::Object::from).collect(),
    };
    Ok(wire::json(StatusCode::OK, &page))
}

/// Uploads an object, or puts another in its place.
///
/// The body is streamed to disk. Whoever reads sees the object before or the one after, never a part.
#[utoipa::path(
    put,
    operation_id = "put_object",
    path = "/v1/buckets/{bucket}/objects/{*key}",
    tag = "objects",
    params(
        ("bucket" = String, Path, description = "1 to 63 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit"),
        ("key" = String, Path, description = "1 to 1,024 bytes: parts of 1 to 255 bytes with slashes between them, which stay as they are in the path")
    ),
    request_body(content = Vec<u8>, description = "The object's bytes", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It took another object's place", body = object::UploadedObject),
        (status = 201, description = "A new object", body = object::UploadedObject),
        (status = 400, description = "`API0007`, `BUCKET0003`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 403, description = "`BUCKET0004`: the bucket is granted for reading; `BUCKET0011`: a link leads out of it", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`BUCKET0001`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 408, description = "`API0014`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 409, description = "`BUCKET0007`: another key is in its way", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 413, description = "`API0006`: above the server's limit", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 503, description = "`RUN0006`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 507, description = "`BUCKET0006`: as many buckets or objects as there may be", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    Names((bucket, key)): Names<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    Params::read(request.uri(), &[])?;
    let (parts, body) = request.into_parts();
    let bucket = api.options.buckets.bucket(&bucket)?;
    let max = api.options.buckets.object_bytes_max();
    api.orchestrator.room()?;
    let mut upload = apart(move || bucket.put(&key)).await?;
    let mut chunks = Chunks::open(&parts.headers, body, max, &api.bodies)?;
    let mut held = BytesMut::new();
    while let Some(bytes) = chunks.next().await? {
        held.extend_from_slice(&bytes);
        if held.len() >= WRITE_BYTES {
            // The disk may fill while it comes.
            api.orchestrator.room()?;
            upload = write(upload, held.split()).await?;
        }
    }
    let upload = write(upload, held).await?;
    let (info, new) = apart(move || upload.finish()).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let object = object::Object::from(info);
    Ok(wire::json(status, &object::UploadedObject { object, new }))
}

/// Downloads an object.
#[utoipa::path(
    get,
    operation_id = "get_object",
    path = "/v1/buckets/{bucket}/objects/{*key}",
    tag = "objects",
    params(
        ("bucket" = String, Path, description = "The bucket's name"),
        ("key" = String, Path, description = "The object's key")
    ),
    responses(
        (status = 200, description = "Its bytes", body = Vec<u8>, content_type = "application/octet-stream", headers(("ETag" = String, description = "Changes with the object"))),
        (status = 400, description = "`BUCKET0003`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 403, description = "`BUCKET0011`: a link leads out of the bucket", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`BUCKET0001`, `BUCKET0002`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    Names((bucket, key)): Names<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let bucket = api.options.buckets.bucket(&bucket)?;
    let object = apart(move || bucket.get(&key)).await?;
    let file = tokio::fs::File::from_std(object.file);
    // A file that grows meanwhile is sent as long as it was announced.
    let bytes = tokio::io::AsyncReadExt::take(file, object.size);
    let mut response = Response::new(Body::from_stream(ReaderStream::new(bytes)));
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, "application/octet-stream");
    set(header::CONTENT_LENGTH, &object.size.to_string());
    set(header::ETAG, &object.etag);
    Ok(response)
}

/// Deletes an object.
#[utoipa::path(
    delete,
    operation_id = "delete_object",
    path = "/v1/buckets/{bucket}/objects/{*key}",
    tag = "objects",
    params(
        ("bucket" = String, Path, description = "The bucket's name"),
        ("key" = String, Path, description = "The object's key")
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "`BUCKET0003`", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 403, description = "`BUCKET0004`: the bucket is granted for reading; `BUCKET0011`: a link leads out of it", body = wire::problem::Problem, content_type = "application/problem+json"),
        (status = 404, description = "`BUCKET0001`, `BUCKET0002`", body = wire::problem::Problem, content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    Names((bucket, key)): Names<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    Params::read(&uri, &[])?;
    let bucket = api.options.buckets.bucket(&bucket)?;
    apart(move || bucket.delete(&key)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn write(mut upload: Upload, bytes: BytesMut) -> Result<Upload, Problem> {
    apart(move || upload.write(&bytes).map(|()| upload)).await
}

/// Runs what blocks on a thread that may.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, stepwell_buckets::Error> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Internal.into()),
    }
}
