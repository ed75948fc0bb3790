//! `object …`: objects in the server's buckets.

use std::io::Write as _;
use std::path::Path;

use reqwest::{Method, RequestBuilder};

use super::commands::{done, one, pages, whole, with_file};
use super::{Remote, parse, show};
use crate::args::Object;
use crate::exit::{Exit, Trouble};
use crate::output;

/// `object …`
pub fn object(remote: &Remote, command: Object) -> Result<Exit, Trouble> {
    match command {
        Object::Put { object, file } => put(remote, &object, &file),
        Object::Get { object, file } => get(remote, &object, file.as_deref()),
        Object::Ls { prefix: None } => {
            let text = remote.text(remote.get(&["buckets"]), &["buckets"])?;
            one(remote, &text, show::buckets)
        }
        Object::Ls { prefix: Some(at) } => {
            let (bucket, prefix) = at.split_once('/').unwrap_or((&at, ""));
            let begin = || {
                let request = remote.get(&["buckets", bucket, "objects"]);
                request.query(&[("prefix", prefix)])
            };
            let list = pages(remote, "objects", begin)?;
            whole(remote, "objects", list, show::objects)
        }
        Object::Rm { object } => {
            let path = path(&object)?;
            remote.nothing(remote.request(Method::DELETE, &path))?;
            done(remote, &format!("object {object} is gone"))
        }
    }
}

/// The segments of an object's address.
fn path(object: &str) -> Result<Vec<&str>, Trouble> {
    match object.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
            let mut path = vec!["buckets", bucket, "objects"];
            path.extend(key.split('/'));
            // A URL would take these for steps up, or swallow them.
            if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
                let text = format!("{object}: no part of a key is empty, `.` or `..`");
                return Err(Trouble::usage(text));
            }
            Ok(path)
        }
        _ => Err(Trouble::usage(format!("{object}: write BUCKET/KEY"))),
    }
}

fn put(remote: &Remote, object: &str, file: &Path) -> Result<Exit, Trouble> {
    let request = remote.request(Method::PUT, &path(object)?);
    let request = request.header("content-type", "application/octet-stream");
    let text = remote.text(with_file(request, file)?, &["size"])?;
    if remote.json {
        output::print_json(&text);
        return Ok(Exit::Ok);
    }
    let answer = parse(&text)?;
    let size = answer.get("size").and_then(serde_json::Value::as_u64);
    output::print(&format!(
        "{object} is there ({})",
        output::bytes(size.unwrap_or(0))
    ));
    Ok(Exit::Ok)
}

fn get(remote: &Remote, object: &str, file: Option<&Path>) -> Result<Exit, Trouble> {
    download(remote, remote.get(&path(object)?), file)
}

/// Writes the bytes of an answer to standard output, or to a file.
pub(super) fn download(
    remote: &Remote,
    request: RequestBuilder,
    file: Option<&Path>,
) -> Result<Exit, Trouble> {
    let failed = |e: std::io::Error| {
        let place = file.map_or("standard output".into(), |f| f.display().to_string());
        Trouble::system(format!("cannot write {place}: {e}"))
    };
    remote.runtime.block_on(async {
        let mut response = remote.send(request).await?;
        let kind = response.headers().get("content-type");
        if kind.is_none_or(|k| k != "application/octet-stream") {
            return Err(remote.stranger("its answer is no object and no value"));
        }
        let mut out: Box<dyn std::io::Write> = match file {
            Some(file) => Box::new(std::fs::File::create(file).map_err(failed)?),
            None => Box::new(std::io::stdout().lock()),
        };
        while let Some(bytes) = response.chunk().await.map_err(|e| remote.unreachable(&e))? {
            out.write_all(&bytes).map_err(failed)?;
        }
        out.flush().map_err(failed)
    })?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn addresses() {
        assert_eq!(
            path("b/k/x.csv").unwrap(),
            ["buckets", "b", "objects", "k", "x.csv"]
        );
        for bad in ["b", "b/", "/k", "b/../k", "b//k"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
