//! Answers for people.

mod event;

use serde_json::Value;

use super::tasks::Task;
use crate::output::{bytes, card, field, print, table};
use crate::written;
pub use event::event;

/// One execution, and as it is written.
pub fn execution(e: &Value, text: &str) {
    let payload =
        |name: &str| written::member(text, name).map(|value| one_line(&written::compact(value)));
    let failure = match (field(e, "error"), field(e, "cause")) {
        (Some(error), Some(cause)) if !cause.is_empty() => Some(format!("{error}: {cause}")),
        (error, _) => error,
    };
    let parked = e.get("parked").and_then(|p| {
        let cause = field(p, "cause")?;
        Some(match field(p, "error") {
            Some(error) => format!("{error}: {cause}"),
            None => cause,
        })
    });
    card(&[
        ("id", field(e, "id")),
        (
            "name",
            field(e, "name").filter(|n| Some(n) != field(e, "id").as_ref()),
        ),
        ("flow", flow_version(e)),
        ("type", field(e, "type")),
        ("status", field(e, "status")),
        ("started", field(e, "started")),
        (
            "parent",
            field(e, "parent").map(|id| named(&id, field(e, "parent_name"))),
        ),
        ("ended", field(e, "ended")),
        ("input", payload("input")),
        ("output", payload("output")),
        ("failed in", field(e, "failed_in")),
        ("error", failure),
        ("parked", parked),
        ("at", active(e)),
        ("waiting for", waiting(e)),
        ("signals kept", signals(e)),
        ("redrives", field(e, "redrive_count").filter(|n| n != "0")),
        ("redriven", field(e, "redriven")),
        (
            "redrive",
            field(e, "redrive_status").filter(|s| s == "REDRIVABLE"),
        ),
        ("transitions", field(e, "transitions")),
        ("fuel", field(e, "fuel")),
    ]);
}

/// Lines about the states that an execution is in; `--json` has more.
const STATES_SHOWN: usize = 20;

/// The states that it is in: those that say the same share a line.
fn active(e: &Value) -> Option<String> {
    let mut left = e.get("active_count").and_then(Value::as_u64)?;
    let mut lines: Vec<(String, String, usize)> = Vec::new();
    for one in items(e, "active") {
        let cell = |name: &str| field(one, name).unwrap_or_default();
        let awaits = field(one, "queue").unwrap_or_else(|| cell("for"));
        let what = format!("{} waits for {awaits}", cell("state"));
        let same = lines.iter_mut().find(|(other, ..)| *other == what);
        if let Some((.., more)) = same {
            *more += 1;
        } else if lines.len() < STATES_SHOWN {
            lines.push((what, when(one), 0));
        } else {
            continue;
        }
        left = left.saturating_sub(1);
    }
    let shown = lines.into_iter().map(|(what, when, more)| match more {
        0 => format!("{what} ({when})"),
        more => format!("{what} ({when}) and {more} more"),
    });
    let mut shown: Vec<String> = shown.collect();
    if left > 0 {
        shown.push(format!("and {left} more states"));
    }
    Some(shown.join("\n")).filter(|text| !text.is_empty())
}

