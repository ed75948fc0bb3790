//! Where inputs begin: the examples, the recorded cases, and what their expressions are.
//!
//! Refuses nothing: a seed that does not parse is a seed too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Definitions in a folder of the repository, by the ending of their names.
pub fn definitions(endings: &[&str]) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let mut found = Vec::new();
    for folder in [
        "examples",
        "runtime/flow/tests",
        "runtime/interpreter/tests",
    ] {
        files(&root.join(folder), endings, &mut found);
    }
    found
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .filter(|bytes| bytes.len() <= crate::INPUT_BYTES_MAX)
        .collect()
}

/// The definitions in a folder of the interpreter's scripts: what stands above `---`.
pub fn scripts(folder: &str) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let mut found = Vec::new();
    let runs = root.join("runtime/interpreter/tests/runs").join(folder);
    files(&runs, &[".run"], &mut found);
    let texts = found.iter().filter_map(|p| std::fs::read_to_string(p).ok());
    let definition = |text: String| Some(text.split_once("\n---")?.0.as_bytes().to_vec());
    texts.filter_map(definition).collect()
}

fn files(folder: &Path, endings: &[&str], out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            files(&path, endings, out);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            out.push(path);
        }
    }
    out.sort();
}

/// The definitions of the recorded cases.
pub fn recorded() -> Vec<Vec<u8>> {
    let cases = stepwell_cases::all();
    let texts = cases.iter().map(stepwell_cases::Case::definition);
    texts.map(String::into_bytes).collect()
}

/// Strings anywhere in the recorded definitions that `keep` wants, each once.
pub fn strings(keep: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for case in stepwell_cases::all() {
        collect(&case.json["definition"], &mut all);
    }
    all.retain(|text| keep(text));
    all
}

/// What stands between `{%` and `%}`.
pub fn jsonata() -> Vec<String> {
    let inner = |text: &str| {
        let inside = text.strip_prefix("{%")?.strip_suffix("%}")?;
        Some(inside.trim().to_owned())
    };
    let texts = strings(|text| text.starts_with("{%"));
    texts.iter().filter_map(|text| inner(text)).collect()
}

/// What stands behind `….$:` and `Condition:` in CloudFlow's scripts.
pub fn cloudflow() -> Vec<String> {
    let texts = scripts("cloudflow");
    let texts = texts.iter().map(|bytes| String::from_utf8_lossy(bytes));
    let all: BTreeSet<String> = texts
        .flat_map(|text| {
            let ends = |text: &str| text.split([',', '}', '\n']).next().map(str::to_owned);
            let words = [".$: ", "Condition: "].map(|word| {
                let parts = text.split(word).skip(1);
                parts.filter_map(ends).collect::<Vec<_>>()
            });
            words.concat()
        })
        .collect();
    all.into_iter()
        .map(|text| text.trim_matches(['"', ' ']).to_owned())
        .collect()
}

fn collect(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            out.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(map) => map.values().for_each(|item| collect(item, out)),
        _ => {}
    }
}

/// An expression's seed: an input on the first line, the expression after it.
pub fn expressions(texts: impl IntoIterator<Item = String>) -> Vec<Vec<u8>> {
    const INPUT: &str = r#"{"a":{"b":[1,2,3],"c":"x"},"items":[{"n":1,"s":"one"},{"n":2,"s":"two"}],"n":7,"t":"2024-01-01T00:00:00Z"}"#;
    let seed = |text: String| format!("{INPUT}\n{text}").into_bytes();
    texts.into_iter().map(seed).collect()
}
