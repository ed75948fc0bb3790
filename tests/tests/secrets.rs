//! Secrets on a real server: used by calls and by guests, kept over deaths, and found nowhere.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

#[path = "secrets/house.rs"]
mod house;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use stepwell_tests::bridges::ask;
use stepwell_tests::bridges::place::{Place, TOKEN_HEAD};
use stepwell_tests::bridges::sshd::Sshd;

use house::*;

#[test]
fn secrets_prove_who_calls_and_are_found_nowhere() -> Result<()> {
    let mut house = House::start()?;
    let file = house.dir.path().join("api-key.txt");
    // Line ends of files and pipes are part of the value, and no part of a header.
    std::fs::write(&file, format!("{API_KEY}\n"))?;
    let file = file.display().to_string();
    let (code, text) = house.cli(&["secret", "set", "api-key", "--file", &file], "")?;
    assert_eq!(
        (code, text.trim()),
        (Some(0), "secret api-key has version 1 now")
    );
    std::fs::remove_file(&file)?;
    let (code, text) = house.cli(&["secret", "set", "token"], TOKEN)?;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = house.cli(&["secret", "set", "token", TOKEN], "")?;
    assert_eq!(code, Some(2), "a value is no argument: {text}");
    house.answers.pop();
    house.set("password", PASSWORD)?;
    house.set("pair", &format!("user:{PASSWORD}"))?;
    house.set("client", CLIENT)?;
    house.set("other", NEXT)?;

    // Every kind, and what the other side got.
    let token_url = house.place.url("/token");
    let kinds = [
        (
            json!({"type": "bearer", "secret": "token"}),
            format!("Bearer {TOKEN}"),
        ),
        (
            json!({"type": "basic", "user": "user", "secret": "password"}),
            format!("Basic {}", base64(&format!("user:{PASSWORD}"))),
        ),
        (
            json!({"type": "basic", "secret": "pair"}),
            format!("Basic {}", base64(&format!("user:{PASSWORD}"))),
        ),
        (
            json!({"type": "header", "name": "x-api-key", "secret": "api-key"}),
            API_KEY.to_owned(),
        ),
        (
            json!({"type": "oauth2", "token_url": token_url, "client_id": "id with space", "secret": "client", "scope": "read write"}),
            format!("Bearer {TOKEN_HEAD}1"),
        ),
        (
            json!({"type": "oauth2", "token_url": token_url, "client_id": "id", "secret": "client", "in_body": true, "audience": "them"}),
            format!("Bearer {TOKEN_HEAD}2"),
        ),
    ];
    for (authentication, expected) in kinds {
        let mut input = house.call("/fine", authentication);
        input["body"] = json!(MARK);
        let shown = house.run("call", &input)?;
        assert_eq!(shown["output"]["status"], 200, "{shown}");
        let got = house.place.calls("/fine");
        let got = got.last().context("no call")?;
        assert!(got.starts_with(&expected), "{got}, not {expected}");
    }
    let asked = house.place.calls("/token");
    let id = base64("id+with+space:cV5bNm6qWe7rTy8uIo9p%2Bclient");
    assert!(asked[0].starts_with(&format!("Basic {id}")), "{asked:?}");
    assert!(
        asked[0].ends_with("grant_type=client_credentials&scope=read+write"),
        "{asked:?}"
    );
    assert!(
        asked[1].contains("audience=them&client_id=id&client_secret=cV5b"),
        "{asked:?}"
    );

    // What the other side says goes into the history: not with a secret in it.
    let bearer = json!({"type": "bearer", "secret": "token"});
    let shown = house.run("call", &house.call("/echo", bearer.clone()))?;
    failed(&shown, "Stepwell.SecretInOutput");
    let basic = json!({"type": "basic", "user": "user", "secret": "password"});
    for authentication in [&bearer, &basic] {
        for path in ["/echo", "/echo-spelt"] {
            let shown = house.run("call", &house.call(path, authentication.clone()))?;
            failed(&shown, "Stepwell.SecretInOutput");
        }
    }
    let shown = house.run("call", &house.call("/fails", bearer.clone()))?;
    failed(&shown, "States.Http.StatusCode.503");
    assert!(
        shown["cause"].to_string().contains("[secret token]"),
        "{shown}"
    );

    // Guests, and where they let it slip.
    let read = |more: Value| {
        let mut input = json!({"read": ["password", "token"], "mark": MARK});
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        input
    };
    let shown = house.run("reads", &read(json!({"call": house.place.url("/fine")})))?;
    assert_eq!(shown["output"], json!(["25", "27", "200"]), "{shown}");
    let got = house.place.calls("/fine");
    assert_eq!(got.last(), Some(&format!("Bearer {TOKEN}")));
    let shown = house.run("reads", &read(json!({"slip": "log"})))?;
    assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    let shown = house.run("reads", &read(json!({"slip": "output"})))?;
    failed(&shown, "Stepwell.SecretInOutput");
    let shown = house.run("reads", &read(json!({"slip": "failure"})))?;
    failed(&shown, "Slip");
    assert_eq!(shown["cause"], "refused: [secret token]", "{shown}");
    let shown = house.run("reads", &read(json!({"slip": "panic"})))?;
    failed(&shown, "Stepwell.Trap");

    // What a guest is answered goes into its journal: not with a secret in it, and yet the attempt
    // can be run again.
    let shown = house.run(
        "reads",
        &read(json!({"call": house.place.url("/echo"), "body": "x"})),
    )?;
    failed(&shown, "Stepwell.SecretInOutput");
    let (id, given) = (shown["id"].as_str().context("no id")?, tempfile::tempdir()?);
    let mut replay = vec!["replay".to_owned(), id.to_owned()];
    replay.extend(["--state".to_owned(), "T".to_owned()]);
    for (name, value) in [("token", TOKEN), ("password", PASSWORD)] {
        let file = given.path().join(name);
        std::fs::write(&file, value)?;
        replay.extend(["--secret".to_owned(), format!("{name}={}", file.display())]);
    }
    let replay: Vec<&str> = replay.iter().map(String::as_str).collect();
    let (code, text) = house.cli(&replay, "")?;
    assert!(text.contains("the same, bit for bit"), "{text}");
    assert_eq!(code, Some(0), "{text}");

    // Refusals by name.
    let shown = house.run("reads", &json!({"read": ["missing"]}))?;
    failed(&shown, "Stepwell.SecretUnknown");
    let shown = house.run("reads", &json!({"read": ["other"]}))?;
    failed(&shown, "Stepwell.NotGranted");
    for (name, error) in [
        ("missing", "Stepwell.SecretUnknown"),
        ("other", "Stepwell.NotGranted"),
    ] {
        let input = house.call("/refused", json!({"type": "bearer", "secret": name}));
        let shown = house.run("call", &input)?;
        failed(&shown, error);
    }
    house.publish("free", CALL, None)?;
    let shown = house.run("free", &house.call("/refused", bearer.clone()))?;
    failed(&shown, "Stepwell.NotGranted");
    assert_eq!(house.place.calls("/refused").len(), 0);

    let (code, text) = house.cli(&["secret", "list"], "")?;
    assert_eq!(code, Some(0), "{text}");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        [
            "NAME", "api-key", "client", "other", "pair", "password", "token"
        ]
    );
    assert_eq!(house.send("GET", "/v1/secrets/token", "")?.status, 405);
    house.server.kill()?;
    house.found_nowhere()?;
    let line = "the secret is [secret token]";
    assert!(house.somewhere(line)?, "the line is in the log without it");
    house.server.start()?;
    let shown = house.run("call", &house.call("/fine", bearer))?;
    assert_eq!(shown["output"]["status"], 200, "{shown}");
    house.server.stop(Duration::from_secs(60))?;
    house.found_nowhere()
}

