//! Asks the host for more than a step should have, in the ways that no client library has.

use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_guest::keyvalue::Namespace;
use stepwell_guest::{Context, Failure};
use wasi::blobstore::blobstore;
use wasi::blobstore::types::OutgoingValue;
use wasi::http::types::{Fields, OutgoingBody, OutgoingRequest, OutgoingResponse, Scheme};
use wasi::io::streams::{OutputStream, StreamError};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:greedy;
            world client {
                import wasi:blobstore/types@0.2.0-draft;
                import wasi:blobstore/container@0.2.0-draft;
                import wasi:blobstore/blobstore@0.2.0-draft;
                import wasi:http/types@0.2.12;
            }
        ",
        path: [
            "../../../guest-sdk/rust/wasi/io",
            "../../../guest-sdk/rust/wasi/clocks",
            "../../../guest-sdk/rust/wasi/http",
            "../../../guest-sdk/rust/wit/blobstore@0.2.0-draft",
        ],
        world: "stepwell:greedy/client",
        generate_all,
    });
}
use bindings::wasi;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// So many values without a name, of a MiB each.
    Values(u32),
    /// So many requests that are never sent, each with a body of almost a MiB.
    Bodies(u32),
    /// So many requests with a path of so many bytes.
    Paths(u32, usize),
    /// So many lists of headers, each of so many bytes.
    Headers(u32, usize),
    /// So many responses that nobody gets, each with headers of so many bytes.
    Responses(u32, usize),
    /// So many lists of headers of so many bytes that are dropped, or go into a body; then so many bodies
    /// as above.
    Freed(u32, usize, bool, u32),
    /// Asks so often whether the bucket has an object whose key is none.
    Refused(String, u32),
    /// One call with so many times the same key.
    GetMany(String, usize),
    SetMany(String, usize),
    DeleteMany(String, usize),
    DeleteObjects(String, usize),
    /// One name of so many bytes.
    DeleteLong(String, usize),
    /// Opens a bucket whose name has so many bytes.
    OpenLong(usize),
    /// Deletes these, then lists the bucket so many names at a time.
    List(String, Vec<String>, u64),
    /// Writes to an object, after one look, pieces of these sizes.
    Write(String, String, Vec<usize>),
}

const NO_BODY: &str = "Greedy.NoBody: there is none";

fn told(text: &str) -> Failure {
    let (name, cause) = text.split_once(": ").unwrap_or(("Greedy.Told", text));
    Failure::new(name, cause)
}

fn broken(e: StreamError) -> Failure {
    match e {
        StreamError::Closed => told("Greedy.Closed: the stream is over"),
        StreamError::LastOperationFailed(e) => told(&e.to_debug_string()),
    }
}

fn fill(stream: &OutputStream, piece: usize, times: usize) -> Result<(), Failure> {
    let piece = vec![7; piece];
    for _ in 0..times {
        let room = stream.check_write().map_err(broken)?;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        stream
            .write(&piece[..piece.len().min(room)])
            .map_err(broken)?;
    }
    Ok(())
}

fn headers(bytes: usize) -> Result<Fields, Failure> {
    let fields = Fields::new();
    let added = fields.append("x-greedy", &vec![b'x'; bytes]);
    added.map_err(|e| told(&format!("Greedy.NoHeader: {e:?}")))?;
    Ok(fields)
}

fn bodies(many: u32) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for _ in 0..many {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().map_err(|()| told(NO_BODY))?;
        let stream = body.write().map_err(|()| told(NO_BODY))?;
        fill(&stream, 64 << 10, 15)?;
        all.push((stream, body, request));
    }
    Ok(json!(all.len()))
}

fn run(_: &Context, asks: Vec<Ask>) -> Result<Vec<Value>, Failure> {
    asks.iter().map(one).collect()
}

