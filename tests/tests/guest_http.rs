//! HTTP by both doors (a module's `wasi:http`, a Task's `http:request`) against real HTTPS servers: whom
//! they trust, which protocol they speak, how they end what takes too long or is too much.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use stepwell_tests::bridges::https::{self, Authority, Call, Https, Shows};
use stepwell_tests::guests;
use stepwell_tests::house::House;
use stepwell_tests::server::Server;
use stepwell_tests::wait::{until, until_tried};

const GUEST: &str = "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"wasm:calls\", End: true}\n";
const TASK: &str =
    "StartAt: S\nStates:\n  S: {Type: Task, Resource: \"http:request\", End: true}\n";

/// A server that may call these, by both doors.
fn house(authority: &Authority, servers: &[&Https], more: &str) -> Result<House> {
    let dir = tempfile::tempdir()?;
    let config = https::config(dir.path(), authority, servers)? + more;
    let mut server = Server::new(dir.path(), &config)?;
    // What it adds to errors is not for guests.
    server.environment([("RUST_BACKTRACE".into(), "1".into())]);
    let house = House::of(dir, server)?;
    let (api, grants) = (&house.api, https::grants(servers));
    api.upload_granted("calls", &guests::program("calls")?, &grants)?;
    api.publish("guest", GUEST)?;
    api.publish("task", TASK)?;
    Ok(house)
}

/// One that may be called.
fn with_one(more: &str) -> Result<(House, Https)> {
    let authority = Authority::new()?;
    let https = Https::start(&authority, Shows::default())?;
    let house = house(&authority, &[&https], more)?;
    Ok((house, https))
}

/// One that speaks HTTP/2, and one that does not.
fn with_both_versions() -> Result<(House, Https, Https)> {
    let authority = Authority::new()?;
    let new = Https::start(&authority, Shows::default())?;
    let old = Shows {
        protocols: &["http/1.1"],
        ..Shows::default()
    };
    let old = Https::start(&authority, old)?;
    let house = house(&authority, &[&new, &old], "")?;
    Ok((house, new, old))
}

/// Makes one call by the guest's door; the execution's end.
fn guest(house: &House, call: Value) -> Result<Value> {
    house
        .api
        .run("guest", &json!({"calls": [call]}).to_string())
}

/// Starts an execution that makes these calls by the guest's door.
fn start(house: &House, calls: &[Value]) -> Result<String> {
    let input = json!({"calls": calls}).to_string();
    house.api.start("guest", input)
}

/// Makes one call by the Task's door; the execution's end.
fn task(house: &House, call: &Value) -> Result<Value> {
    house.api.run("task", &call.to_string())
}

/// Makes the call by both doors; the names of the errors that it ended with.
fn errors(house: &House, call: &Value) -> Result<[Value; 2]> {
    let guest = guest(house, call.clone())?;
    Ok([guest["error"].clone(), task(house, call)?["error"].clone()])
}

#[test]
fn only_a_right_certificate_is_trusted() -> Result<()> {
    let (known, unknown) = (Authority::new()?, Authority::new()?);
    let right = Https::start(&known, Shows::default())?;
    let name = Shows {
        name: "other.example",
        ..Shows::default()
    };
    let expired = Shows {
        expired: true,
        ..Shows::default()
    };
    let authority = Shows {
        authority: true,
        ..Shows::default()
    };
    let wrong = [
        Https::start(&unknown, Shows::default())?,
        Https::start(&known, name)?,
        Https::start(&known, expired)?,
        Https::start(&known, authority)?,
    ];
    let servers = [&right, &wrong[0], &wrong[1], &wrong[2], &wrong[3]];
    let house = house(&known, &servers, "")?;
    let shown = guest(&house, json!({"url": right.url("/x")}))?;
    assert_eq!(shown["output"][0]["body"], "fine", "{shown}");
    let shown = task(&house, &json!({"url": right.url("/x")}))?;
    assert_eq!(shown["output"]["body"], "fine", "{shown}");
    for server in &wrong {
        let errors = errors(&house, &json!({"url": server.url("/x")}))?;
        let name = "Stepwell.HttpCertificate";
        assert_eq!(errors, [name, name], "{:?}", server.calls());
        assert_eq!(server.calls(), [], "nothing was said");
    }
    // A task's cause says what was wrong with it, and what to do about that.
    let causes = wrong.iter().map(|server| {
        let shown = task(&house, &json!({"url": server.url("/x")}))?;
        Ok(shown["cause"].as_str().unwrap_or_default().to_owned())
    });
    let causes = causes.collect::<Result<Vec<_>>>()?;
    let words = ["ca_files", "not valid for", "expired", "CA:FALSE"];
    for (cause, word) in causes.iter().zip(words) {
        assert!(cause.contains(word), "{word}: {causes:?}");
    }
    Ok(())
}

