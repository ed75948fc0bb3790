//! A flow of ten steps, started and waited for over HTTP, with every commit synced.
//!
//! The bare loop on both cores runs between the rounds, so that the share is one of
//! the same minutes. Refuses executions without history: some are read back.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Scale;
use crate::bare::Bare;
use crate::load::{self, Load, Outcome, Until};
use crate::measure::{median, real};
use crate::report::Report;
use crate::server::{Server, folder};
use crate::step;

/// Steps of the flow.
const STEPS: u64 = 10;

/// The flow `ten`: ten Task states in a row.
pub fn ten() -> Value {
    let mut states = serde_json::Map::new();
    for n in 1..=STEPS {
        let mut state = json!({"Type": "Task", "Resource": "wasm:json"});
        if n == STEPS {
            state["End"] = json!(true);
        } else {
            state["Next"] = json!(format!("S{}", n + 1));
        }
        states.insert(format!("S{n}"), state);
    }
    json!({"StartAt": "S1", "States": states})
}

/// Start-and-wait of a flow.
pub fn waiting(server: &Server, flow: &str, connections: usize, until: Until) -> Load {
    Load {
        address: server.address(),
        path: format!("/v1/flows/{flow}/executions?wait=30"),
        body: Some(step::INPUT),
        expect: "\"status\":\"SUCCEEDED\"",
        connections,
        until,
    }
}

/// The id in an answer.
pub fn id(answer: &str) -> Result<String> {
    let value: Value = serde_json::from_str(answer)?;
    Ok(value["id"]
        .as_str()
        .context("an answer without id")?
        .to_owned())
}

/// What the rounds gave.
#[derive(Default)]
struct Rounds {
    bare: Vec<f64>,
    http: Vec<f64>,
    http_cpu_us: Vec<f64>,
    one: Vec<Outcome>,
    many: Vec<Outcome>,
    server_cpu_us: Vec<f64>,
    commits: [Vec<f64>; 2],
}

/// Measures and reports.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section(
        "durable",
        "(b) a flow of ten steps, start and wait, over HTTP, durable, history kept",
    );
    let dir = folder()?;
    let server = Server::fresh(dir.path())?;
    server.publish("ten", &ten())?;
    let bare = Bare::open(&step::guest()?)?;
    let window = Duration::from_secs_f64(scale.window_s);
    load::run(&waiting(&server, "ten", 64, Until::Elapsed(window / 2)))?;
    let mut rounds = Rounds::default();
    for _ in 0..scale.rounds {
        rounds.bare.push(step::pace(&bare, 2, window / 2)?.rate);
        let alive = load::run(&Load {
            path: "/healthz".into(),
            body: None,
            expect: "",
            ..waiting(&server, "ten", 64, Until::Elapsed(window / 2))
        })?;
        rounds.http.push(alive.rate());
        rounds
            .http_cpu_us
            .push(alive.cpu_s * 1e6 / real(alive.done.max(1)));
        let one = counted(&server, 1, window, &mut rounds.commits[0])?;
        rounds.one.push(one.0);
        let many = counted(&server, 64, window, &mut rounds.commits[1])?;
        rounds
            .server_cpu_us
            .push(many.1 * 1e6 / real(many.0.done.max(1)));
        rounds.many.push(many.0);
    }
    tell(&rounds, report);
    let read = check_histories(&server, &rounds)?;
    report.note(&format!(
        "{read} histories read back: ten steps and a success in each"
    ));
    tell_commits(&server, &rounds, report)?;
    server.stop()
}

/// Runs a load; the server's processor time in seconds beside it, and commits an execution.
fn counted(
    server: &Server,
    connections: usize,
    window: Duration,
    commits: &mut Vec<f64>,
) -> Result<(Outcome, f64)> {
    let counter = "stepwell_store_commits_total";
    let (before, cpu_before) = (server.metric(counter)?, server.cpu_s()?);
    let outcome = load::run(&waiting(server, "ten", connections, Until::Elapsed(window)))?;
    let cpu = server.cpu_s()? - cpu_before;
    commits.push((server.metric(counter)? - before) / real(outcome.done.max(1)));
    Ok((outcome, cpu))
}

