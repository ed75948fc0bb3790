//! Result files: what a distributed Map writes, a file of records at a time and the manifest last.
//!
//! Refuses to remember: the same request writes the same file again, and a file is whole or not there.

use serde_json::value::RawValue;
use stepwell_types::items::{OutputType, ResultChunk, ResultFile, ResultWrite, Transformation};
use stepwell_types::{Data, Failure};

use crate::Buckets;

/// Writes one file: `records` is an array of records, or the manifest. The answer is a
/// [`ResultFile`] as JSON. Blocks until the file is on the disk.
/// # Errors
/// `States.ResultWriterFailed`, with the key and the reason.
pub fn write(buckets: &Buckets, write: &ResultWrite, records: &Data) -> Result<Data, Failure> {
    let key = write.key();
    let bucket = &*write.target.bucket;
    let done = contents(write, records).and_then(|contents| {
        let put = || {
            let mut upload = buckets.bucket(bucket)?.put(&key)?;
            upload.write(contents.as_bytes())?;
            upload.finish()
        };
        put().map_err(|e| e.to_string())
    });
    match done {
        Ok((info, _)) => {
            let file = ResultFile {
                key: info.key.into(),
                size: info.size,
            };
            let value = serde_json::json!({"Key": file.key, "Size": file.size});
            Ok(Data::from_value(value))
        }
        Err(reason) => Err(Failure::new(
            "States.ResultWriterFailed",
            format!("the results cannot be written to object {key} of bucket {bucket}: {reason}"),
        )),
    }
}

fn contents(write: &ResultWrite, records: &Data) -> Result<String, String> {
    let text = records.text();
    if write.chunk == ResultChunk::Manifest {
        return Ok(text.to_owned());
    }
    let bad = |e: serde_json::Error| format!("what is to be written is no array: {e}");
    let records: Vec<&RawValue> = serde_json::from_str(text).map_err(bad)?;
    let mut flat = Vec::with_capacity(records.len());
    for record in records {
        let inner = match write.target.transformation {
            Transformation::Flatten if record.get().starts_with('[') => {
                Some(serde_json::from_str::<Vec<&RawValue>>(record.get()).map_err(bad)?)
            }
            _ => None,
        };
        match inner {
            Some(inner) => flat.extend(inner),
            None => flat.push(record),
        }
    }
    let mut out = String::with_capacity(text.len() + 2);
    let array = write.target.output == OutputType::Json;
    if array {
        out.push('[');
    }
    for (index, record) in flat.iter().enumerate() {
        if array {
            if index > 0 {
                out.push(',');
            }
            out.push_str(record.get());
        } else {
            // A line break in JSON text is only ever space between tokens.
            out.extend(record.get().chars().map(|c| match c {
                '\r' | '\n' => ' ',
                c => c,
            }));
            out.push('\n');
        }
    }
    if array {
        out.push(']');
    }
    Ok(out)
}
