//! Does what its input lists with the objects of a bucket, and says what came of each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_guest::blobs::{Bucket, Writer, named};
use stepwell_guest::http::Request;
use stepwell_guest::keyvalue::Namespace;
use stepwell_guest::{Context, Failure};

#[derive(Deserialize)]
struct Input {
    #[serde(default = "data")]
    bucket: String,
    #[serde(rename = "do")]
    steps: Vec<Step>,
}

fn data() -> String {
    "data".into()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// All of it, as text.
    Get(String),
    /// So many bytes from a place on.
    Range(String, u64, u64),
    Size(String),
    /// Counts lines and bytes, a piece at a time.
    Lines(String),
    Put(String, String),
    /// Writes this text so many times.
    Fill(String, String, u64),
    /// As put, and ends it never.
    Begin(String, String),
    /// Puts what is there and this behind it.
    Append(String, String),
    /// Opens so many objects to write at once.
    Open(String, usize),
    Delete(String),
    List,
    /// In the namespace `own`.
    Count(String),
    Call(String),
    /// Burns time.
    Spin(u64),
    Fail(String),
}

fn run(_: &Context, input: Input) -> Result<Vec<Value>, Failure> {
    let bucket = Bucket::open(&input.bucket)?;
    input.steps.iter().map(|step| one(&bucket, step)).collect()
}

fn get(bucket: &Bucket, key: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = bucket.read(key)?.read_to_string(&mut text);
    read.map_err(named)?;
    Ok(text)
}

fn put(bucket: &Bucket, key: &str, text: &str) -> Result<Writer, Failure> {
    let mut writer = bucket.write(key)?;
    writer.write_all(text.as_bytes()).map_err(named)?;
    Ok(writer)
}

fn one(bucket: &Bucket, step: &Step) -> Result<Value, Failure> {
    Ok(match step {
        Step::Get(key) => match bucket.info(key)? {
            Some(_) => json!(get(bucket, key)?),
            None => Value::Null,
        },
        Step::Range(key, start, length) => {
            let mut text = String::new();
            let mut reader = bucket.read_range(key, *start, *length)?;
            reader.read_to_string(&mut text).map_err(named)?;
            json!(text)
        }
        Step::Size(key) => json!(bucket.info(key)?.map(|info| info.size)),
        Step::Lines(key) => {
            let mut reader = BufReader::with_capacity(64 << 10, bucket.read(key)?);
            let (mut line, mut lines, mut bytes) = (Vec::new(), 0, 0);
            while reader.read_until(b'\n', &mut line).map_err(named)? > 0 {
                lines += 1;
                bytes += line.len();
                line.clear();
            }
            json!([lines, bytes])
        }
        Step::Put(key, text) => json!(put(bucket, key, text)?.finish()?),
        Step::Fill(key, text, times) => {
            let mut writer = bucket.write(key)?;
            for _ in 0..*times {
                writer.write_all(text.as_bytes()).map_err(named)?;
            }
            json!(writer.finish()?)
        }
        Step::Begin(key, text) => {
            drop(put(bucket, key, text)?);
            Value::Null
        }
        Step::Append(key, more) => {
            let before = match bucket.info(key)? {
                Some(_) => get(bucket, key)?,
                None => String::new(),
            };
            json!(put(bucket, key, &(before + more))?.finish()?)
        }
        Step::Open(key, many) => {
            let open: Result<Vec<Writer>, Failure> = (0..*many)
                .map(|n| bucket.write(&format!("{key}{n}")))
                .collect();
            json!(open?.len())
        }
        Step::Delete(key) => json!(bucket.delete(key)?),
        Step::List => json!(bucket.keys()?.collect::<Result<Vec<_>, _>>()?),
        Step::Count(key) => json!(Namespace::open("own")?.increment(key, 1)?),
        Step::Call(url) => json!(Request::post(url).send()?.status),
        Step::Spin(times) => json!((0..*times).fold(1u64, |n, i| n.wrapping_mul(31) ^ i) == 0),
        Step::Fail(name) => return Err(Failure::new(name, "as asked")),
    })
}

stepwell_guest::step!(run);
