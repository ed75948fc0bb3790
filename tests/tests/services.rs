//! AWS's resource names, with real modules, a real receiver, workers and a kill.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use stepwell_tests::api::Api;
use stepwell_tests::bridges::ask::started;
use stepwell_tests::guests;

fn one_task(task: &Value) -> String {
    let mut task = task.clone();
    task["Type"] = json!("Task");
    task["End"] = json!(true);
    json!({"StartAt": "T", "States": {"T": task}}).to_string()
}

fn kinds(api: &Api, id: &str) -> Result<Vec<String>> {
    let events = api.get(&format!("/v1/executions/{id}/history"))?.body;
    let events = events["events"].as_array().context("events")?.clone();
    let kind = |e: &Value| e["type"].as_str().unwrap_or_default().to_owned();
    Ok(events.iter().map(kind).collect())
}

#[test]
fn lambda_names_run_modules() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    api.upload("echo", &guests::program("echo")?)?;
    api.upload("fail", &guests::program("fail")?)?;
    let invoke = "arn:aws:states:::lambda:invoke";
    let chosen = json!({"Resource": invoke,
        "Parameters": {"FunctionName.$": "$.f", "Payload.$": "$.p"}});
    api.publish("chosen", &one_task(&chosen))?;
    let ended = api.run("chosen", r#"{"f": "echo", "p": {"a": 1}}"#)?;
    assert_eq!(ended["output"]["Payload"], json!({"a": 1}), "{ended}");
    assert_eq!(ended["output"]["StatusCode"], 200);
    assert_eq!(ended["output"]["ExecutedVersion"], "$LATEST");
    let ended = api.run("chosen", r#"{"f": "later", "p": {}}"#)?;
    assert_eq!(
        ended["error"], "Lambda.ResourceNotFoundException",
        "{ended}"
    );

    let named = json!({"Resource": "arn:aws:lambda:eu-west-1:1:function:fail"});
    api.publish("named", &one_task(&named))?;
    let ended = api.run("named", r#"{"error": "Bad", "cause": "no"}"#)?;
    let cause: Value = serde_json::from_str(ended["cause"].as_str().context("a cause")?)?;
    assert_eq!(cause["errorType"], ended["error"], "{ended}");

    let missing = json!({"Resource": invoke, "Parameters": {"FunctionName": "ehco"}});
    let refused = api.send("PUT", "/v1/flows/missing", one_task(&missing))?;
    let said = refused.body.to_string();
    assert!(refused.status == 422 && said.contains("echo"), "{said}");
    Ok(())
}

/// The server's own limit is for steps to which their flow gives no time.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a test compares with the clock; the rule is for the runtime"
)]
fn a_step_has_the_time_that_its_flow_gives_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "[steps]\nwall_ms = 100\n")?;
    api.upload("burn", &guests::program("burn")?)?;
    api.upload("context", &guests::program("context")?)?;
    let flow = |function: &str, timeout: &str| {
        format!(
            "Type: StateMachine\nSpecVersion: v1\nStartAt: T\nStates: [{{Type: Task, Name: T, Action: 'FC:InvokeFunction', Parameters: {{resourceArn: 'acs:fc:r:1:functions/{function}', body.$: $Input.n}}, OutputConstructor: {{out.$: $Output}}, {timeout}End: true}}]\n"
        )
    };
    for (name, timeout) in [
        ("none", ""),
        ("never", "Timeout: 0, "),
        ("long", "Timeout: 86400, "),
    ] {
        api.publish(name, &flow("burn", timeout))?;
        api.publish(&format!("{name}-told"), &flow("context", timeout))?;
    }
    // More than a tenth of a second of work.
    let burn = |flow: &str| api.run(flow, r#"{"n": 400000000}"#);
    assert_eq!(burn("none")?["error"], "FnF.TaskTimeout");
    for flow in ["never", "long"] {
        let ended = burn(flow)?;
        assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    }
    let now = || -> Result<u64> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        Ok(u64::try_from(since.as_millis())?)
    };
    for (flow, given_ms) in [("none-told", 100), ("long-told", 86_400_000)] {
        let before = now()?;
        let ended = api.run(flow, r#"{"n": 0}"#)?;
        let told = ended["output"]["out"]["deadline_ms"].as_u64();
        let told = told.with_context(|| ended.to_string())?;
        // The clock of steps may be some milliseconds old.
        let range = before + given_ms - 1_000..=now()? + given_ms;
        assert!(range.contains(&told), "{flow}: {told} {range:?}");
    }
    let ended = api.run("never-told", r#"{"n": 0}"#)?;
    assert_eq!(
        ended["output"]["out"]["deadline_ms"],
        Value::Null,
        "{ended}"
    );
    Ok(())
}

/// Answers every request with what it was given, as JSON.
fn mirror() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            // A test that has ended hears nothing any more.
            let _ = reflect(stream);
        }
    });
    Ok(address)
}