/// Which of them it is, and how long that takes.
fn when(active: &Value) -> String {
    let attempt = field(active, "attempt").filter(|n| n != "0");
    let parts = [
        field(active, "index").map(|n| format!("index {n}")),
        attempt.map(|n| format!("attempt {n}")),
        field(active, "since").map(|at| format!("since {at}")),
        field(active, "until").map(|at| format!("until {at}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What its calls to the outside wait for, most of them with the same words.
fn waiting(e: &Value) -> Option<String> {
    let mut lines: Vec<(String, String, usize)> = Vec::new();
    for call in items(e, "waiting") {
        let (what, since) = (field(call, "for")?, field(call, "since")?);
        match lines.iter_mut().find(|(other, ..)| *other == what) {
            Some((.., more)) => *more += 1,
            None => lines.push((what, since, 0)),
        }
    }
    let shown = lines.into_iter().map(|(what, since, more)| match more {
        0 => format!("{what} (since {since})"),
        more => format!("{what} (since {since}) and {more} more"),
    });
    Some(shown.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
}

/// The signals that it keeps: those of one name together.
fn signals(e: &Value) -> Option<String> {
    let kept = e.get("signals_kept").and_then(Value::as_u64)?;
    let mut names: Vec<(String, u64)> = Vec::new();
    let mut told = 0;
    for name in items(e, "signals").filter_map(|signal| field(signal, "name")) {
        told += 1;
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, many)) => *many += 1,
            None => names.push((name, 1)),
        }
    }
    let mut parts: Vec<String> = names
        .into_iter()
        .map(|(name, many)| match many {
            1 => name,
            many => format!("{name} ({many})"),
        })
        .collect();
    if kept > told {
        parts.push(format!("and {} more", kept - told));
    }
    Some(format!("{kept}: {}", parts.join(", ")))
}

/// An execution as people find it again: its name, if it has one of its own, and its id.
pub fn named(id: &str, name: Option<String>) -> String {
    match name.filter(|name| name != id) {
        Some(name) => format!("{name} ({id})"),
        None => id.to_owned(),
    }
}

fn flow_version(e: &Value) -> Option<String> {
    Some(format!("{}@{}", field(e, "flow")?, field(e, "version")?))
}

/// A list of executions.
pub fn executions(page: &Value) {
    let titles = ["ID", "FLOW", "TYPE", "STATUS", "STARTED", "NAME"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for e in items(page, "executions") {
        let cell = |name: &str| field(e, name).unwrap_or_default();
        rows.push(vec![
            cell("id"),
            flow_version(e).unwrap_or_default(),
            field(e, "type").unwrap_or_else(|| "STANDARD".to_owned()),
            cell("status"),
            cell("started"),
            cell("name"),
        ]);
    }
    table(&rows);
}

/// Longest text in an event's line, in characters; `--json` has the whole.
const LINE_CHARS: usize = 1_000;

/// The beginning of a text on one line, with a mark where it is cut.
fn one_line(text: &str) -> String {
    let mut chars = text.chars();
    let mut line: String = chars
        .by_ref()
        .take(LINE_CHARS)
        .map(|c| if c == '\n' { ' ' } else { c })
        .collect();
    if chars.next().is_some() {
        line.push_str("… (cut; --json has the whole)");
    }
    line
}

/// One line of a log.
pub fn log_line(line: &Value) -> String {
    let cell = |name: &str| field(line, name).unwrap_or_default();
    let message = cell("message").replace('\n', " ");
    format!(
        "{}  {:5}  {}  {message}",
        cell("at"),
        cell("level"),
        cell("state")
    )
}

/// One module.
pub fn module(m: &Value) {
    let size = |name: &str| m.get(name).and_then(Value::as_u64).map(bytes);
    card(&[
        ("name", field(m, "name")),
        ("version", field(m, "version")),
        ("digest", field(m, "digest")),
        ("uploaded", field(m, "uploaded")),
        ("wasm", size("wasm_bytes")),
        ("compiled", size("artifact_bytes")),
        (
            "compiled in",
            field(m, "compile_ms").map(|ms| format!("{ms} ms")),
        ),
        ("imports", names(m, "imports")),
        ("may reach", Some(reaches(m))),
        ("configuration", configuration(m)),
        ("exports", names(m, "exports")),
        ("used by", names(m, "used_by")),
    ]);
}

/// What a module reads as its configuration, by key.
fn configuration(m: &Value) -> Option<String> {
    let config = m.get("grants")?.get("config")?.as_object()?;
    let pairs = config.iter().map(|(key, value)| format!("{key} = {value}"));
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty()).then(|| one_line(&pairs.join(", ")))
}

/// What a module may reach, and what it imports for nothing.
fn reaches(m: &Value) -> String {
    let grants: stepwell_types::Grants = m
        .get("grants")
        .and_then(|g| serde_json::from_value(g.clone()).ok())
        .unwrap_or_default();
    let lines = grants.beyond(&stepwell_types::Grants::default());
    let granted = if lines.is_empty() {
        "nothing".to_owned()
    } else {
        lines.join(", ")
    };
    let idle = ungranted(m, &grants);
    if idle.is_empty() {
        return granted;
    }
    let idle = idle.join(", ");
    format!("{granted} (it imports {idle}: each call is refused)")
}

/// The interfaces to the outside that a module imports, and of which nothing was granted.
fn ungranted<'a>(m: &'a Value, grants: &stepwell_types::Grants) -> Vec<&'a str> {
    let imports = items(m, "imports").filter_map(Value::as_str);
    let idle = |name: &&str| match name.split_once('@').map(|(interface, _)| interface) {
        Some("wasi:http/outgoing-handler") => grants.http.is_empty(),
        Some("wasi:keyvalue/store") => grants.key_value.is_empty(),
        Some("wasi:blobstore/blobstore") => grants.buckets.is_empty(),
        Some("stepwell:secrets/secrets") => grants.secrets.is_empty(),
        Some("stepwell:container/containers") => grants.images.is_empty(),
        Some("stepwell:machine/machines") => grants.machines.is_empty(),
        Some("stepwell:execution/executions") => grants.flows.is_empty(),
        _ => false,
    };
    imports.filter(idle).collect()
}