#[test]
fn what_a_connection_lends_is_granted_and_comes_back_in_nothing() -> Result<()> {
    let mut house = House::start()?;
    let mut grants = house.grants();
    grants["connections"] = json!(["billing"]);
    house.publish("borrows", CALL, Some(&grants))?;
    house.publish("free", CALL, None)?;
    let call =
        |house: &House, path: &str| json!({"url": house.place.url(path), "connection": "billing"});
    let (fine, echo, fails) = (
        call(&house, "/fine"),
        call(&house, "/echo"),
        call(&house, "/fails"),
    );
    // The manifest of this one has its place, and not its connection.
    let refused = house.run("call", &fine)?;
    failed(&refused, "Stepwell.NotGranted");
    let cause = refused["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("`connections`"), "{cause}");
    assert!(house.place.calls("/fine").is_empty());
    for flow in ["borrows", "free"] {
        let shown = house.run(flow, &fine)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
        failed(&house.run(flow, &echo)?, "Stepwell.SecretInOutput");
        let shown = house.run(flow, &fails)?;
        failed(&shown, "States.Http.StatusCode.503");
        let cause = shown["cause"].as_str().unwrap_or_default();
        assert!(cause.contains("[secret of connection billing]"), "{cause}");
    }
    assert_eq!(house.place.calls("/echo").len(), 2, "it was sent");
    assert!(!house.answers.iter().any(|answer| answer.contains(BORROWED)));
    let stored = house.dir.path().join("data");
    let mut files = Vec::new();
    walk(&stored, &mut files)?;
    assert!(!files.is_empty(), "{}", stored.display());
    for file in files {
        assert!(
            !holds(&std::fs::read(&file)?, BORROWED),
            "{}",
            file.display()
        );
    }
    Ok(())
}

#[test]
fn a_secret_that_is_read_while_a_call_is_under_way_outlives_a_death() -> Result<()> {
    const MANY: usize = 3;
    let mut house = House::start()?;
    house.set("token", TOKEN)?;
    let (held, fine) = (house.place.url("/held"), house.place.url("/fine"));
    let input = json!({"read": ["token"], "during": held, "call": fine, "mark": MARK});
    let ids = (0..MANY)
        .map(|_| house.begin("reads", &input))
        .collect::<Result<Vec<_>>>()?;
    house.place.until("/held", MANY)?;
    house.place.until("/fine", MANY)?;
    house.restart()?;
    house.place.until("/held", 2 * MANY)?;
    house.place.open();
    for id in &ids {
        let shown = house.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    }
    house.found_nowhere()
}

#[test]
fn an_attempt_keeps_its_version_over_a_death() -> Result<()> {
    let mut house = House::start()?;
    house.set("token", TOKEN)?;
    let call = house.call("/held", json!({"type": "bearer", "secret": "token"}));
    let read = json!({"read": ["token"], "call": house.place.url("/held"), "mark": MARK});
    let (called, reading) = (house.begin("call", &call)?, house.begin("reads", &read)?);
    house.place.until("/held", 2)?;
    assert_eq!(house.set("token", NEXT)?, 2);
    house.restart()?;
    house.place.until("/held", 4)?;
    house.place.open();
    for id in [&called, &reading] {
        let shown = house.ended(id)?;
        assert_eq!(shown["status"], "SUCCEEDED", "{shown}");
    }
    let first = format!("Bearer {TOKEN}");
    assert!(house.place.calls("/held").iter().all(|c| *c == first));
    // Once more, here: with the value the same, without it named.
    let value = house.dir.path().join("value");
    std::fs::write(&value, TOKEN)?;
    let given = format!("token={}", value.display());
    let (code, text) = house.cli(
        &["replay", &reading, "--state", "T", "--secret", &given],
        "",
    )?;
    assert_eq!(code, Some(0), "{text}");
    std::fs::remove_file(&value)?;
    let (code, text) = house.cli(&["replay", &reading, "--state", "T"], "")?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`--secret token=FILE` gives it"), "{text}");

    // From now on the new one; and what was revoked in the middle is gone.
    house.run(
        "call",
        &house.call("/fine", json!({"type": "bearer", "secret": "token"})),
    )?;
    assert_eq!(house.place.calls("/fine"), [format!("Bearer {NEXT}")]);
    house.place.lock().open = false;
    let again = house.begin("call", &call)?;
    house.place.until("/held", 5)?;
    assert_eq!(house.send("DELETE", "/v1/secrets/token", "")?.status, 204);
    assert_eq!(
        house.send("DELETE", "/v1/secrets/token", "")?.body["code"],
        "RUN0028"
    );
    house.restart()?;
    let shown = house.ended(&again)?;
    failed(&shown, "Stepwell.SecretGone");
    assert_eq!(
        house.set("token", TOKEN)?,
        3,
        "a number never names two values"
    );
    house.place.open();
    house.found_nowhere()
}

#[test]
fn a_missing_wrong_or_open_key_is_named_and_a_new_one_takes_over() -> Result<()> {
    let mut house = House::start()?;
    house.set("token", TOKEN)?;
    let call = house.call("/fine", json!({"type": "bearer", "secret": "token"}));
    let key = house.dir.path().join("data.key");
    let right = std::fs::read(&key)?;
    let with_key = |house: &mut House, text: Option<&[u8]>| -> Result<()> {
        house.server.kill()?;
        std::fs::remove_file(&key)?;
        if let Some(text) = text {
            std::fs::write(&key, text)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&key, mode)?;
        }
        house.server.start()
    };
    let wrong = format!("stepwell-key-1 {}\n", "ab".repeat(32));
    for text in [None, Some(wrong.as_bytes())] {
        with_key(&mut house, text)?;
        let shown = house.run("call", &call)?;
        failed(&shown, "Stepwell.SecretUnreadable");
        assert!(shown["cause"].to_string().contains("HOST0007"), "{shown}");
        let shown = house.run("reads", &json!({"read": ["token"]}))?;
        failed(&shown, "Stepwell.SecretUnreadable");
        let refused = house.send("PUT", "/v1/secrets/token", NEXT)?;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (409, &json!("HOST0007")),
            "{refused:?}"
        );
        let refused = house.send("POST", "/v1/secret-key/rotate", "")?;
        assert_eq!(refused.body["code"], "HOST0007", "{refused:?}");
        assert_eq!(
            house.send("GET", "/v1/secrets", "")?.body["secrets"][0]["name"],
            "token"
        );
        assert!(
            house.server.log_end().contains("HOST0007"),
            "said at the start"
        );
        if text.is_none() {
            std::fs::write(&key, "")?;
        }
    }
    with_key(&mut house, Some(&right))?;
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);

    let (code, text) = house.cli(&["secret", "rotate-key"], "")?;
    assert_eq!(
        (code, text.trim()),
        (Some(0), "1 secret(s) are sealed with a new key")
    );
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);
    house.restart()?;
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);
    let new = std::fs::read(&key)?;
    assert_ne!(new, right);
    with_key(&mut house, Some(&right))?;
    failed(&house.run("call", &call)?, "Stepwell.SecretUnreadable");
    with_key(&mut house, Some(&new))?;

    house.server.kill()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode)?;
    house.server.spawn()?;
    assert!(house.server.ready().is_err(), "a key that others can read");
    assert!(
        house.server.log_end().contains("HOST0006"),
        "{}",
        house.server.log_end()
    );
    Ok(())
}