#[test]
fn without_its_authority_no_server_is_trusted_and_a_bad_file_stops_the_start() -> Result<()> {
    let (mut house, https) = with_one("")?;
    house.server.kill()?;
    let config = format!("[http]\nallow = [\"{}\"]\n", https.address);
    house.server.configure(&config)?;
    house.server.start()?;
    let errors = errors(&house, &json!({"url": https.url("/x")}))?;
    assert_eq!(errors, ["Stepwell.HttpCertificate"; 2]);
    house.server.kill()?;
    std::fs::write(house.dir.path().join("ca.pem"), "no certificate")?;
    house
        .server
        .configure("[http]\nca_files = [\"ca.pem\"]\n")?;
    house.server.spawn()?;
    let refused = house.server.ready().expect_err("a bad file");
    assert!(format!("{refused:#}").contains("HOST0010"), "{refused:#}");
    Ok(())
}

#[test]
fn http_2_is_spoken_where_it_is_offered_and_connections_are_kept() -> Result<()> {
    let (house, new, old) = with_both_versions()?;
    for (server, version) in [(&new, "HTTP/2.0"), (&old, "HTTP/1.1")] {
        let call = json!({"url": server.url("/count"), "method": "POST", "body": "12345"});
        let calls = vec![call.clone(); 5];
        let shown = house
            .api
            .run("guest", &json!({"calls": calls}).to_string())?;
        let bodies = shown["output"].as_array().context("no answers")?;
        let told = r#"{"bytes": 5}"#;
        assert!(bodies.iter().all(|a| a["body"] == told), "{shown}");
        // The Task's door has the same connections.
        let shown = task(&house, &call)?;
        assert_eq!(shown["output"]["body"], json!({"bytes": 5}), "{shown}");
        let seen = server.calls();
        assert_eq!(seen.len(), 6);
        assert!(
            seen.iter().all(|c| c.version == version && c.whole),
            "{seen:?}"
        );
        assert!(seen.iter().all(|c| !c.key.is_empty()), "{seen:?}");
        assert_eq!(server.connections(), 1, "{version}");
    }
    // Many at once share the connection, too, if the protocol lets them.
    let calls = vec![json!({"url": new.url("/x")}); 40];
    let input = json!({"calls": calls, "at_once": true}).to_string();
    let shown = house.api.run("guest", &input)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    assert_eq!((new.calls().len(), new.connections()), (46, 1));
    Ok(())
}

