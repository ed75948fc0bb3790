//! Tells the configuration that it reads: the keys of its input, then everything.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepwell_guest::{Context, Failure, config};

fn read(_: &Context, keys: Vec<String>) -> Result<Value, Failure> {
    let values = keys.iter().map(|key| config::get(key));
    let values: Vec<_> = values.collect::<Result<_, _>>()?;
    let all: BTreeMap<String, String> = config::all()?.into_iter().collect();
    Ok(json!({"values": values, "all": all}))
}

stepwell_guest::step!(read);