#[test]
fn tokens_are_asked_for_once_and_dropped_when_they_are_refused() -> Result<()> {
    let mut house = House::start()?;
    house.set("client", CLIENT)?;
    let oauth = |url: &str| json!({"type": "oauth2", "token_url": url, "client_id": "id", "secret": "client"});
    let call = house.call("/resource", oauth(&house.place.url("/token")));
    let many = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$", "End": true,
        "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "http:request",
            "ResultSelector": {"status.$": "$.status"}, "End": true}}}}}});
    let grants = house.grants();
    house.publish("many", &many.to_string(), Some(&grants))?;
    let shown = house.run("many", &json!(vec![call.clone(); 12]))?;
    assert_eq!(
        shown["output"],
        json!(vec![json!({"status": 200}); 12]),
        "{shown}"
    );
    assert_eq!(
        house.place.lock().tokens,
        1,
        "twelve calls at once, one token"
    );

    // Refused by the other side: dropped, and asked for anew, once.
    house.place.lock().refused = 1;
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);
    assert_eq!(house.place.lock().tokens, 2);
    house.place.lock().refused = 9;
    failed(&house.run("call", &call)?, "States.Http.StatusCode.401");
    assert_eq!(house.place.lock().tokens, 3);
    house.place.lock().refused = 0;
    // A token that has no time left is for the call that asked for it.
    house.place.lock().life = "5".to_owned();
    for tokens in [4, 5] {
        assert_eq!(house.run("call", &call)?["output"]["status"], 200);
        assert_eq!(house.place.lock().tokens, tokens);
    }
    // A new version of the secret gets a new token.
    house.place.lock().life = "3600".to_owned();
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);
    house.set("client", NEXT)?;
    assert_eq!(house.run("call", &call)?["output"]["status"], 200);
    assert_eq!(house.place.lock().tokens, 7);

    let refused = house.call("/resource", oauth(&house.place.url("/token-refused")));
    let shown = house.run("call", &refused)?;
    failed(&shown, "Stepwell.HttpTokenFailed");
    assert!(
        shown["cause"]
            .to_string()
            .contains("answered 400 invalid_client"),
        "{shown}"
    );
    let elsewhere = house.call("/resource", oauth("https://tokens.example/"));
    failed(&house.run("call", &elsewhere)?, "Stepwell.NotGranted");
    Ok(())
}

