//! The client commands themselves.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use super::{Remote, follow, parse, show};
use crate::args::{Flow, List, Module, Redrive, Signal, Start, Token, Which};
use crate::exit::{Exit, Trouble};
use crate::system::SystemClock;
use crate::{args, input, output, written};

/// Rows asked for at a time.
const PAGE: &str = "1000";
/// Seconds of one wait; longer ones are asked again.
const WAIT: u64 = 60;
/// Pause after a server could not be reached.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// `module …`
pub fn module(remote: &Remote, command: Module) -> Result<Exit, Trouble> {
    match command {
        Module::Push { name, file, grants } => push(remote, &name, &file, &grants),
        Module::List => {
            let list = all(remote, "modules")?;
            whole(remote, "modules", list, show::modules)
        }
        Module::Describe { name, version } => {
            let request = remote.get(&["modules", &name]).query(&version_of(version));
            one(
                remote,
                &remote.text(request, &["name", "digest"])?,
                show::module,
            )
        }
        Module::Delete { name } => {
            remote.nothing(remote.request(Method::DELETE, &["modules", &name]))?;
            done(remote, &format!("module {name} is gone"))
        }
    }
}

fn push(remote: &Remote, name: &str, file: &Path, grants: &args::Grants) -> Result<Exit, Trouble> {
    let mut query = confirmed(grants);
    if let Some(file) = &grants.grants {
        query.push(("grants", manifest(file)?.to_string()));
    }
    let request = remote
        .request(Method::PUT, &["modules", name])
        .query(&query)
        .header("content-type", "application/wasm");
    let text = remote.text(
        with_file(request, file)?,
        &["name", "version", "wasm_bytes"],
    )?;
    if remote.json {
        output::print_json(&text);
        return Ok(Exit::Ok);
    }
    let answer = parse(&text)?;
    let cell = |name: &str| output::field(&answer, name).unwrap_or_default();
    let new = answer.get("new").and_then(Value::as_bool).unwrap_or(true);
    output::print(&format!(
        "{}@{} {} ({}, compiled in {} ms)",
        cell("name"),
        cell("version"),
        if new { "is new" } else { "was there already" },
        output::bytes(
            answer
                .get("wasm_bytes")
                .and_then(Value::as_u64)
                .unwrap_or(0)
        ),
        cell("compile_ms"),
    ));
    show::difference(&answer);
    Ok(Exit::Ok)
}

fn confirmed(grants: &args::Grants) -> Vec<(&'static str, String)> {
    let wider = grants.confirm_grants.then_some("true");
    wider
        .map(|yes| ("confirm_grants", yes.to_owned()))
        .into_iter()
        .collect()
}

/// A manifest as the API takes it.
fn manifest(file: &Path) -> Result<Value, Trouble> {
    Ok(json!(crate::grants::read(file)?))
}

/// The file as the body, streamed.
pub(super) fn with_file(request: RequestBuilder, file: &Path) -> Result<RequestBuilder, Trouble> {
    let failed =
        |e: std::io::Error| Trouble::system(format!("cannot read {}: {e}", file.display()));
    let open = std::fs::File::open(file).map_err(failed)?;
    let about = open.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Trouble::system(format!(
            "{} is no regular file",
            file.display()
        )));
    }
    let request = request.header("content-length", about.len());
    Ok(request.body(tokio::fs::File::from_std(open)))
}

/// A definition as a body, with its type: alone, or with what fills it in.
fn definition(
    text: String,
    filling: &args::Filling,
    grants: Option<&Path>,
) -> Result<(&'static str, String), Trouble> {
    let substitutions = crate::filling::values(filling)?;
    let resources = crate::filling::bindings(filling.resources.as_deref())?;
    if substitutions.is_empty() && resources.is_empty() && grants.is_none() {
        return Ok(("text/plain; charset=utf-8", text));
    }
    let mut given = json!({"definition": text,
        "substitutions": substitutions, "resources": resources});
    if let Some(file) = grants {
        given["grants"] = manifest(file)?;
    }
    Ok(("application/vnd.stepwell.publish+json", given.to_string()))
}

