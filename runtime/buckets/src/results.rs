//! Result files: what a distributed Map writes, a file of records at a time and the manifest last.
//!
//! Refuses to remember: the same request writes the same file again, and a file is whole or not there.

use serde_json::value::RawValue;
use stepwell_types::items::{OutputType, ResultChunk, ResultFile, ResultWrite, Transformation};
use stepwell_types::{Data, Failure};

use crate::{Buckets, Error, Upload};

/// Bytes that go to the file at once.
const PIECE_BYTES: usize = 64 << 10;

/// Writes one file: `records` is an array of records, or the manifest. The answer is a
/// [`ResultFile`] as JSON. Blocks until the file is on the disk.
/// # Errors
/// `States.ResultWriterFailed`, with the key and the reason.
pub fn write(buckets: &Buckets, write: &ResultWrite, records: &Data) -> Result<Data, Failure> {
    let key = write.key();
    let bucket = &*write.target.bucket;
    let put = || {
        let mut upload = buckets.bucket(bucket)?.put(&key)?;
        contents(write, records.text(), &mut upload)?;
        Ok(upload.finish()?)
    };
    let done: Result<_, Trouble> = put();
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

/// Why a file is not written.
enum Trouble {
    Bucket(Error),
    NoArray(serde_json::Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Bucket(e) => e.fmt(f),
            Trouble::NoArray(e) => write!(f, "what is to be written is no array: {e}"),
        }
    }
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Trouble {
        Trouble::Bucket(e)
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(e: serde_json::Error) -> Trouble {
        Trouble::NoArray(e)
    }
}

/// Records on their way into a file, some at a time: a second copy of all of them, for each
/// file that is under way, is what a large Map's memory would be.
struct Pieces<'u> {
    upload: &'u mut Upload,
    piece: String,
    output: OutputType,
    first: bool,
}

impl Pieces<'_> {
    fn push(&mut self, record: &RawValue) -> Result<(), Error> {
        match self.output {
            OutputType::Json => {
                self.piece.push(if self.first { '[' } else { ',' });
                self.piece.push_str(record.get());
            }
            OutputType::JsonLines => {
                // A line break in JSON text is only ever space between tokens.
                self.piece.extend(record.get().chars().map(|c| match c {
                    '\r' | '\n' => ' ',
                    c => c,
                }));
                self.piece.push('\n');
            }
        }
        self.first = false;
        if self.piece.len() >= PIECE_BYTES {
            self.upload.write(self.piece.as_bytes())?;
            self.piece.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.output == OutputType::Json {
            self.piece.push_str(if self.first { "[]" } else { "]" });
        }
        self.upload.write(self.piece.as_bytes())
    }
}

fn contents(write: &ResultWrite, text: &str, upload: &mut Upload) -> Result<(), Trouble> {
    if write.chunk == ResultChunk::Manifest {
        return Ok(upload.write(text.as_bytes())?);
    }
    let records: Vec<&RawValue> = serde_json::from_str(text)?;
    let mut pieces = Pieces {
        upload,
        piece: String::with_capacity(PIECE_BYTES),
        output: write.target.output,
        first: true,
    };
    for record in records {
        match write.target.transformation {
            Transformation::Flatten if record.get().starts_with('[') => {
                for inner in serde_json::from_str::<Vec<&RawValue>>(record.get())? {
                    pieces.push(inner)?;
                }
            }
            _ => pieces.push(record)?,
        }
    }
    Ok(pieces.finish()?)
}
