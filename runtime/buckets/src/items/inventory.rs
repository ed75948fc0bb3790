//! What S3 Inventory writes: `manifest.json`, and the CSV files that it names, in its bucket.
//!
//! Refuses a manifest of another shape, and files in formats that are not read here.

use std::io::Read as _;

use serde::Deserialize;
use stepwell_types::items::{ItemCursor, ItemFormat};

use super::{CHANGED, Page};
use crate::Buckets;

/// Largest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// The part of a manifest that is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    file_format: String,
    /// The columns' names, with commas between them.
    file_schema: String,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    key: String,
}

/// Where a page ended: in which file, of which manifest, and where in that file.
fn parse(cursor: &str) -> Option<(usize, &str, Option<&str>)> {
    let mut parts = cursor.splitn(3, ' ');
    let file = parts.next()?.parse().ok()?;
    Some((file, parts.next()?, parts.next()))
}

/// A page of the rows: never of two files.
pub(super) fn page(
    buckets: &Buckets,
    bucket: &str,
    key: &str,
    cursor: Option<&ItemCursor>,
    page: &mut Page,
) -> Result<Option<String>, String> {
    let opened = buckets.bucket(bucket).and_then(|b| b.get(key));
    let object = opened.map_err(|e| e.to_string())?;
    page.version = Some(object.etag.clone());
    let (at, inner) = match cursor {
        None => (0, None),
        Some(ItemCursor(cursor)) => {
            let (at, etag, inner) = parse(cursor).ok_or("the cursor is none of ours")?;
            if etag != object.etag {
                return Err(CHANGED.to_owned());
            }
            (at, inner)
        }
    };
    if object.size > MANIFEST_BYTES_MAX {
        return Err(format!("a manifest has at most {MANIFEST_BYTES_MAX} bytes"));
    }
    let mut text = Vec::new();
    let read = (&object.file)
        .take(MANIFEST_BYTES_MAX)
        .read_to_end(&mut text);
    read.map_err(|e| e.to_string())?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|e| format!("it is no manifest of an S3 Inventory: {e}"))?;
    if manifest.file_format != "CSV" {
        return Err(format!(
            "the files of the inventory are {}; CSV is read",
            manifest.file_format
        ));
    }
    let columns = manifest
        .file_schema
        .split(',')
        .map(|name| name.trim().into());
    let format = ItemFormat::Csv {
        header: Some(columns.collect()),
        delimiter: b',',
    };
    let Some(File { key: file }) = manifest.files.get(at) else {
        return Ok(None);
    };
    let inner = inner.map(|inner| ItemCursor(inner.into()));
    let next = super::object(buckets, bucket, file, &format, inner.as_ref(), page)
        .map_err(|reason| format!("its file {file}: {reason}"))?;
    let etag = &object.etag;
    Ok(match next {
        Some(inner) => Some(format!("{at} {etag} {inner}")),
        None if at + 1 < manifest.files.len() => Some(format!("{} {etag}", at + 1)),
        None => None,
    })
}
