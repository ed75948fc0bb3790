//! Result files: what a distributed Map writes, a file of records at a time and the manifest last.
//!
//! Refuses to remember: the same request writes the same file again, and a file is whole or not there.

use serde_json::value::RawValue;
use stepwell_types::items::{OutputType, ResultChunk, ResultFile, ResultWrite, Transformation};
use stepwell_types::{Data, Failure};

use crate::{Buckets, Error, Upload};

/// Bytes that go to the file at once.
const PIECE_BYTES: usize = 64 << 10;

/// Whether the disk has room for so many bytes more.
/// # Errors
/// Why not, as text.
pub type HasRoom<'a> = &'a dyn Fn(usize) -> Result<(), String>;

/// Why a file was not written.
#[derive(Debug, PartialEq)]
pub enum Unwritten {
    /// The disk has no room for it. Nothing is left of it, and it may be written when there is some.
    NoRoom(String),
    /// `States.ResultWriterFailed`, with the key and the reason.
    Failed(Failure),
}

/// Writes one file: `records` is an array of records, or the manifest. The answer is a
/// [`ResultFile`] as JSON. Blocks until the file is on the disk.
/// # Errors
/// Why it is not there.
pub fn write(
    buckets: &Buckets,
    write: &ResultWrite,
    records: &Data,
    has_room: HasRoom<'_>,
) -> Result<Data, Unwritten> {
    let key = write.key();
    let bucket = &*write.target.bucket;
    let put = || {
        has_room(0).map_err(Trouble::NoRoom)?;
        let mut file = File {
            upload: buckets.bucket(bucket)?.put(&key)?,
            has_room,
        };
        contents(write, records.text(), &mut file)?;
        Ok(file.upload.finish()?)
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
        Err(Trouble::NoRoom(reason)) => Err(Unwritten::NoRoom(reason)),
        Err(Trouble::Bucket(e @ Error::DiskFull { .. })) => Err(Unwritten::NoRoom(e.to_string())),
        Err(reason) => Err(Unwritten::Failed(Failure::new(
            "States.ResultWriterFailed",
            format!("the results cannot be written to object {key} of bucket {bucket}: {reason}"),
        ))),
    }
}

/// A file on its way.
struct File<'a> {
    upload: Upload,
    has_room: HasRoom<'a>,
}

impl File<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        (self.has_room)(bytes.len()).map_err(Trouble::NoRoom)?;
        Ok(self.upload.write(bytes)?)
    }
}

/// Why a file is not written.
enum Trouble {
    NoRoom(String),
    Bucket(Error),
    NoArray(serde_json::Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::NoRoom(reason) => reason.fmt(f),
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
struct Pieces<'f, 'a> {
    file: &'f mut File<'a>,
    piece: String,
    output: OutputType,
    first: bool,
}

impl Pieces<'_, '_> {
    fn push(&mut self, record: &RawValue) -> Result<(), Trouble> {
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
            self.file.write(self.piece.as_bytes())?;
            self.piece.clear();
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Trouble> {
        if self.output == OutputType::Json {
            self.piece.push_str(if self.first { "[]" } else { "]" });
        }
        self.file.write(self.piece.as_bytes())
    }
}

fn contents(write: &ResultWrite, text: &str, file: &mut File<'_>) -> Result<(), Trouble> {
    if write.chunk == ResultChunk::Manifest {
        return file.write(text.as_bytes());
    }
    let records: Vec<&RawValue> = serde_json::from_str(text)?;
    let mut pieces = Pieces {
        file,
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
    pieces.finish()
}