/// `validate --server`: 0 when it could be published there, 1 when not.
pub fn validate(remote: &Remote, args: &args::Validate) -> Result<Exit, Trouble> {
    let text = input::text(&args.file, DEFINITION_BYTES_MAX)?;
    let (kind, body) = definition(text.clone(), &args.filling, None)?;
    let mut request = remote.post(&["flows:validate"]);
    if args.express {
        request = request.query(&[("type", "express")]);
    }
    let request = request.header("content-type", kind).body(body);
    let answer = remote.text(request, &["valid", "diagnostics"])?;
    let verdict = parse(&answer)?;
    let valid = verdict.get("valid").and_then(Value::as_bool) == Some(true);
    if remote.json {
        output::print_json(&answer);
    } else {
        let file = args.file.display().to_string();
        for d in show::items(&verdict, "diagnostics") {
            let number = |name| d.get(name).and_then(Value::as_u64).unwrap_or(0);
            let word = |name| d.get(name).and_then(Value::as_str).unwrap_or_default();
            crate::validate::show_one(
                &file,
                &text,
                &crate::validate::Found {
                    severity: word("severity"),
                    code: word("code"),
                    pointer: word("pointer"),
                    line: u32::try_from(number("line")).unwrap_or(0),
                    column: u32::try_from(number("column")).unwrap_or(0),
                    message: word("message"),
                    hint: d.get("hint").and_then(Value::as_str),
                },
            );
        }
        if valid {
            output::print(&format!("{file}: valid"));
        }
    }
    Ok(if valid { Exit::Ok } else { Exit::Failed })
}