fn one(ask: &Ask) -> Result<Value, Failure> {
    Ok(match ask {
        Ask::Values(many) => {
            let mut all = Vec::new();
            for _ in 0..*many {
                let value = OutgoingValue::new_outgoing_value();
                let body = value.outgoing_value_write_body();
                let body = body.map_err(|()| told(NO_BODY))?;
                fill(&body, 256 << 10, 4)?;
                all.push((body, value));
            }
            json!(all.len())
        }
        Ask::Bodies(many) => bodies(*many)?,
        Ask::Responses(many, bytes) => {
            let all = (0..*many).map(|_| Ok(OutgoingResponse::new(headers(*bytes)?)));
            json!(all.collect::<Result<Vec<_>, Failure>>()?.len())
        }
        Ask::Freed(many, bytes, as_trailers, then) => {
            let mut all = Vec::new();
            for _ in 0..*many {
                let fields = headers(*bytes)?;
                if *as_trailers {
                    let request = OutgoingRequest::new(Fields::new());
                    let body = request.body().map_err(|()| told(NO_BODY))?;
                    let done = OutgoingBody::finish(body, Some(fields));
                    done.map_err(|e| told(&format!("Greedy.NoEnd: {e:?}")))?;
                } else {
                    all.push(fields);
                }
            }
            drop(all);
            bodies(*then)?
        }
        Ask::Refused(bucket, many) => {
            let bucket = blobstore::get_container(bucket).map_err(|e| told(&e))?;
            let refused = (0..*many).filter(|_| bucket.has_object("").is_err());
            json!(refused.count())
        }
        Ask::Paths(many, bytes) => {
            let mut all = Vec::new();
            for _ in 0..*many {
                let request = OutgoingRequest::new(Fields::new());
                let _ = request.set_scheme(Some(&Scheme::Http));
                let path = format!("/{}", "p".repeat(*bytes));
                let set = request.set_path_with_query(Some(&path));
                set.map_err(|()| told("Greedy.NoPath: it is none"))?;
                all.push(request);
            }
            json!(all.len())
        }
        Ask::Headers(many, bytes) => {
            let mut all = Vec::new();
            for _ in 0..*many {
                all.push(headers(*bytes)?);
            }
            json!(all.len())
        }
        Ask::GetMany(space, many) => {
            json!(Namespace::open(space)?.get_many(&vec!["k"; *many])?.len())
        }
        Ask::SetMany(space, many) => {
            let pairs = (0..*many).map(|_| ("k", &b""[..]));
            json!(Namespace::open(space)?.set_many(pairs)?)
        }
        Ask::DeleteMany(space, many) => {
            json!(Namespace::open(space)?.delete_many(&vec!["k"; *many])?)
        }
        Ask::DeleteObjects(bucket, many) => {
            let bucket = blobstore::get_container(bucket).map_err(|e| told(&e))?;
            let names = vec!["nothing".to_owned(); *many];
            json!(bucket.delete_objects(&names).map_err(|e| told(&e))?)
        }
        Ask::DeleteLong(bucket, bytes) => {
            let bucket = blobstore::get_container(bucket).map_err(|e| told(&e))?;
            let name = "n".repeat(*bytes);
            json!(bucket.delete_object(&name).map_err(|e| told(&e))?)
        }
        Ask::OpenLong(bytes) => {
            let opened = blobstore::get_container(&"\u{7f}".repeat(*bytes));
            json!(opened.err().map(|why| why.len()))
        }
        Ask::List(bucket, gone, at_once) => {
            let bucket = blobstore::get_container(bucket).map_err(|e| told(&e))?;
            bucket.delete_objects(gone).map_err(|e| told(&e))?;
            let names = bucket.list_objects().map_err(|e| told(&e))?;
            let (mut seen, mut reads) = (Vec::new(), 0);
            loop {
                let page = names.read_stream_object_names(*at_once);
                let (page, end) = page.map_err(|e| told(&e))?;
                seen.extend(page);
                reads += 1;
                if end {
                    break json!([seen, reads]);
                }
            }
        }
        Ask::Write(bucket, key, pieces) => {
            let bucket = blobstore::get_container(bucket).map_err(|e| told(&e))?;
            let value = OutgoingValue::new_outgoing_value();
            bucket.write_data(key, &value).map_err(|e| told(&e))?;
            let stream = value.outgoing_value_write_body();
            let stream = stream.map_err(|()| told(NO_BODY))?;
            let room = stream.check_write().map_err(broken)?;
            for piece in pieces {
                stream.write(&vec![b'w'; *piece]).map_err(broken)?;
            }
            drop(stream);
            OutgoingValue::finish(value).map_err(|e| told(&e))?;
            json!(room)
        }
    })
}

stepwell_guest::step!(run);