fn tell(rounds: &Rounds, report: &mut Report) {
    let of = |outcomes: &[Outcome], figure: &dyn Fn(&Outcome) -> f64| {
        median(&outcomes.iter().map(figure).collect::<Vec<_>>())
    };
    let bare = median(&rounds.bare);
    report.add(
        "bare_2_steps_s",
        bare,
        &format!("bare loop on both cores, between the rounds: {bare:.0} steps/s"),
    );
    let (http, http_us) = (median(&rounds.http), median(&rounds.http_cpu_us));
    report.add(
        "http_requests_s",
        http,
        &format!("HTTP alone (/healthz), 64 clients: {http:.0} requests/s"),
    );
    report.add(
        "generator_request_us",
        http_us,
        &format!("the load generator's processor time: {http_us:.1} us a request of these"),
    );
    for (key, clients, outcomes) in [("one", 1, &rounds.one), ("many", 64, &rounds.many)] {
        let rate = of(outcomes, &Outcome::rate);
        let (p50, p99) = (of(outcomes, &|o| o.ms(0.5)), of(outcomes, &|o| o.ms(0.99)));
        let steps = rate * real(STEPS);
        let goal = if clients == 1 {
            " (goal for p50: below 1 ms)"
        } else {
            ""
        };
        report.add(
            &format!("{key}_steps_s"),
            steps,
            &format!("{clients} client(s): {rate:.0} flows/s, {steps:.0} steps/s"),
        );
        report.add(
            &format!("{key}_p50_ms"),
            p50,
            &format!("{clients} client(s): p50 {p50:.2} ms{goal}, p99 {p99:.2} ms"),
        );
        report.keep(&format!("{key}_p99_ms"), p99);
        let cpu = of(outcomes, &|o| o.cpu_s * 1e6 / real(o.done.max(1)));
        report.add(
            &format!("{key}_generator_flow_us"),
            cpu,
            &format!("{clients} client(s): load generator {cpu:.0} us of processor time a flow"),
        );
    }
    let server = median(&rounds.server_cpu_us);
    report.add(
        "many_server_flow_us",
        server,
        &format!("64 client(s): server {server:.0} us of processor time a flow"),
    );
    let shares: Vec<f64> = rounds
        .many
        .iter()
        .zip(&rounds.bare)
        .map(|(outcome, bare)| outcome.rate() * real(STEPS) / bare)
        .collect();
    let share = median(&shares);
    report.add(
        "share_of_bare",
        share,
        &format!(
            "share of the bare loop on both cores: {:.0} % (goal: 40 %)",
            share * 100.0
        ),
    );
}

fn check_histories(server: &Server, rounds: &Rounds) -> Result<usize> {
    let outcomes = rounds.one.iter().chain(&rounds.many);
    let mut read = 0;
    for answer in outcomes.flat_map(|outcome| &outcome.samples).take(50) {
        let history = server.get(&format!(
            "/v1/executions/{}/history?limit=1000",
            id(answer)?
        ))?;
        let left = history.matches("\"TaskStateExited\"").count();
        ensure!(
            left == 10 && history.contains("\"ExecutionSucceeded\""),
            "a history with {left} of ten steps: {history}"
        );
        read += 1;
    }
    ensure!(read > 0, "no history was read");
    Ok(read)
}

fn tell_commits(server: &Server, rounds: &Rounds, report: &mut Report) -> Result<()> {
    report.section("commits", "(c) commits and syncs of that flow");
    for (key, clients, commits) in [
        ("one", 1, &rounds.commits[0]),
        ("many", 64, &rounds.commits[1]),
    ] {
        let commits = median(commits);
        report.add(&format!("{key}_commits"), commits, &format!("{clients} client(s): {commits:.3} commits an execution (by /metrics; goal: about one)"));
        match syncs(server, clients)? {
            None => report.note("syncs are not counted: strace is not here, or may not attach"),
            Some(syncs) => report.add(&format!("{key}_syncs"), syncs, &format!("{clients} client(s): {syncs:.3} fsync and fdatasync calls an execution (by strace)")),
        }
    }
    Ok(())
}

/// Sync calls an execution, counted by the kernel's tracer beside a load of its own.
fn syncs(server: &Server, clients: usize) -> Result<Option<f64>> {
    let table = tempfile::NamedTempFile::new()?;
    let tracer = Command::new("strace")
        .args([
            "-f",
            "-c",
            "-e",
            "trace=fsync,fdatasync,sync_file_range",
            "-o",
        ])
        .arg(table.path())
        .args(["-p", &server.pid().to_string()])
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut tracer) = tracer else {
        return Ok(None);
    };
    std::thread::sleep(Duration::from_millis(300));
    if tracer.try_wait()?.is_some() {
        return Ok(None);
    }
    let load = waiting(
        server,
        "ten",
        clients,
        Until::Elapsed(Duration::from_secs(1)),
    );
    let outcome = load::run(&load)?;
    let pid = i32::try_from(tracer.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.context("no pid")?, rustix::process::Signal::INT)?;
    tracer.wait()?;
    let text = std::fs::read_to_string(table.path())?;
    let calls: u64 = text
        .lines()
        .filter(|line| line.ends_with("sync") || line.ends_with("sync_file_range"))
        .filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok())
        .sum();
    Ok(Some(real(calls) / real(outcome.done.max(1))))
}