#[test]
fn what_takes_too_long_or_is_too_much_ends_by_name() -> Result<()> {
    let (house, https) = with_one("response_bytes_max = 300000\n")?;
    let slow = |path: &str| json!({"url": https.url(path), "timeout_ms": 300});
    assert_eq!(errors(&house, &slow("/held"))?, ["States.Timeout"; 2]);
    // A response that stops half-way: its next piece is waited for so long.
    assert_eq!(errors(&house, &slow("/half"))?, ["States.Timeout"; 2]);
    // Its head is as late, now and then, and that is another cause.
    until_tried("a head in time", || {
        let shown = guest(&house, slow("/half"))?;
        assert_eq!(shown["error"], "States.Timeout", "{shown}");
        let cause = "the response broke off: connection read timeout";
        Ok((shown["cause"] == cause).then_some(()))
    })?;
    // The step's own time.
    for (flow, definition) in [("guest", GUEST), ("task", TASK)] {
        let short = definition.replace("End: true", "TimeoutSeconds: 1, End: true");
        house.api.publish("short", &short)?;
        let call = json!({"url": https.url("/held")});
        let input = match flow {
            "guest" => json!({"calls": [call]}),
            _ => call,
        };
        let shown = house.api.run("short", &input.to_string())?;
        assert_eq!(shown["error"], "States.Timeout", "{flow}: {shown}");
    }
    let much = |path: &str| json!({"url": https.url(path), "response_bytes_max": 300_000});
    assert_eq!(
        errors(&house, &much("/big/300001"))?,
        ["Stepwell.HttpResponseTooLarge"; 2]
    );
    assert_eq!(
        errors(&house, &much("/flood/300001"))?,
        ["Stepwell.HttpResponseTooLarge"; 2]
    );
    for path in ["/big/300000", "/flood/300000"] {
        assert_eq!(
            errors(&house, &much(path))?,
            [Value::Null, Value::Null],
            "{path}"
        );
    }
    Ok(())
}

#[test]
fn what_a_server_says_beside_a_plain_answer_breaks_nothing() -> Result<()> {
    let (house, new, old) = with_both_versions()?;
    for server in [&new, &old] {
        let call = json!({"url": server.url("/trailers")});
        let shown = task(&house, &call)?;
        assert_eq!(shown["output"]["body"], "with trailers", "{shown}");
        let errors = errors(&house, &json!({"url": server.url("/status/503")}))?;
        assert_eq!(errors, ["States.Http.StatusCode.503"; 2]);
        // A Task follows a redirect, a guest sees it.
        let call = json!({"url": server.url("/away")});
        assert_eq!(task(&house, &call)?["output"]["body"], json!({"bytes": 0}));
        let shown = guest(&house, call)?;
        assert_eq!(shown["output"][0]["location"], "/count", "{shown}");
        // A long body comes in pieces, and whole.
        let call = json!({"url": server.url("/flood/3000000"), "pieces": true});
        let shown = guest(&house, call)?;
        let pieces = shown["output"][0]["pieces"].as_array().context("none")?;
        let sizes: Vec<u64> = pieces.iter().filter_map(Value::as_u64).collect();
        assert_eq!(sizes.iter().sum::<u64>(), 3_000_000);
        assert!(sizes.len() > 30, "{sizes:?}");
    }
    Ok(())
}

#[test]
fn what_follows_a_body_goes_out_and_comes_back() -> Result<()> {
    let (house, new, old) = with_both_versions()?;
    for server in [&new, &old] {
        // Small, and one that streams.
        for times in [1, 8] {
            let mut call = upload(server, "/trailers", times);
            call["headers"] = json!([["te", "trailers"], ["trailer", "x-mine"]]);
            call["trailers"] = json!([["x-mine", "8"]]);
            let id = start(&house, &[call])?;
            let shown = house.api.ended(&id)?;
            let answer = &shown["output"][0];
            assert_eq!(answer["body"], "with trailers", "{shown}");
            assert_eq!(answer["trailers"], json!([["x-sum", "7"]]), "{shown}");
            let calls = server.calls();
            let sent = calls.last().context("no call")?;
            assert_eq!(sent.trailers, ["x-mine: 8"], "{sent:?}");
            assert!(sent.whole && sent.bytes == times * PIECE, "{sent:?}");
            // `TE` is between neighbours: HTTP/1.1 wants it named, HTTP/2 has no such names.
            let (takes, named) = &sent.between;
            assert_eq!(takes, "trailers", "{sent:?}");
            match sent.version.as_str() {
                "HTTP/1.1" => assert!(named.split(", ").any(|name| name == "te"), "{sent:?}"),
                _ => assert_eq!(named, "", "{sent:?}"),
            }
            // The journal repeats them.
            house.api.replays_the_same(&id)?;
            assert_eq!(server.calls().len(), calls.len());
        }
    }
    Ok(())
}

/// A call that writes 64 KiB so many times, piece by piece.
fn upload(https: &Https, path: &str, times: usize) -> Value {
    let body = "0123456789abcdef".repeat(4_096);
    json!({"method": "POST", "url": https.url(path), "body": body, "times": times, "streamed": true})
}

