//! What steps log, over the API and the command line: by state, by pages, the same after a restart.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::guests;

const TWO: &str = "StartAt: A\nStates:\n  A: {Type: Task, Resource: \"wasm:log-flood\", InputPath: $.a, ResultPath: $.x, Next: B}\n  B: {Type: Task, Resource: \"wasm:log-flood\", InputPath: $.b, End: true}\n";

fn lines(api: &Api, id: &str, query: &str) -> Result<Value> {
    let answer = api.get(&format!("/v1/executions/{id}/logs?{query}"))?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

/// Number, state, level and text of each line.
fn told(page: &Value) -> Vec<(u64, String, String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let all = page["lines"].as_array().into_iter().flatten();
    all.map(|line| {
        (
            line["number"].as_u64().unwrap_or(0),
            text(line, "state"),
            text(line, "level"),
            text(line, "message"),
        )
    })
    .collect()
}

#[test]
fn an_executions_lines_are_told_by_state_and_page() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "")?;
    api.upload("log-flood", &guests::program("log-flood")?)?;
    api.publish("two", TWO)?;
    let shown = api.run("two", r#"{"a": 3, "b": 2}"#)?;
    let id = shown["id"].as_str().context("no id")?.to_owned();
    let line = |number, state: &str, level: &str, n: u64| {
        let text = format!("line {n} of a flood");
        (number, state.to_owned(), level.to_owned(), text)
    };
    let all = [
        line(1, "A", "debug", 0),
        line(2, "A", "info", 1),
        line(3, "A", "warn", 2),
        line(4, "B", "debug", 0),
        line(5, "B", "info", 1),
    ];
    assert_eq!(told(&lines(&api, &id, "")?), all);
    // Pages, of all and of one state.
    let page = lines(&api, &id, "limit=2")?;
    assert_eq!((told(&page), &page["next"]), (all[..2].to_vec(), &json!(2)));
    let page = lines(&api, &id, "limit=2&after=3")?;
    assert_eq!(
        (told(&page), &page["next"]),
        (all[3..].to_vec(), &Value::Null)
    );
    let page = lines(&api, &id, "state=B&limit=1")?;
    assert_eq!(
        (told(&page), &page["next"]),
        (all[3..4].to_vec(), &json!(4))
    );
    let page = lines(&api, &id, "state=B&after=4")?;
    assert_eq!(told(&page), all[4..]);
    assert_eq!(told(&lines(&api, &id, "state=C")?), []);
    let missing = api.get(&format!("/v1/executions/{}/logs", "0".repeat(26)))?;
    assert_eq!(
        (missing.status, &missing.body["code"]),
        (404, &json!("RUN0001"))
    );
    let odd = api.get(&format!("/v1/executions/{id}/logs?limit=0"))?;
    assert_eq!((odd.status, &odd.body["code"]), (400, &json!("API0004")));
    // The same from the disk, and for people.
    server.again()?;
    assert_eq!(told(&lines(&api, &id, "")?), all);
    let cli = |more: &[&str]| -> Result<String> {
        let (code, text) = api.cli(&[&["logs", &id][..], more].concat())?;
        ensure!(code == Some(0), "{text}");
        Ok(text)
    };
    let text = cli(&["--follow"])?;
    assert_eq!(text.lines().count(), 5, "{text}");
    ensure!(text.contains("  warn   A  line 2 of a flood\n"), "{text}");
    let text = cli(&["--state", "B", "--json"])?;
    let first: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    assert_eq!(
        (&first["number"], &first["attempt"]),
        (&json!(4), &json!(0))
    );
    // More than one page of the command line's.
    let shown = api.run("two", r#"{"a": 900, "b": 900}"#)?;
    let id = shown["id"].as_str().context("no id")?;
    let (_, text) = api.cli(&["logs", id])?;
    assert_eq!(text.lines().count(), 1_800);
    Ok(())
}