fn reflect(mut stream: std::net::TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let (head, length) = loop {
        let n = stream.read(&mut chunk)?;
        anyhow::ensure!(n > 0, "the request broke off");
        bytes.extend(chunk.get(..n).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "));
            break (
                head.to_owned(),
                length.unwrap_or("0").trim().parse::<usize>()?,
            );
        }
    };
    while bytes.len() < head.len() + 4 + length {
        let n = stream.read(&mut chunk)?;
        anyhow::ensure!(n > 0, "the body broke off");
        bytes.extend(chunk.get(..n).unwrap_or_default());
    }
    let body: Value = serde_json::from_slice(bytes.get(head.len() + 4..).unwrap_or_default())?;
    let line = head.lines().next().unwrap_or_default();
    let answer = json!({"line": line, "got": body, "MessageId": "m1"}).to_string();
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )?;
    Ok(())
}

/// Names from elsewhere that the resource map binds to a flow and to an HTTP call: on the
/// parameters that their own services take.
#[test]
fn flows_and_calls_stand_for_services_and_functions() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let address = mirror()?;
    let config = format!(
        "[http]\nallow = [\"{address}\"]\n[resources]\n\"arn:aws:states:::sqs:sendMessage\" = {{ url = \"http://{address}/send\", method = \"POST\" }}\n"
    );
    let (_server, api) = started(dir.path(), &config)?;
    let double = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Choice", "Choices": [{"Variable": "$.amount", "NumericGreaterThan": 100, "Next": "No"}], "Default": "Yes"},
        "No": {"Type": "Fail", "Error": "Card.Declined", "Cause": "no money"},
        "Yes": {"Type": "Pass", "Parameters": {"charged.$": "$.amount"}, "End": true}}}"#;
    api.publish("charge", double)?;
    let publish = |name: &str, definition: &str| -> Result<()> {
        let url = format!("http://{address}/rates");
        let resources = json!({
            "arn:aws:lambda:*:function:charge": {"flow": "charge"},
            "rates": {"url": url, "method": "PUT", "headers": {"x-from": "flow"}},
            "acs:fc:*:functions/charge": {"flow": "charge"},
            "Own:Rates": {"url": url}});
        let given = json!({"definition": definition, "resources": resources});
        let kind = [("content-type", "application/vnd.stepwell.publish+json")];
        let path = format!("/v1/flows/{name}");
        let said = api.send_with("PUT", &path, &kind, given.to_string())?;
        anyhow::ensure!(said.status == 201, "{}", said.body);
        Ok(())
    };

    // The guide's example, on what SQS takes.
    let queue = json!({"Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": {
        "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "MessageBody.$": "$.text"}});
    publish("queue", &one_task(&queue))?;
    let ended = api.run("queue", r#"{"text": "hello"}"#)?;
    let sent = json!({"line": "POST /send HTTP/1.1", "MessageId": "m1", "got": {
        "QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "MessageBody": "hello"}});
    assert_eq!(ended["output"], sent, "{ended}");

    // A function's ARN, and a flow's own failure.
    let charge = json!({"Resource": "arn:aws:lambda:eu-west-1:1:function:charge"});
    publish("plain", &one_task(&charge))?;
    let ended = api.run("plain", r#"{"amount": 3}"#)?;
    assert_eq!(ended["output"], json!({"charged": 3}), "{ended}");
    let ended = api.run("plain", r#"{"amount": 300}"#)?;
    assert_eq!(ended["error"], "Card.Declined", "{ended}");

    // By `lambda:invoke`, in its envelope.
    let invoke = |function: &str| {
        json!({"Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": function, "Payload.$": "$"}})
    };
    publish("rates", &one_task(&invoke("rates")))?;
    let ended = api.run("rates", r#"{"of": "EUR"}"#)?;
    assert_eq!(
        ended["output"]["Payload"]["line"], "PUT /rates HTTP/1.1",
        "{ended}"
    );
    assert_eq!(ended["output"]["Payload"]["got"], json!({"of": "EUR"}));
    let whole = invoke("arn:aws:lambda:eu-west-1:1:function:charge");
    publish("whole", &one_task(&whole))?;
    let ended = api.run("whole", r#"{"amount": 4}"#)?;
    assert_eq!(ended["output"]["Payload"], json!({"charged": 4}), "{ended}");

    // CloudFlow's functions and Actions.
    let cloudflow = "Type: StateMachine\nSpecVersion: v1\nStartAt: T\nStates:\n  - {Type: Task, Name: T, Action: 'Own:Rates', Parameters: {of: EUR}, OutputConstructor: {amount.$: 'length($Output.got.of)'}, Next: C}\n  - {Type: Task, Name: C, Action: 'FC:InvokeFunction', Parameters: {resourceArn: 'acs:fc:r:1:functions/charge', body.$: $Input}, End: true}\n";
    publish("cloudflow", cloudflow)?;
    let ended = api.run("cloudflow", "{}")?;
    assert_eq!(ended["output"], json!({"charged": 3}), "{ended}");
    let steps = "type: flow\nversion: v1\nsteps: [{type: task, name: a, resourceArn: 'acs:fc:r:1:functions/charge', outputMappings: [{target: all, source: $local.charged}]}]\n";
    publish("steps", steps)?;
    let ended = api.run("steps", r#"{"amount": 5}"#)?;
    assert_eq!(ended["output"], json!({"all": 5}), "{ended}");

    // A flow that is not there is refused, and what is bound is told with the version.
    let told = api.get("/v1/flows/rates")?.body;
    assert_eq!(told["resources"]["rates"]["method"], "PUT", "{told}");
    let lost = json!({"definition": one_task(&charge),
        "resources": {"arn:aws:lambda:*": {"flow": "chagre"}}});
    let kind = [("content-type", "application/vnd.stepwell.publish+json")];
    let refused = api.send_with("PUT", "/v1/flows/lost", &kind, lost.to_string())?;
    let said = refused.body.to_string();
    assert!(refused.status == 422 && said.contains("FLOW0035"), "{said}");
    Ok(())
}

/// `validate` looks nothing up, unless it is told to ask the server.
#[test]
fn validate_asks_the_server() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = "[resources]\n\"Own:Echo\" = \"wasm:echo\"\n";
    let (server, api) = started(dir.path(), config)?;
    api.upload("echo", &guests::program("echo")?)?;
    let binary = stepwell_tests::server::binary()?;
    let validate = |definition: &str, more: &[&str]| -> Result<(i32, String)> {
        let file = dir.path().join("flow.yaml");
        std::fs::write(&file, definition)?;
        let mut command = std::process::Command::new(&binary);
        command
            .args(["--url", &server.url(), "validate"])
            .arg(&file);
        let done = command.args(more).output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok((done.status.code().context("a status")?, said))
    };
    let task = |name: &str| one_task(&json!({"Resource": name}));
    let lost = task("wasm:ehco");
    assert_eq!(validate(&lost, &[])?, (0, String::new()));
    let (status, said) = validate(&lost, &["--server"])?;
    assert_eq!(status, 1, "{said}");
    for part in [
        "FLOW0025",
        "there is no module \"ehco\"",
        "/States/T/Resource",
        "did you mean \"echo\"?",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let child =
        one_task(&json!({"Resource": "flow:start", "Parameters": {"StateMachineArn": "gone"}}));
    let (status, said) = validate(&child, &["--server"])?;
    assert!(status == 1 && said.contains("FLOW0035"), "{status} {said}");
    assert_eq!(
        validate(&task("wasm:echo"), &["--server"])?,
        (0, String::new())
    );
    // The server's own map, and what comes with the command.
    let action = "Type: StateMachine\nSpecVersion: v1\nStartAt: T\nStates: [{Type: Task, Name: T, Action: 'Own:Echo', End: true}]\n";
    assert_eq!(validate(action, &["--server"])?.0, 0);
    let (status, said) = validate(action, &[])?;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("warning[FLOW0024]"), "{said}");
    let (status, said) = validate(
        "StartAt: ${First}\nStates: {A: {Type: Succeed}}\n",
        &["--server", "--set", "First=A"],
    )?;
    assert_eq!(status, 0, "{said}");
    let (status, said) = validate(&task("callback"), &["--server", "--express"])?;
    assert!(status == 1 && said.contains("FLOW0036"), "{status} {said}");
    Ok(())
}

/// Answers one request with its own head as JSON.
fn receiver() -> Result<(String, std::thread::JoinHandle<Result<String>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while !bytes.ends_with(b"x=1&y%5B0%5D=2") {
            let n = stream.read(&mut chunk)?;
            anyhow::ensure!(n > 0, "the request broke off");
            bytes.extend(chunk.get(..n).unwrap_or_default());
        }
        stream.write_all(
            b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"a\":1}",
        )?;
        Ok(String::from_utf8(bytes)?)
    });
    Ok((address, thread))
}

#[test]
fn http_invoke_calls_with_a_connection() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (address, thread) = receiver()?;
    let config = format!(
        "[http]\nallow = [\"{address}\"]\n[connections.billing]\nurl = \"http://{address}/v1\"\nheaders = {{ authorization = \"Bearer hidden\" }}\n"
    );
    let (_server, api) = started(dir.path(), &config)?;
    let task = |path: &str| {
        json!({"Resource": "arn:aws:states:::http:invoke", "Parameters": {
            "ApiEndpoint": format!("http://{address}{path}"), "Method": "POST",
            "QueryParameters": {"q": "a b"},
            "RequestBody": {"x": 1, "y": [2]},
            "Transform": {"RequestBodyEncoding": "URL_ENCODED"},
            "Authentication": {"ConnectionArn":
                "arn:aws:events:eu-west-1:1:connection/billing/0c"}}})
    };
    api.publish("good", &one_task(&task("/v1/charge")))?;
    let ended = api.run("good", "{}")?;
    assert_eq!(ended["output"]["StatusCode"], 201, "{ended}");
    assert_eq!(ended["output"]["StatusText"], "Created");
    assert_eq!(ended["output"]["ResponseBody"], json!({"a": 1}));
    let head = thread.join().map_err(|_| anyhow::anyhow!("receiver"))??;
    assert!(head.starts_with("POST /v1/charge?q=a%20b "), "{head}");
    assert!(
        head.to_lowercase().contains("authorization: bearer hidden"),
        "{head}"
    );
    let id = ended["id"].as_str().context("an id")?;
    let history = api.get(&format!("/v1/executions/{id}/history"))?.body;
    assert!(!history.to_string().contains("hidden"), "{history}");

    api.publish("elsewhere", &one_task(&task("/v2")))?;
    let ended = api.run("elsewhere", "{}")?;
    assert_eq!(ended["error"], "Stepwell.HttpDenied", "{ended}");
    Ok(())
}

#[test]
fn activities_survive_a_kill_and_go_to_one_worker() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut server, api) = started(dir.path(), "")?;
    let task = json!({"Resource": "arn:aws:states:eu-west-1:1:activity:print",
        "HeartbeatSeconds": 60, "TimeoutSeconds": 600});
    api.publish("printing", &one_task(&task))?;
    let poll = "/v1/activities/print/poll";
    assert_eq!(api.send("POST", &format!("{poll}?wait=0"), "")?.status, 204);
    let start = |n: u32| -> Result<String> {
        let body = api
            .send("POST", "/v1/flows/printing/executions", n.to_string())?
            .body;
        Ok(body["id"].as_str().context("an id")?.to_owned())
    };
    let ids = [start(1)?, start(2)?, start(3)?];
    server.again()?;
    let api = Api::new(&server.url())?;

    // Three at once get a task each, and a fourth waits for the one that comes.
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let url = server.url();
            std::thread::spawn(move || -> Result<Value> {
                let path = format!("/v1/activities/print/poll?wait=20&worker=w{n}");
                let answer = Api::new(&url)?.send("POST", &path, "")?;
                anyhow::ensure!(answer.status == 200, "{answer:?}");
                Ok(answer.body)
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let late = api.send("POST", "/v1/flows/printing/executions", "4")?.body;
    let mut tasks = Vec::new();
    for worker in workers {
        let task = worker.join().map_err(|_| anyhow::anyhow!("a worker"))??;
        tasks.push(task);
    }
    let mut inputs: Vec<_> = tasks.iter().map(|t| t["input"].as_u64()).collect();
    inputs.sort_unstable();
    assert_eq!(inputs, [Some(1), Some(2), Some(3), Some(4)]);

    // What was handed out is not handed out again, also after a kill.
    server.again()?;
    let api = Api::new(&server.url())?;
    assert_eq!(api.send("POST", &format!("{poll}?wait=0"), "")?.status, 204);
    for task in &tasks {
        let token = task["token"].as_str().context("a token")?;
        let beat = api.send("POST", &format!("/v1/tasks/{token}/heartbeat"), "")?;
        assert_eq!(beat.status, 204, "{beat:?}");
        let done = api.send("POST", &format!("/v1/tasks/{token}/succeed"), "\"ok\"")?;
        assert_eq!(done.status, 204, "{done:?}");
    }
    let late = late["id"].as_str().context("an id")?.to_owned();
    for id in ids.iter().chain([&late]) {
        let ended = api.get(&format!("/v1/executions/{id}?wait=20"))?.body;
        assert_eq!(ended["output"], "ok", "{ended}");
        let kinds = kinds(&api, id)?;
        let expected = [
            "ExecutionStarted",
            "TaskStateEntered",
            "ActivityScheduled",
            "ActivityStarted",
            "ActivitySucceeded",
            "TaskStateExited",
            "ExecutionSucceeded",
        ];
        assert_eq!(kinds, expected);
    }
    Ok(())
}

#[test]
fn an_activity_that_nobody_takes_times_out() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    let task = json!({"Resource": "activity:idle", "TimeoutSeconds": 1});
    api.publish("idle", &one_task(&task))?;
    let ended = api.run("idle", "{}")?;
    assert_eq!(ended["error"], "States.Timeout", "{ended}");
    let poll = api.send("POST", "/v1/activities/idle/poll?wait=0", "")?;
    assert_eq!(poll.status, 204, "{poll:?}");
    Ok(())
}

#[test]
fn a_child_whose_name_is_taken_fails_its_task() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    api.publish("child", "StartAt: P\nStates: {P: {Type: Pass, End: true}}")?;
    let ask = "StartAt: W\nStates: {W: {Type: Task, Resource: callback, End: true}}";
    api.publish("waits", ask)?;
    let names = |resource: &str| {
        one_task(&json!({"Resource": resource,
            "Parameters": {"StateMachineArn.$": "$.flow", "Name.$": "$.name", "Input": {"n": 1}}}))
    };
    api.publish("forgets", &names("flow:start"))?;
    let sync = "arn:aws:states:::states:startExecution.sync:2";
    api.publish("asks", &names(sync))?;
    // By a client, and by another execution; ended, and still running.
    let taken = api.send("POST", "/v1/flows/child/executions?name=one&wait=60", "{}")?;
    assert_eq!(taken.status, 200, "{taken:?}");
    let two = api.run("asks", r#"{"flow": "child", "name": "two"}"#)?;
    assert_eq!(two["output"]["Output"], json!({"n": 1}), "{two}");
    let three = api.send("POST", "/v1/flows/waits/executions?name=three", "{}")?;
    assert_eq!(three.status, 202, "{three:?}");
    let other = two["output"]["ExecutionArn"].as_str().context("no id")?;
    for (flow, name, id) in [
        ("child", "one", taken.body["id"].as_str()),
        ("child", "two", Some(other)),
        ("waits", "three", three.body["id"].as_str()),
    ] {
        let id = id.context("no id")?;
        for parent in ["forgets", "asks"] {
            let input = json!({"flow": flow, "name": name}).to_string();
            let ended = api.run(parent, &input)?;
            let seen = (&ended["status"], &ended["error"], &ended["cause"]);
            let cause = format!("Execution Already Exists: '{name}' of the flow {flow} is {id}");
            let error = "StepFunctions.ExecutionAlreadyExistsException";
            assert_eq!(seen, (&json!("FAILED"), &json!(error), &json!(cause)));
        }
    }
    // The same name in another flow is another one.
    let ended = api.run("asks", r#"{"flow": "child", "name": "three"}"#)?;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    Ok(())
}

/// What a flow was bound to when it was published holds over a restart, whatever the server's
/// own map says then; a lambda:invoke by ARN is bound too.
#[test]
fn a_resource_map_is_kept_with_the_version() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let map = |to: &str| format!("[resources]\n\"arn:aws:states:::sqs:*\" = \"wasm:{to}\"\n");
    let (mut server, api) = started(dir.path(), &map("echo"))?;
    api.upload("echo", &guests::program("echo")?)?;
    api.upload("fail", &guests::program("fail")?)?;
    let task =
        json!({"Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": {"n.$": "$.n"}});
    api.publish("sqs", &one_task(&task))?;
    assert_eq!(api.run("sqs", r#"{"n": 1}"#)?["output"], json!({"n": 1}));
    let arn = "arn:aws:lambda:eu-west-1:1:function:elsewhere";
    let invoke = json!({"Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": arn, "Payload.$": "$"}});
    let given = json!({"definition": one_task(&invoke), "resources": {arn: "wasm:echo"}});
    let kind = ("content-type", "application/vnd.stepwell.publish+json");
    let published = api.send_with("PUT", "/v1/flows/invoke", &[kind], given.to_string())?;
    assert_eq!(published.status, 201, "{published:?}");

    server.stop(Duration::from_secs(20))?;
    server.configure(&map("fail"))?;
    server.start()?;
    assert_eq!(api.run("sqs", r#"{"n": 2}"#)?["output"], json!({"n": 2}));
    let ended = api.run("invoke", r#"{"n": 3}"#)?;
    assert_eq!(ended["output"]["Payload"], json!({"n": 3}), "{ended}");
    // A new version means what the map says now.
    api.publish("sqs", &one_task(&task))?;
    assert_eq!(api.get("/v1/flows/sqs")?.body["version"], 2);
    assert_eq!(api.run("sqs", r#"{"n": 4}"#)?["status"], "FAILED");
    Ok(())
}

/// On a server where nothing else happens: a refusal must not wait for somebody's record.
#[test]
fn a_childs_taken_name_fails_its_parent_at_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_server, api) = started(dir.path(), "")?;
    let waits =
        json!({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 300, "End": true}}});
    api.publish("child", &waits.to_string())?;
    let start = json!({"Resource": "flow:start.sync",
        "Parameters": {"StateMachineArn": "child", "Name": "run"}});
    api.publish("parent", &one_task(&start))?;
    api.send("POST", "/v1/flows/child/executions?name=run", "{}")?;
    // Parent and child are on loops of their own in half of the cases.
    for _ in 0..6 {
        let ended = api.run("parent", "{}")?;
        assert_eq!(
            ended["error"], "StepFunctions.ExecutionAlreadyExistsException",
            "{ended}"
        );
    }
    Ok(())
}