#[test]
fn secrets_go_to_their_origin_alone_and_not_in_the_clear() -> Result<()> {
    let mut house = House::start()?;
    house.set("token", TOKEN)?;
    let other = Place::start()?;
    let mut grants = house.grants();
    grants["http"] = json!([
        {"host": "127.0.0.1", "ports": [house.place.address.port(), other.address.port()]},
        {"host": "*", "ports": [80]},
    ]);
    house.publish("call", CALL, Some(&grants))?;
    let bearer = json!({"type": "bearer", "secret": "token"});
    let away = house.call(&format!("/to/{}", other.address.port()), bearer.clone());
    assert_eq!(house.run("call", &away)?["output"]["status"], 200);
    assert_eq!(other.calls("/landed"), [""], "without the secret");
    let back = house.call(
        &format!("/to/{}", house.place.address.port()),
        bearer.clone(),
    );
    assert_eq!(house.run("call", &back)?["output"]["status"], 200);
    assert_eq!(house.place.calls("/landed"), [format!("Bearer {TOKEN}")]);

    let clear = json!({"url": "http://example.com/", "authentication": bearer});
    let shown = house.run("call", &clear)?;
    failed(&shown, "Stepwell.HttpDenied");
    assert!(
        shown["cause"].to_string().contains("does not go over http"),
        "{shown}"
    );
    for (more, error) in [
        (
            json!({"type": "header", "name": "host", "secret": "token"}),
            "Stepwell.HttpInvalidRequest",
        ),
        (
            json!({"type": "header", "name": "a b", "secret": "token"}),
            "Stepwell.HttpInvalidRequest",
        ),
        (
            json!({"type": "header", "secret": "token"}),
            "Stepwell.HttpInvalidRequest",
        ),
        (
            json!({"type": "magic", "secret": "token"}),
            "Stepwell.HttpInvalidRequest",
        ),
        (
            json!({"type": "bearer", "secret": "token", "value": "x"}),
            "Stepwell.HttpInvalidRequest",
        ),
    ] {
        failed(&house.run("call", &house.call("/never", more))?, error);
    }
    house.set("token", "two\nlines")?;
    let shown = house.run(
        "call",
        &house.call("/never", json!({"type": "bearer", "secret": "token"})),
    )?;
    failed(&shown, "Stepwell.HttpInvalidRequest");
    assert_eq!(house.place.calls("/never").len(), 0);
    Ok(())
}