const PIECE: usize = 64 << 10;

#[test]
fn long_bodies_stream_out_in_little_memory_and_wait_for_who_takes_them() -> Result<()> {
    let (house, new, old) = with_both_versions()?;
    guest(&house, upload(&new, "/count", 16))?;
    let before = house.server.peak_kib()?;
    for server in [&new, &old] {
        let shown = guest(&house, upload(server, "/count", 3_000))?;
        let told = format!("{{\"bytes\": {}}}", 3_000 * PIECE);
        assert_eq!(shown["output"][0]["body"], told, "{shown}");
        let sent = server.calls();
        let sent = sent.last().context("no call")?;
        assert!(sent.whole && !sent.key.is_empty(), "{sent:?}");
    }
    let grown = house.server.peak_kib()? - before;
    assert!(grown < 64 << 10, "{grown} KiB more for 188 MiB each");

    // Nobody reads: the guest waits, and goes on when somebody does.
    let id = start(&house, &[upload(&new, "/slow", 300)])?;
    new.until(3)?;
    std::thread::sleep(Duration::from_millis(500));
    let waits = house.server.peak_kib()? - before;
    assert!(waits < 64 << 10, "{waits} KiB");
    new.open();
    let shown = house.api.ended(&id)?;
    let told = format!("{{\"bytes\": {}}}", 300 * PIECE);
    assert_eq!(shown["output"][0]["body"], told, "{shown}");

    // Both ways at once, and with a length told before.
    for server in [&new, &old] {
        let mut echoed = upload(server, "/echo", 8);
        echoed["headers"] = json!([["content-length", (8 * PIECE).to_string()]]);
        let shown = guest(&house, echoed)?;
        let body = shown["output"][0]["body"].as_str().unwrap_or_default();
        assert_eq!(body.len(), 8 * PIECE, "{shown}");
    }
    Ok(())
}

#[test]
fn a_body_that_is_too_long_broken_off_or_not_wanted_ends_its_call() -> Result<()> {
    let (house, https) = with_one("guest_request_bytes_max = 1048576\n")?;
    let fits = guest(&house, upload(&https, "/count", 16))?;
    assert_eq!(fits["status"], "SUCCEEDED", "{fits}");
    let ends = |call: Value, error: &str| -> Result<()> {
        let shown = guest(&house, call)?;
        assert_eq!(shown["error"], error, "{shown}");
        Ok(())
    };
    ends(upload(&https, "/count", 17), "Stepwell.HttpInvalidRequest")?;
    let told = json!([["content-length", (17 * PIECE).to_string()]]);
    let mut said = upload(&https, "/count", 17);
    said["headers"] = told;
    let before = https.calls().len();
    ends(said, "Stepwell.HttpInvalidRequest")?;
    assert_eq!(https.calls().len(), before, "it was not begun");
    let mut broken = upload(&https, "/count", 8);
    broken["broken"] = json!(true);
    ends(broken, "States.Http.Socket")?;
    ends(upload(&https, "/early", 16), "States.Http.StatusCode.413")?;
    let mut slow = upload(&https, "/slow", 16);
    slow["timeout_ms"] = json!(300);
    ends(slow, "States.Timeout")?;
    // A step that ends while it writes does not end its body.
    let short = GUEST.replace("End: true", "TimeoutSeconds: 1, End: true");
    house.api.publish("short", &short)?;
    let input = json!({"calls": [upload(&https, "/slow", 16)]}).to_string();
    let shown = house.api.run("short", &input)?;
    assert_eq!(shown["error"], "States.Timeout", "{shown}");
    // The execution's end is told before the guest is gone.
    let targets = || house.api.get("/v1/targets");
    until("the guest's end", || {
        let all = targets()?.body["targets"].take();
        let all = all.as_array().context("no targets")?;
        Ok(all.iter().all(|t| t["under_way"] == 0).then_some(()))
    })?;
    https.open();
    until("the end of both calls", || {
        let calls = https.calls();
        Ok(calls.iter().all(|call| call.over).then_some(()))
    })?;
    let calls = https.calls();
    let whole: Vec<_> = calls.iter().filter(|call| call.whole).collect();
    assert_eq!(whole.len(), 1, "{calls:?}");
    Ok(())
}