/// `flow …`
pub fn flow(remote: &Remote, command: Flow) -> Result<Exit, Trouble> {
    match command {
        Flow::Publish {
            name,
            file,
            filling,
            trigger,
            r#type,
            history,
            grants,
        } => {
            let text = input::text(&file, DEFINITION_BYTES_MAX)?;
            let mut query = confirmed(&grants);
            query.extend(trigger.into_iter().map(|t| ("trigger", t)));
            query.extend(r#type.map(|t| ("type", t)));
            query.extend(history.map(|h| ("history", h)));
            let body = definition(text, &filling, grants.grants.as_deref())?;
            publish(remote, &name, &file, body, &query)
        }
        Flow::List => {
            let list = all(remote, "flows")?;
            whole(remote, "flows", list, show::flows)
        }
        Flow::Describe { name, version } => {
            let request = remote.get(&["flows", &name]).query(&version_of(version));
            one(
                remote,
                &remote.text(request, &["name", "version"])?,
                show::flow,
            )
        }
        Flow::Delete { name } => {
            remote.nothing(remote.request(Method::DELETE, &["flows", &name]))?;
            done(remote, &format!("flow {name} is gone"))
        }
        Flow::Versions { name } => {
            let text = remote.text(remote.get(&["flows", &name, "versions"]), &["versions"])?;
            one(remote, &text, |v| {
                let list: Vec<Value> = show::items(v, "versions").cloned().collect();
                show::flows(&list);
            })
        }
    }
}

/// The picture of a published flow.
pub fn graph(
    remote: &Remote,
    name: &str,
    version: Option<u32>,
    format: args::Format,
) -> Result<Exit, Trouble> {
    let request = remote.get(&["flows", name, "graph"]);
    let request = request.query(&version_of(version));
    let text = remote.whole(request.query(&[("format", format.name())]))?;
    let begins = match format {
        args::Format::Svg => "<svg ",
        args::Format::Mermaid => "flowchart",
        args::Format::Dot => "digraph",
    };
    if !text.starts_with(begins) {
        return Err(remote.stranger("its answer is no picture"));
    }
    crate::graph::show(format, &text, remote.json);
    Ok(Exit::Ok)
}

fn publish(
    remote: &Remote,
    name: &str,
    file: &Path,
    (kind, body): (&str, String),
    query: &[(&str, String)],
) -> Result<Exit, Trouble> {
    let request = remote
        .request(Method::PUT, &["flows", name])
        .query(query)
        .header("content-type", kind)
        .body(body);
    let text = remote.text(request, &["name", "version"])?;
    if remote.json {
        output::print_json(&text);
        return Ok(Exit::Ok);
    }
    let answer = parse(&text)?;
    for d in show::items(&answer, "diagnostics") {
        output::remark(&format!("{}:{}", file.display(), show::diagnostic(d)));
    }
    let version = output::field(&answer, "version").unwrap_or_default();
    let new = answer.get("new").and_then(Value::as_bool).unwrap_or(true);
    let what = if new {
        "is published"
    } else {
        "was there already"
    };
    let kind = match output::field(&answer, "type").as_deref() {
        Some("express") => " (express)",
        _ => "",
    };
    output::print(&format!("{name}@{version} {what}{kind}"));
    show::difference(&answer);
    for endpoint in show::endpoints(&answer) {
        output::print(&format!("  {endpoint}"));
    }
    Ok(Exit::Ok)
}

/// `start`
pub fn start(remote: &Remote, args: Start) -> Result<Exit, Trouble> {
    let body = input::json("--input", &args.input)?;
    let mut query = Vec::new();
    if let Some(name) = args.name {
        query.push(("name", name));
    }
    if let Some(version) = args.version {
        query.push(("version", version.to_string()));
    }
    if args.wait.is_some() {
        // Answered as soon as the start is durable, so that the id is known whatever happens
        // next; for an express execution, when it has ended.
        query.push(("wait", "0".to_owned()));
    }
    let request = remote
        .post(&["flows", &args.flow, "executions"])
        .query(&query)
        .header("content-type", "application/json")
        .body(body.text().to_owned());
    let text = remote.text(request, &["id"])?;
    until_end(remote, text, args.wait)
}

/// Prints the id of what an answer accepted, or waits so many seconds for its end, also over
/// a restart of the server. 0: as long as it takes.
fn until_end(remote: &Remote, text: String, wait: Option<u64>) -> Result<Exit, Trouble> {
    let answer = parse(&text)?;
    let id = output::field(&answer, "id").unwrap_or_default();
    let only_id = || {
        if remote.json {
            output::print_json(&text);
        } else {
            output::print(&id);
        }
    };
    let Some(wait) = wait else {
        only_id();
        return Ok(Exit::Ok);
    };
    if has_ended(&answer) {
        return Ok(ended(remote, &id, &text, &answer));
    }
    match awaited(remote, &id, wait, true) {
        Ok((text, answer)) => Ok(ended(remote, &id, &text, &answer)),
        Err(gone) => {
            if gone.exit == Exit::Unreachable {
                // With it one can go on later.
                only_id();
            }
            Err(gone)
        }
    }
}

/// An execution when it has ended or the seconds are over, as the server writes it and as
/// a value. Only a server that was there is waited for: one that is not `known` is looked at first.
fn awaited(
    remote: &Remote,
    id: &str,
    wait: u64,
    mut known: bool,
) -> Result<(String, Value), Trouble> {
    let begun = SystemClock.steady_us();
    let mut away = false;
    loop {
        let waited = (SystemClock.steady_us() - begun) / 1_000_000;
        let left = match wait {
            0 => WAIT,
            _ => wait.saturating_sub(waited).min(WAIT),
        };
        let asked = if known { left } else { 0 };
        let request = remote.get(&["executions", id]).query(&[("wait", asked)]);
        match remote.text(request, &["id", "status"]) {
            Ok(text) => {
                let answer = parse(&text)?;
                if has_ended(&answer) || left == 0 {
                    return Ok((text, answer));
                }
                (away, known) = (false, true);
            }
            Err(gone) if known && gone.exit == Exit::Unreachable && left > 0 => {
                if !away {
                    let why = gone.message.lines().next().unwrap_or_default();
                    output::remark(&format!("{why}; looking for {id} again"));
                }
                away = true;
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

fn has_ended(execution: &Value) -> bool {
    output::field(execution, "status").is_some_and(|s| s != "RUNNING")
}

/// What a command that waited says by its exit status.
fn how_it_ended(execution: &Value) -> Exit {
    match output::field(execution, "status").as_deref() {
        Some("SUCCEEDED") => Exit::Ok,
        Some("RUNNING") | None => Exit::StillRunning,
        Some(_) => Exit::Failed,
    }
}

fn ended(remote: &Remote, id: &str, text: &str, execution: &Value) -> Exit {
    let exit = how_it_ended(execution);
    if remote.json {
        output::print_json(text);
        return exit;
    }
    match (exit, written::member(text, "output")) {
        (Exit::Ok, Some(result)) => output::print_json(&written::compact(result)),
        (Exit::StillRunning, _) => {
            output::print(id);
            output::remark(&format!(
                "it still runs; `stepwell describe {id}` shows how it stands"
            ));
        }
        _ => {
            let cell = |name: &str| output::field(execution, name).unwrap_or_default();
            let (status, error, cause) = (cell("status"), cell("error"), cell("cause"));
            let why = [error, cause].into_iter().filter(|text| !text.is_empty());
            let why = why.collect::<Vec<_>>().join(": ");
            let who = show::named(id, output::field(execution, "name"));
            output::complain(&format!("{who} {status}: {why}"));
            output::remark(&format!(
                "  hint: `stepwell history {id}` shows what happened, `stepwell logs {id}` what its steps said"
            ));
        }
    }
    exit
}

/// `describe`
pub fn describe(remote: &Remote, which: &Which, wait: Option<u64>) -> Result<Exit, Trouble> {
    let id = &remote.id_of(&which.id, which.flow.as_ref())?;
    let Some(wait) = wait else {
        let text = remote.text(remote.get(&["executions", id]), &["id", "status"])?;
        return one(remote, &text, |e| show::execution(e, &text));
    };
    let (text, execution) = awaited(remote, id, wait, false)?;
    one(remote, &text, |e| show::execution(e, &text))?;
    Ok(how_it_ended(&execution))
}

/// `history`
pub fn history(
    remote: &Remote,
    which: &Which,
    live: bool,
    after: u64,
    data: bool,
) -> Result<Exit, Trouble> {
    let id = &remote.id_of(&which.id, which.flow.as_ref())?;
    if live {
        return follow::follow(remote, id, after, data);
    }
    let mut after = after.to_string();
    loop {
        let request = remote
            .get(&["executions", id, "history"])
            .query(&[("after", after.as_str()), ("limit", PAGE)]);
        let page = remote.value(request, &["events"])?;
        for event in show::items(&page, "events") {
            if remote.json {
                output::print_json_line(&event.to_string());
            } else {
                output::print(&show::event(event, data));
            }
        }
        match output::field(&page, "next") {
            Some(next) => after = next,
            None => return Ok(Exit::Ok),
        }
    }
}

/// `cancel`
pub fn cancel(
    remote: &Remote,
    which: &Which,
    error: Option<String>,
    cause: Option<String>,
) -> Result<Exit, Trouble> {
    let id = &remote.id_of(&which.id, which.flow.as_ref())?;
    let request = remote
        .post(&["executions", id, "cancel"])
        .json(&ending(error, cause));
    let text = remote.text(request, &["status"])?;
    if remote.json {
        output::print_json(&text);
        return Ok(Exit::Ok);
    }
    let execution = parse(&text)?;
    let status = output::field(&execution, "status").unwrap_or_default();
    let who = show::named(id, output::field(&execution, "name"));
    done(remote, &format!("{who} is {status}"))
}

/// `signal`
pub fn signal(remote: &Remote, args: &Signal) -> Result<Exit, Trouble> {
    let (execution, name) = (args.execution.as_str(), args.name.as_str());
    let mut request = match &args.flow {
        None => remote.post(&["executions", execution, "signals", name]),
        Some(flow) => remote.post(&["flows", flow, "executions", execution, "signals", name]),
    };
    if let Some(data) = &args.data {
        let body = input::json("--data", data)?;
        request = request
            .header("content-type", "application/json")
            .body(body.text().to_owned());
    }
    if let Some(key) = &args.key {
        request = request.header("idempotency-key", key);
    }
    remote.nothing(request)?;
    done(remote, &format!("{name} is with {execution}"))
}

/// `redrive`
pub fn redrive(remote: &Remote, args: Redrive) -> Result<Exit, Trouble> {
    let id = remote.id_of(&args.which.id, args.which.flow.as_ref())?;
    let mut query = Vec::new();
    if let Some(state) = args.state {
        query.push(("state", state));
    }
    if let Some(version) = args.version {
        query.push(("version", version.to_string()));
    }
    let mut request = remote.post(&["executions", &id, "redrive"]).query(&query);
    if let Some(input) = &args.input {
        let body = input::json("--input", input)?;
        request = request
            .header("content-type", "application/json")
            .body(body.text().to_owned());
    }
    let text = remote.text(request, &["id"])?;
    until_end(remote, text, args.wait)
}

/// `list`
pub fn list(remote: &Remote, args: &List) -> Result<Exit, Trouble> {
    let mut query = vec![("limit", args.limit.to_string())];
    let given = [
        ("flow", &args.flow),
        ("parent", &args.parent),
        ("status", &args.status),
        ("after", &args.after),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.push((name, value.clone()));
        }
    }
    let text = remote.text(remote.get(&["executions"]).query(&query), &["executions"])?;
    one(remote, &text, |page| {
        show::executions(page);
        if let Some(next) = output::field(page, "next") {
            output::remark(&format!("more with --after {next}"));
        }
    })
}

/// `token …`
pub fn token(remote: &Remote, command: Token) -> Result<Exit, Trouble> {
    let (request, said) = match command {
        Token::Succeed { token, output } => {
            let body = input::json("--output", &output)?.text().to_owned();
            let request = remote
                .post(&["tasks", &token, "succeed"])
                .header("content-type", "application/json")
                .body(body);
            (request, "the task has succeeded")
        }
        Token::Fail {
            token,
            error,
            cause,
        } => {
            let request = remote.post(&["tasks", &token, "fail"]);
            (request.json(&ending(error, cause)), "the task has failed")
        }
        Token::Heartbeat { token } => {
            let request = remote.post(&["tasks", &token, "heartbeat"]);
            (request, "the task's heartbeat is noted")
        }
    };
    remote.nothing(request)?;
    done(remote, said)
}

/// `poll`: asks again and again, each time for as long as a server waits.
pub fn poll(
    remote: &Remote,
    activity: &str,
    worker: Option<&str>,
    seconds: u64,
) -> Result<Exit, Trouble> {
    let mut left = seconds;
    loop {
        let wait = left.min(WAIT);
        left -= wait;
        let mut query = vec![("wait", wait.to_string())];
        query.extend(worker.map(|w| ("worker", w.to_owned())));
        let request = remote.post(&["activities", activity, "poll"]).query(&query);
        let text = remote.whole(request)?;
        if !text.is_empty() {
            remote.expect(&text, &["token", "input"])?;
            return one(remote, &text, |task| show::activity_task(task, &text));
        }
        if left == 0 {
            match remote.json {
                true => output::print_json_line("null"),
                false => output::remark("no task came in time"),
            }
            return Ok(Exit::StillRunning);
        }
    }
}

/// `targets`
pub fn targets(remote: &Remote) -> Result<Exit, Trouble> {
    let text = remote.text(remote.get(&["targets"]), &["targets"])?;
    one(remote, &text, show::targets)
}

/// `usage`
pub fn usage(remote: &Remote, flow: Option<&str>) -> Result<Exit, Trouble> {
    let query: Vec<(&str, &str)> = flow.map(|f| ("flow", f)).into_iter().collect();
    let list = pages(remote, "usage", || remote.get(&["usage"]).query(&query))?;
    whole(remote, "usage", list, show::usage)
}

fn version_of(version: Option<u32>) -> Vec<(&'static str, u32)> {
    version.map(|v| ("version", v)).into_iter().collect()
}

fn ending(error: Option<String>, cause: Option<String>) -> Value {
    let mut body = serde_json::Map::new();
    for (name, value) in [("error", error), ("cause", cause)] {
        if let Some(value) = value {
            body.insert(name.to_owned(), value.into());
        }
    }
    Value::Object(body)
}

/// All pages of a list.
pub(super) fn all(remote: &Remote, what: &str) -> Result<Vec<Value>, Trouble> {
    pages(remote, what, || remote.get(&[what]))
}

/// All pages of what these requests ask for.
pub(super) fn pages(
    remote: &Remote,
    what: &str,
    begin: impl Fn() -> RequestBuilder,
) -> Result<Vec<Value>, Trouble> {
    let mut out = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut request = begin().query(&[("limit", PAGE)]);
        if let Some(after) = &after {
            request = request.query(&[("after", after)]);
        }
        let page = remote.value(request, &[what])?;
        out.extend(show::items(&page, what).cloned());
        after = output::field(&page, "next");
        if after.is_none() {
            return Ok(out);
        }
    }
}

pub(super) fn whole(
    remote: &Remote,
    what: &str,
    list: Vec<Value>,
    people: impl FnOnce(&[Value]),
) -> Result<Exit, Trouble> {
    if remote.json {
        output::print_json(&json!({ what: list }).to_string());
    } else {
        people(&list);
    }
    Ok(Exit::Ok)
}

pub(super) fn one(
    remote: &Remote,
    text: &str,
    people: impl FnOnce(&Value),
) -> Result<Exit, Trouble> {
    if remote.json {
        output::print_json(text);
    } else {
        people(&parse(text)?);
    }
    Ok(Exit::Ok)
}

/// A command whose answer is empty.
pub(super) fn done(remote: &Remote, said: &str) -> Result<Exit, Trouble> {
    if remote.json {
        output::print_json_line("{}");
    } else {
        output::print(said);
    }
    Ok(Exit::Ok)
}