#[test]
fn a_machine_is_reached_by_the_key_that_a_secret_holds_now() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let sshd = Sshd::start(&dir.path().join("sshd"))?;
    let own = sshd.config("worker", "host")?;
    let (file, secret) = (
        format!("key_file = {:?}", sshd.key()),
        "key_secret = \"key\"",
    );
    ensure!(own.contains(&file), "{own}");
    let (mut server, api) = ask::started(dir.path(), &own.replace(&file, secret))?;
    api.publish("run", &CALL.replace("http:request", "vm:run"))?;
    let input = json!({"machine": "worker", "command": ["true"]}).to_string();
    let refused = api.run("run", &input)?;
    failed(&refused, "Stepwell.MachineAuthenticationFailed");
    // A key that the machine does not know, then the right one.
    for (key, error) in [
        (
            "no key".to_owned(),
            Some("Stepwell.MachineAuthenticationFailed"),
        ),
        (
            std::fs::read_to_string(dir.path().join("sshd/other"))?,
            Some("Stepwell.MachineAuthenticationFailed"),
        ),
        (std::fs::read_to_string(sshd.key())?, None),
    ] {
        let set = api.send("PUT", "/v1/secrets/key", key)?;
        ensure!(set.status == 200, "{set:?}");
        let run = api.run("run", &input)?;
        match error {
            Some(error) => failed(&run, error),
            None => assert_eq!(run["output"]["exit_code"], 0, "{run}"),
        }
    }
    let home = std::env::var_os("HOME").context("HOME")?;
    let instance = std::fs::read_to_string(server.data().join("instance"))?;
    server.stop(Duration::from_secs(60))?;
    let runs = Path::new(&home).join(".stepwell").join(instance);
    Ok(std::fs::remove_dir_all(runs)?)
}