#[test]
fn a_death_within_a_body_sends_it_again_and_one_behind_it_does_not() -> Result<()> {
    let (mut house, https) = with_one("")?;
    let held = json!({"url": https.url("/held"), "method": "POST", "body": "x"});
    let id = start(
        &house,
        &[
            upload(&https, "/count", 100),
            upload(&https, "/slow", 100),
            held,
        ],
    )?;
    https.until(2)?;
    for life in 1..3 {
        house.server.again()?;
        https.until(2 + life)?;
    }
    https.open();
    let shown = house.api.ended(&id)?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let calls = https.calls();
    let of = |target: &str| -> Vec<&Call> {
        calls.iter().filter(|call| call.target == target).collect()
    };
    assert_eq!(
        of("POST /count").len(),
        1,
        "a recorded call is not repeated"
    );
    let slow = of("POST /slow");
    assert_eq!(slow.len(), 3, "once in each life");
    assert!(slow.iter().all(|call| call.key == slow[0].key), "{slow:?}");
    let whole: Vec<_> = slow.iter().map(|call| call.whole).collect();
    assert_eq!(whole, [false, false, true]);
    assert_eq!(slow[2].bytes, 100 * PIECE);
    // Once more from the journal: nothing goes out, and the bodies are what they were.
    house.api.replays_the_same(&id)?;
    assert_eq!(https.calls().len(), calls.len());
    Ok(())
}

#[test]
fn the_example_orders_fails_runs_out_of_time_is_cancelled_and_outlives_a_death() -> Result<()> {
    let (mut house, https) = with_one("")?;
    let wasm = xtask::guests::component("examples/supplier-order/steps", "supplier-order")?;
    let grants = https::grants(&[&https]);
    house.api.upload_granted("supplier-order", &wasm, &grants)?;
    let flow = xtask::place::root().join("examples/supplier-order/flow.yaml");
    house
        .api
        .publish("order", &std::fs::read_to_string(flow)?)?;
    let wish = |article: &str, cents_max: u64, patience_ms: u64| {
        let supplier = format!("https://{}", https.address);
        json!({"supplier": supplier, "article": article, "pieces": 20, "cents_max": cents_max, "patience_ms": patience_ms})
            .to_string()
    };
    let fails = |wish: &str, error: &str, word: &str| -> Result<()> {
        let shown = house.api.run("order", wish)?;
        assert_eq!(shown["error"], error, "{shown}");
        let cause = shown["cause"].as_str().unwrap_or_default();
        assert!(cause.contains(word), "{shown}");
        Ok(())
    };
    fails(&wish("nail", 15, 10_000), "NotOrdered", "no such article")?;
    fails(&wish("screw", 11, 10_000), "NotOrdered", "TooDear")?;
    // Nobody lets the order go yet.
    fails(&wish("screw", 15, 300), "States.Timeout", "")?;
    let before = https.calls().len();
    let start = |house: &House| house.api.start("order", wish("screw", 15, 60_000));
    let id = start(&house)?;
    https.until(before + 2)?;
    let path = format!("/v1/executions/{id}/cancel");
    let cancelled = house.api.send("POST", &path, "")?;
    assert_eq!(cancelled.body["status"], "ABORTED", "{cancelled:?}");

    let before = https.calls().len();
    let id = start(&house)?;
    https.until(before + 2)?;
    house.server.again()?;
    https.until(before + 3)?;
    https.open();
    let shown = house.api.ended(&id)?;
    let calls = https.calls().split_off(before);
    let targets: Vec<&str> = calls.iter().map(|call| call.target.as_str()).collect();
    assert_eq!(
        targets,
        ["GET /offers/screw", "POST /orders", "POST /orders"]
    );
    assert_eq!(calls[1].key, calls[2].key);
    let wanted = json!({"number": calls[1].key, "cents": 240});
    assert_eq!(shown["output"], wanted, "{shown}");
    Ok(())
}
