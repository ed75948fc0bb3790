//! Plays one example: uploads, publishes, sends, answers, and compares.
//!
//! Refuses to call a result good that the example does not expect.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::example::{Case, Example, holds};
use super::http::{self, Request};
use super::receiver::Receiver;
use super::serve::Server;
use super::show;

/// How long a task may take to ask for its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Uploads the example's modules and publishes its flow, by the command line client.
///
/// # Errors
/// The client or the server refuses.
pub fn publish(
    server: &Server,
    example: &Example,
    guests: &BTreeMap<String, PathBuf>,
) -> Result<()> {
    for (module, guest) in &example.modules {
        let file = guests
            .get(guest)
            .with_context(|| format!("no guest `{guest}` was built"))?;
        let file = file.display().to_string();
        let manifest = example.grants.get(module);
        let manifest = manifest.map(|m| example.folder.join(m).display().to_string());
        let mut args = vec!["module", "push", module, &file];
        args.extend(manifest.iter().flat_map(|m| ["--grants", m]));
        server.client(&args)?;
    }
    for object in &example.objects {
        let file = example.folder.join(&object.file).display().to_string();
        server.client(&["object", "put", &object.name, &file])?;
        println!("  put {}", object.name);
    }
    for (name, flow) in &example.flows {
        let flow = example.folder.join(flow).display().to_string();
        server.client(&["flow", "publish", name, &flow])?;
        println!("  published {name}");
    }
    let flow = example.folder.join(&example.flow).display().to_string();
    let name = example.name.as_str();
    server.client(&[
        "flow",
        "publish",
        name,
        &flow,
        "--trigger",
        &example.trigger,
    ])?;
    let modules: Vec<&str> = example.modules.keys().map(String::as_str).collect();
    println!("  uploaded {}", modules.join(", "));
    println!("  published {name} with the endpoint {}", example.trigger);
    Ok(())
}

/// Sends one case and shows how it ends. Returns how many expectations it missed.
///
/// # Errors
/// The server does not answer as documented.
pub fn case(server: &Server, receiver: &Receiver, example: &Example, case: &Case) -> Result<usize> {
    let before = receiver.calls().len();
    let begun = Instant::now();
    let id = trigger(server, receiver, example, case)?;
    for answer in &case.answer {
        give(server, &id, answer)?;
    }
    for signal in &case.signal {
        send(server, &id, signal)?;
    }
    let path = format!("/v1/executions/{id}?wait=60");
    let execution = http::get(server.address, &path)?;
    let calls = receiver.calls().split_off(before);
    show::result(&case.title, &id, &execution, &calls, begun.elapsed());
    let missed = missed(case, &execution, calls.len());
    for miss in &missed {
        println!("    NOT AS EXPECTED: {miss}");
    }
    Ok(missed.len())
}

/// Sends the case's request to the flow's endpoint; returns the execution's id.
fn trigger(server: &Server, receiver: &Receiver, example: &Example, case: &Case) -> Result<String> {
    let (method, path) = example.endpoint()?;
    let query = case
        .query
        .replace("{receiver}", &receiver.address().to_string());
    let separator = if query.is_empty() { "" } else { "?" };
    let body = std::fs::read(example.folder.join(&case.input))?;
    let request = Request {
        method,
        path: &format!("/t{path}{separator}{query}"),
        content_type: &case.content_type,
        body: &body,
    };
    let answer = http::send(server.address, &request)?;
    let Some(id) = answer.header("stepwell-execution-id") else {
        bail!(
            "{method} /t{path} was refused with status {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    };
    Ok(id.to_owned())
}

/// Sends the execution a signal; whether it waits already does not matter.
fn send(server: &Server, id: &str, signal: &str) -> Result<()> {
    let (name, data) = signal.split_once(' ').context("a signal is NAME JSON")?;
    println!("\n  it is sent the signal {name}: {data}");
    let request = Request {
        method: "POST",
        path: &format!("/v1/executions/{id}/signals/{name}"),
        content_type: "application/json",
        body: data.as_bytes(),
    };
    http::send(server.address, &request)?
        .ok()
        .context("the signal was refused")?;
    Ok(())
}

/// Waits for an open task of the execution and ends it by its token.
fn give(server: &Server, id: &str, answer: &str) -> Result<()> {
    let begun = Instant::now();
    let path = format!("/v1/executions/{id}/tasks");
    while begun.elapsed() < PATIENCE {
        let open = http::get(server.address, &path)?;
        let task = open.get("tasks").and_then(|tasks| tasks.get(0));
        let token = task
            .and_then(|task| task.get("token"))
            .and_then(Value::as_str);
        if let (Some(token), Some(task)) = (token, task) {
            show::answered(task, answer);
            let request = Request {
                method: "POST",
                path: &format!("/v1/tasks/{token}/succeed"),
                content_type: "application/json",
                body: answer.as_bytes(),
            };
            http::send(server.address, &request)?
                .ok()
                .context("the token was refused")?;
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("no task of execution {id} waits for an answer")
}

/// What the case expects and did not get.
fn missed(case: &Case, execution: &Value, calls: usize) -> Vec<String> {
    let mut missed = Vec::new();
    let mut text = |name: &str, wanted: &str| {
        let real = execution
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        if real != wanted {
            missed.push(format!("{name} `{wanted}`"));
        }
    };
    text("status", &case.status);
    if let Some(error) = &case.error {
        text("error", error);
    }
    let output = execution.get("output").unwrap_or(&Value::Null);
    if let Some(wanted) = case.output.as_ref().filter(|wanted| !holds(output, wanted)) {
        missed.push(format!("an output with {wanted}"));
    }
    if let Some(wanted) = case.received.filter(|wanted| *wanted != calls) {
        missed.push(format!("{wanted} calls to the receiver, not {calls}"));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_end_than_the_expected_one_is_seen() {
        let case: Case = toml::from_str(
            "title = \"a\"\ninput = \"b\"\ncontent_type = \"c\"\nstatus = \"SUCCEEDED\"\nreceived = 1\n[output]\nd = 1\n",
        )
        .expect("a case");
        let check = |execution: Value, calls: usize, count: usize| {
            assert_eq!(missed(&case, &execution, calls).len(), count, "{execution}");
        };
        check(
            json!({"status": "SUCCEEDED", "output": {"d": 1, "e": 2}}),
            1,
            0,
        );
        check(json!({"status": "SUCCEEDED", "output": {"d": 2}}), 1, 1);
        check(json!({"status": "FAILED", "error": "E"}), 0, 3);
    }
}
