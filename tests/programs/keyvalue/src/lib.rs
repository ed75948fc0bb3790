//! Does what its input lists with a namespace of keys and values, and says what came of each.

use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_guest::http::Request;
use stepwell_guest::keyvalue::Namespace;
use stepwell_guest::{Context, Failure};

#[derive(Deserialize)]
struct Input {
    #[serde(default = "own")]
    namespace: String,
    #[serde(rename = "do")]
    steps: Vec<Step>,
}

fn own() -> String {
    "own".into()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Get(String),
    GetMany(Vec<String>),
    Exists(String),
    Set(String, String),
    SetMany(Vec<(String, String)>),
    /// The value is this text so many times.
    Fill(String, String, usize),
    Delete(String),
    DeleteMany(Vec<String>),
    Increment(String, u64),
    /// Reads a number and writes one more, in two operations.
    Count(String),
    /// Burns time.
    Spin(u64),
    List,
    Call(String),
    Fail(String),
}

fn run(_: &Context, input: Input) -> Result<Vec<Value>, Failure> {
    let space = Namespace::open(&input.namespace)?;
    input.steps.iter().map(|step| one(&space, step)).collect()
}

fn one(space: &Namespace, step: &Step) -> Result<Value, Failure> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(match step {
        Step::Get(key) => json!(space.get(key)?.map(text)),
        Step::GetMany(keys) => {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let all = space.get_many(&keys)?.into_iter();
            json!(all.map(|value| value.map(text)).collect::<Vec<_>>())
        }
        Step::Exists(key) => json!(space.exists(key)?),
        Step::Set(key, value) => json!(space.set(key, value.as_bytes())?),
        Step::SetMany(pairs) => {
            let pairs = pairs.iter().map(|(k, v)| (k.as_str(), v.as_bytes()));
            json!(space.set_many(pairs)?)
        }
        Step::Fill(key, value, times) => json!(space.set(key, value.repeat(*times).as_bytes())?),
        Step::Delete(key) => json!(space.delete(key)?),
        Step::DeleteMany(keys) => {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            json!(space.delete_many(&keys)?)
        }
        Step::Increment(key, delta) => json!(space.increment(key, *delta)?),
        Step::Count(key) => {
            let before = space.get(key)?.map(text).unwrap_or_default();
            let next = before.parse::<u64>().unwrap_or(0) + 1;
            space.set(key, next.to_string().as_bytes())?;
            json!(next)
        }
        Step::Spin(times) => json!((0..*times).fold(1u64, |n, i| n.wrapping_mul(31) ^ i) == 0),
        Step::List => json!(space.keys()?),
        Step::Call(url) => json!(Request::post(url).send()?.status),
        Step::Fail(name) => return Err(Failure::new(name, "as asked")),
    })
}

stepwell_guest::step!(run);