/// What an upload changed in what a module imports and may reach, or a publish in what a flow may.
pub fn difference(uploaded: &Value) {
    for (sign, name) in [("+", "gained"), ("-", "lost")] {
        for line in items(uploaded, name).filter_map(Value::as_str) {
            print(&format!("  {sign} {line}"));
        }
    }
    let idle = ungranted(uploaded, &stepwell_types::Grants::default());
    if uploaded.get("grants").is_none() && !idle.is_empty() {
        let idle = idle.join(", ");
        crate::output::remark(&format!(
            "it imports {idle} and was granted nothing: each call there will be refused; give it --grants FILE"
        ));
    }
}

/// A list of modules.
pub fn modules(list: &[Value]) {
    let titles = ["NAME", "VERSION", "SIZE", "UPLOADED", "DIGEST"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for m in list {
        let cell = |name: &str| field(m, name).unwrap_or_default();
        let size = m.get("wasm_bytes").and_then(Value::as_u64).map(bytes);
        rows.push(vec![
            cell("name"),
            cell("version"),
            size.unwrap_or_default(),
            cell("uploaded"),
            cell("digest").chars().take(12).collect(),
        ]);
    }
    table(&rows);
}

/// Buckets.
pub fn buckets(answer: &Value) {
    let mut rows = vec![["NAME", "ORIGIN", "WRITE"].map(str::to_owned).to_vec()];
    for b in items(answer, "buckets") {
        let cell = |name: &str| field(b, name).unwrap_or_default();
        rows.push(["name", "origin", "write"].map(cell).to_vec());
    }
    table(&rows);
}

/// Secrets, without their values.
pub fn secrets(list: &[Value]) {
    let mut rows = vec![
        ["NAME", "VERSION", "SET", "KEPT"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for secret in list {
        let versions: Vec<&Value> = items(secret, "versions").collect();
        let newest = |name: &str| {
            versions
                .last()
                .and_then(|v| field(v, name))
                .unwrap_or_default()
        };
        rows.push(vec![
            field(secret, "name").unwrap_or_default(),
            newest("version"),
            newest("set"),
            versions.len().to_string(),
        ]);
    }
    table(&rows);
}

/// Namespaces of what steps keep.
pub fn namespaces(list: &[Value]) {
    let titles = ["NAMESPACE", "KEYS", "SIZE", "KEYS MAX", "SIZE MAX"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for n in list {
        let cell = |name: &str| field(n, name).unwrap_or_default();
        let size =
            |name: &str| crate::output::bytes(n.get(name).and_then(Value::as_u64).unwrap_or(0));
        rows.push(vec![
            cell("name"),
            cell("keys"),
            size("bytes"),
            cell("keys_max"),
            size("bytes_max"),
        ]);
    }
    table(&rows);
}

/// Objects of a bucket.
pub fn objects(list: &[Value]) {
    let mut rows = vec![["KEY", "SIZE", "MODIFIED"].map(str::to_owned).to_vec()];
    for o in list {
        let cell = |name: &str| field(o, name).unwrap_or_default();
        let size = o.get("size").and_then(Value::as_u64).unwrap_or(0);
        let size = crate::output::bytes(size);
        rows.push(vec![cell("key"), size, cell("modified")]);
    }
    table(&rows);
}

/// A list of flows or of versions.
pub fn flows(list: &[Value]) {
    let titles = ["NAME", "VERSION", "TYPE", "PUBLISHED", "ENDPOINTS"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for f in list {
        let cell = |name: &str| field(f, name).unwrap_or_default();
        rows.push(vec![
            cell("name"),
            cell("version"),
            cell("type"),
            cell("published"),
            endpoints(f).join(", "),
        ]);
    }
    table(&rows);
}

/// One flow, with its definition at the end.
pub fn flow(f: &Value) {
    let modules = items(f, "modules")
        .filter_map(|m| {
            let digest: String = field(m, "digest")?.chars().take(12).collect();
            Some(format!("{} ({digest})", field(m, "name")?))
        })
        .collect::<Vec<_>>()
        .join(", ");
    let endpoints = endpoints(f).join(", ");
    let pairs = |name: &str| {
        let members = f.get(name).and_then(Value::as_object)?;
        let pair = |(name, value): (&String, &Value)| match value.as_str() {
            Some(text) => format!("{name} = {text}"),
            None => format!("{name} = {value}"),
        };
        Some(members.iter().map(pair).collect::<Vec<_>>().join(", "))
    };
    card(&[
        ("name", field(f, "name")),
        ("version", field(f, "version")),
        ("type", field(f, "type")),
        ("histories", field(f, "history")),
        ("published", field(f, "published")),
        ("digest", field(f, "digest")),
        ("modules", Some(modules).filter(|m| !m.is_empty())),
        ("set", pairs("substitutions")),
        ("bound", pairs("resources")),
        ("may reach", f.get("grants").map(|_| reaches(f))),
        ("endpoints", Some(endpoints).filter(|e| !e.is_empty())),
    ]);
    if let Some(definition) = field(f, "definition") {
        print("");
        print(definition.trim_end());
    }
}

/// A flow's endpoints as the user writes them, with the server's prefix.
pub fn endpoints(f: &Value) -> Vec<String> {
    items(f, "triggers")
        .filter_map(|t| {
            let wait = t.get("wait").and_then(Value::as_bool).unwrap_or(true);
            let mode = if wait { "" } else { "async " };
            Some(format!(
                "{mode}{} /t{}",
                field(t, "method")?,
                field(t, "path")?
            ))
        })
        .collect()
}

/// One problem of a definition.
pub fn diagnostic(d: &Value) -> String {
    let cell = |name: &str| field(d, name).unwrap_or_default();
    let pointer = field(d, "pointer").filter(|p| !p.is_empty());
    let hint = field(d, "hint")
        .map(|h| format!("; {h}"))
        .unwrap_or_default();
    format!(
        "{}:{}: {}[{}] {} (at {}){hint}",
        cell("line"),
        cell("column"),
        cell("severity"),
        cell("code"),
        cell("message"),
        pointer.as_deref().unwrap_or("/"),
    )
}

/// Open tasks, of several executions with whose they are.
pub fn tasks(list: &[Task]) {
    for Task { text, value: task } in list {
        let mut pairs = Vec::new();
        if let Some(id) = field(task, "execution") {
            let execution = named(&id, field(task, "name"));
            pairs.push(("execution", Some(execution)));
            pairs.push(("flow", flow_version(task)));
        }
        let input = written::member(text, "input").map(|input| one_line(&written::compact(input)));
        pairs.extend([
            ("state", field(task, "state")),
            ("token", field(task, "token")),
            ("input", input),
            ("deadline", field(task, "deadline")),
        ]);
        card(&pairs);
        print("");
    }
    if list.is_empty() {
        crate::output::remark("no task waits for a token");
    }
}

/// A task that a worker took, and as it is written.
pub fn activity_task(task: &Value, text: &str) {
    card(&[
        ("token", field(task, "token")),
        ("execution", field(task, "execution")),
        ("flow", field(task, "flow")),
        (
            "input",
            written::member(text, "input").map(written::compact),
        ),
    ]);
}

/// Targets outside.
pub fn targets(answer: &Value) {
    let columns = [
        "kind",
        "name",
        "circuit",
        "under_way",
        "waiting",
        "calls",
        "failed",
        "refused",
        "connections",
    ];
    let titles = columns.iter().map(|c| c.to_uppercase().replace('_', " "));
    let mut rows: Vec<Vec<String>> = vec![titles.chain(["UNTIL".to_owned()]).collect()];
    for t in items(answer, "targets") {
        let cell = |name: &&str| field(t, name).unwrap_or_default();
        let until = field(t, "open_until").or_else(|| field(t, "paused_until"));
        let cells = columns.iter().map(cell);
        rows.push(cells.chain([until.unwrap_or_default()]).collect());
    }
    table(&rows);
}

/// The usage report.
pub fn usage(list: &[Value]) {
    let columns = [
        "flow",
        "day",
        "started",
        "transitions",
        "attempts",
        "fuel",
        "step_us",
        "bytes",
    ];
    let mut rows = vec![columns.map(str::to_uppercase).to_vec()];
    for row in list {
        rows.push(columns.map(|c| field(row, c).unwrap_or_default()).to_vec());
    }
    table(&rows);
}

/// The members of a list.
pub fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn names(value: &Value, name: &str) -> Option<String> {
    let all: Vec<&str> = items(value, name).filter_map(Value::as_str).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_wait_for_the_same_share_a_line() {
        let state = |state: &str, awaits: &str, index: u32| {
            serde_json::json!({"state": state, "entry": index, "attempt": 0, "index": index,
                "since": "10:00", "for": awaits})
        };
        let mut retried = state("C", "the end of http:request", 7);
        retried["attempt"] = 2.into();
        retried["until"] = "11:00".into();
        retried["queue"] = "rate limit of host a.example".into();
        let token = |index| state("T", "its token", index);
        let execution = serde_json::json!({"active_count": 9, "active": [token(0), retried, token(1), token(2)]});
        assert_eq!(
            active(&execution).as_deref(),
            Some(
                "T waits for its token (index 0, since 10:00) and 2 more\n\
                 C waits for rate limit of host a.example (index 7, attempt 2, since 10:00, until 11:00)\n\
                 and 5 more states"
            )
        );
        assert_eq!(active(&serde_json::json!({})), None);
    }

    #[test]
    fn every_interface_of_which_nothing_is_granted_is_named() {
        let module = serde_json::json!({"imports": ["stepwell:log/log@1.0.0", "wasi:http/types@0.2.12",
            "wasi:http/outgoing-handler@0.2.12", "stepwell:secrets/secrets@1.0.0",
            "stepwell:execution/executions@1.0.0"], "grants": {"secrets": ["pin"]}});
        assert_eq!(
            reaches(&module),
            "secret pin (it imports wasi:http/outgoing-handler@0.2.12, \
             stepwell:execution/executions@1.0.0: each call is refused)"
        );
        assert_eq!(reaches(&serde_json::json!({})), "nothing");
    }

    #[test]
    fn calls_that_wait_for_the_same_share_a_line() {
        let call = |what: &str| serde_json::json!({"for": what, "since": "10:00"});
        let waiting_for = [
            "host a.example:8080",
            "host a.example",
            "host a.example:8080",
        ];
        let execution = serde_json::json!({"waiting": waiting_for.map(call)});
        assert_eq!(
            waiting(&execution).as_deref(),
            Some("host a.example:8080 (since 10:00) and 1 more; host a.example (since 10:00)")
        );
        assert_eq!(waiting(&serde_json::json!({})), None);
    }
}
