//! `.run` scripts: events in; commands, history and the next timer out.
//!
//! A script is a definition, `---`, and lines that begin with `>`: milliseconds and an event.
//! Everything else below `---` is the answer, compared with the file (`UPDATE_EXPECT=1`
//! writes it: read it before you keep it). Every script also runs through its own log and
//! checkpoints, which must change nothing.

use std::fmt::Write as _;
use std::path::Path;

use stepwell_flow::resource::{Bound, ResourceMap};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::codec::{self, Logged, Record, Row};
use stepwell_interpreter::{
    Command, Event, HistoryEvent, NoHistory, Outcome, State, Timer, outstanding, step,
};
use stepwell_types::{
    Data, EntryId, ExecutionId, Failure, FlowRef, Recipient, ShardId, Signal, Spent, StepTarget,
    Timestamp,
};

/// What names from elsewhere mean in the scripts.
const BINDINGS: [(&str, &str); 6] = [
    (
        "arn:aws:states:::sqs:sendMessage*",
        r#"{"url": "https://queue.example/send", "headers": {"x-from": "flow"}}"#,
    ),
    (
        "arn:aws:lambda:*:function:bound-pay",
        r#"{"flow": "pay:2"}"#,
    ),
    ("bound-tell", r#"{"flow": "tell", "wait": false}"#),
    (
        "bound-rates",
        r#"{"url": "https://rates.example/", "method": "PUT"}"#,
    ),
    ("bound-ask", "activity:people"),
    ("acs:*:bound/*", r#"{"flow": "pay"}"#),
];

fn compiled(definition: &str) -> stepwell_flow::Checked {
    let bindings = BINDINGS.map(|(name, target)| (name.to_owned(), target.to_owned()));
    let map = ResourceMap::new(bindings.into()).expect("a map");
    let inner = &AnyModule;
    compile(definition, &Bound { inner, map: &map })
}

#[track_caller]
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/runs/{name}.run"));
    let script = std::fs::read_to_string(&path).expect("a script of this name");
    let (definition, steps) = script
        .split_once("\n---\n")
        .expect("a definition, ---, and events");
    let checked = compiled(definition);
    let program = checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
    let mut player = Player::new(&program);
    let mut out = format!("{definition}\n---\n");
    for line in steps
        .lines()
        .filter(|line| line.starts_with('>') || line.starts_with("//"))
    {
        writeln!(out, "{line}").expect("memory");
        if let Some(line) = line.strip_prefix("> ") {
            player.play(line, &mut out);
        }
    }
    player.replay();
    expect_test::expect_file![path].assert_eq(&out);
}

#[test]
fn sequence() {
    check("sequence");
}
#[test]
fn retry_then_catch() {
    check("retry-then-catch");
}
#[test]
fn jitter() {
    check("jitter");
}
#[test]
fn timeout_and_heartbeat() {
    check("timeout-and-heartbeat");
}

#[test]
fn timeout_of_the_step() {
    check("timeout-of-the-step");
}
#[test]
fn token() {
    check("token");
}
#[test]
fn child() {
    check("child");
}
#[test]
fn bound() {
    check("bound");
}
#[test]
fn activity_returned() {
    check("activity-returned");
}

#[test]
fn signals() {
    check("signals");
}
#[test]
fn signals_in_branches() {
    check("signals-in-branches");
}
#[test]
fn signals_and_timeouts() {
    check("signals-timeout");
}
#[test]
fn signals_and_failures() {
    check("signals-fail");
}
#[test]
fn signals_sent() {
    check("signals-sent");
}
#[test]
fn signals_and_redrive() {
    check("signals-and-redrive");
}

#[test]
fn callback() {
    check("callback");
}
#[test]
fn parallel_joins() {
    check("parallel-joins");
}
#[test]
fn parallel_fails() {
    check("parallel-fails");
}
#[test]
fn joined_output_fails() {
    check("joined-output-fails");
}
#[test]
fn map_window() {
    check("map-window");
}
#[test]
fn map_fails() {
    check("map-fails");
}
#[test]
fn map_retries() {
    check("map-retries");
}
#[test]
fn execution_timeout() {
    check("execution-timeout");
}
#[test]
fn cancelled() {
    check("cancelled");
}
#[test]
fn broken() {
    check("broken");
}
#[test]
fn stale_events() {
    check("stale-events");
}
#[test]
fn data_flow() {
    check("data-flow");
}
#[test]
fn wait() {
    check("wait");
}
#[test]
fn result_path_mismatch() {
    check("result-path-mismatch");
}
#[test]
fn map_empty() {
    check("map-empty");
}
#[test]
fn redrive_nested() {
    check("redrive-nested");
}
#[test]
fn redrive_fail_state() {
    check("redrive-fail-state");
}
#[test]
fn redrive_timed_out() {
    check("redrive-timed-out");
}
#[test]
fn redrive_cancelled() {
    check("redrive-cancelled");
}
#[test]
fn redrive_after_catch() {
    check("redrive-after-catch");
}
#[test]
fn redrive_input() {
    check("redrive-input");
}
#[test]
fn redrive_map_item() {
    check("redrive-map-item");
}
#[test]
fn redrive_join() {
    check("redrive-join");
}
#[test]
fn redrive_token() {
    check("redrive-token");
}
#[test]
fn redrive_again() {
    check("redrive-again");
}

/// Every script of a folder, and beside those that have one (`NAME.asl.yaml`) the same
/// flow in Amazon States Language: both end alike, and enter and leave the same kinds of
/// states in the same order.
#[track_caller]
fn check_folder(folder: &str, twins: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/runs")
        .join(folder);
    let mut names: Vec<String> = std::fs::read_dir(&path)
        .expect("a folder of scripts")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    names.sort();
    let mut compared = 0;
    for name in names.iter().filter_map(|n| n.strip_suffix(".run")) {
        check(&format!("{folder}/{name}"));
        if let Ok(twin) = std::fs::read_to_string(path.join(format!("{name}.asl.yaml"))) {
            let script = std::fs::read_to_string(path.join(format!("{name}.run")));
            same(name, &script.expect("a script"), &twin);
            compared += 1;
        }
    }
    assert_eq!(
        compared, twins,
        "flows with a twin in Amazon States Language"
    );
}

/// Plays the events of a script against its own flow and against another one.
#[track_caller]
fn same(name: &str, script: &str, other: &str) {
    let (definition, steps) = script
        .split_once("\n---\n")
        .expect("a definition, ---, and events");
    let play = |definition: &str| {
        let program = compiled(definition).into_program().expect("a sound flow");
        let mut player = Player::new(&program);
        for line in steps.lines().filter_map(|line| line.strip_prefix("> ")) {
            player.play(line, &mut String::new());
        }
        let outcome = player.state.outcome().cloned();
        let types = player.history.iter().map(|(_, event)| {
            event.render(Timestamp(0))["type"]
                .as_str()
                .unwrap_or("?")
                .to_owned()
        });
        (outcome, types.collect::<Vec<_>>())
    };
    let (ours, theirs) = (play(definition), play(other));
    assert!(ours.0.is_some(), "{name} ends");
    assert_eq!(ours, theirs, "{name} in both languages");
}

#[test]
fn cloudflow() {
    check_folder("cloudflow", 15);
}
#[test]
fn steps() {
    check_folder("steps", 9);
}
#[test]
fn fleet() {
    check_folder("fleet", 0);
}

/// One execution under test, its twin that goes through bytes, and its log.
struct Player<'p> {
    program: &'p Program,
    state: State,
    twin: State,
    seen: usize,
    history: Vec<(Timestamp, HistoryEvent)>,
    log: Row,
}

impl<'p> Player<'p> {
    fn new(program: &'p Program) -> Player<'p> {
        let fresh = State::new(ExecutionId::new(Timestamp(0), ShardId(5), 9));
        Player {
            program,
            state: fresh.clone(),
            twin: fresh,
            seen: 0,
            history: Vec::new(),
            log: Row::new(),
        }
    }

    fn play(&mut self, line: &str, out: &mut String) {
        let (now, event) = self.parse(line);
        let mut commands = Vec::new();
        step(
            self.program,
            &mut self.state,
            &event,
            now,
            &mut self.history,
            &mut commands,
        )
        .expect("the event is taken");
        self.play_twin(&event, now, &commands);
        for (_, event) in self.history.get(self.seen..).unwrap_or_default() {
            writeln!(
                out,
                "  # {} <- {} {}",
                event.id,
                event.previous,
                about(event)
            )
            .expect("memory");
        }
        self.seen = self.history.len();
        for command in &commands {
            writeln!(out, "  < {}", print(command)).expect("memory");
        }
        if let Some((at, entry, timer)) = self.state.next_timer() {
            writeln!(out, "  ~ {} {} {timer:?}", at.0, entry.0).expect("memory");
        }
        if self.state.outcome().is_some() {
            writeln!(out, "  = {} transitions", self.state.transitions()).expect("memory");
        }
        self.log.append(
            &Logged::Event(Record {
                at: now,
                event,
                commands: codec::digest(&commands),
            }),
            &mut |_| None,
        );
    }

    /// The same event on a state that has just been decoded.
    fn play_twin(&mut self, event: &Event, now: Timestamp, expected: &[Command]) {
        let bytes = codec::encode_state(&self.twin, &mut |_| None);
        self.twin = codec::decode_state(&bytes, &no_blobs).expect("what was encoded");
        let again = codec::encode_state(&self.twin, &mut |_| None);
        // Payloads that are equal but were not shared stay apart, so both sizes agree.
        assert_eq!(bytes, again, "decoding and encoding is the identity");
        let mut commands = Vec::new();
        step(
            self.program,
            &mut self.twin,
            event,
            now,
            &mut NoHistory,
            &mut commands,
        )
        .expect("the twin takes it");
        assert_eq!(commands, expected, "a checkpoint changes nothing");
        assert_eq!(self.twin.next_timer(), self.state.next_timer());
        assert_eq!(self.twin.active_steps(), self.state.active_steps());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        outstanding(self.program, &self.state, &mut ours);
        outstanding(self.program, &self.twin, &mut theirs);
        assert_eq!(ours, theirs, "a checkpoint forgets nothing");
    }

    /// The whole log from its bytes gives the same commands.
    fn replay(&mut self) {
        let row = self.log.take();
        let mut state = State::new(self.state.execution());
        for logged in codec::decode(&row, &no_blobs).expect("a sound row") {
            let Logged::Event(record) = logged else {
                panic!("only events were logged")
            };
            let mut commands = Vec::new();
            step(
                self.program,
                &mut state,
                &record.event,
                record.at,
                &mut NoHistory,
                &mut commands,
            )
            .expect("replay takes it");
            assert_eq!(
                codec::digest(&commands),
                record.commands,
                "{:?}",
                record.event
            );
        }
        assert_eq!(state.outcome(), self.state.outcome());
        assert_eq!(state.transitions(), self.state.transitions());
    }

    fn parse(&self, line: &str) -> (Timestamp, Event) {
        let (now, rest) = line.split_once(' ').expect("a time and an event");
        let now = Timestamp(now.parse().expect("milliseconds"));
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let event = match verb {
            "start" => Event::Started {
                flow: FlowRef {
                    name: "flow".into(),
                    version: 1,
                },
                name: "run".into(),
                input: Data::parse(rest).expect("JSON"),
                seed: *b"0123456789abcdef",
                parent: None,
            },
            "step" => {
                let (entry, attempt, result) = answer(rest);
                Event::StepEnded {
                    entry,
                    attempt,
                    result,
                    spent: Spent::default(),
                }
            }
            "token" => {
                let (entry, attempt, result) = answer(rest);
                Event::TokenEnded {
                    entry,
                    attempt,
                    result,
                }
            }
            "child" => {
                let (entry, attempt, result) = answer(rest);
                Event::ChildEnded {
                    entry,
                    attempt,
                    result,
                }
            }
            // `item SLOT ENTRY.ATTEMPT` or `… failed`.
            "item" => {
                let (slot, rest) = rest.split_once(' ').expect("a slot and an attempt");
                let (who, how) = rest.split_once(' ').unwrap_or((rest, ""));
                let (entry, attempt) = which(who);
                Event::ItemEnded {
                    entry,
                    attempt,
                    slot: slot.parse().expect("a slot"),
                    failed: how == "failed",
                }
            }
            // `signal NAME JSON`, or `signal NAME@SENDER JSON`.
            "signal" => {
                let (name, data) = rest.split_once(' ').expect("a name and data");
                let (name, sender) = match name.split_once('@') {
                    None => (name, None),
                    Some((name, n)) => (name, Some(n.parse().expect("a number"))),
                };
                let signal = Signal {
                    name: name.into(),
                    data: Data::parse(data).expect("JSON"),
                    sender: sender.map(|n| ExecutionId::new(Timestamp(0), ShardId(1), n)),
                };
                assert_eq!(self.twin.room_for(&signal), self.state.room_for(&signal));
                Event::Signalled { signal }
            }
            "taken" => {
                let (entry, attempt) = which(rest);
                let worker = None;
                Event::ActivityStarted {
                    entry,
                    attempt,
                    worker,
                }
            }
            "returned" => {
                let (entry, attempt) = which(rest);
                Event::ActivityReturned { entry, attempt }
            }
            "heartbeat" => {
                let (entry, attempt) = which(rest);
                Event::Heartbeat { entry, attempt }
            }
            "timer" => {
                let (entry, timer) = rest.split_once(' ').expect("an entry and a timer");
                let timer = match timer {
                    "Wait" => Timer::Wait,
                    "Backoff" => Timer::Backoff,
                    "Timeout" => Timer::Timeout,
                    "Heartbeat" => Timer::Heartbeat,
                    other => panic!("no timer {other}"),
                };
                Event::TimerFired {
                    entry: EntryId(entry.parse().expect("an entry")),
                    timer,
                }
            }
            "cancel" => Event::Cancelled {
                failure: Failure::new("Stopped", rest),
            },
            "broken" => Event::Broken {
                failure: Failure::new("Stepwell.ReplayDiverged", rest),
            },
            "continued" => Event::Continued,
            // `redrive`, `redrive STATE JSON`, `redrive - JSON`.
            "redrive" => {
                let (name, input) = rest.split_once(' ').unwrap_or((rest, ""));
                let name = Some(name).filter(|n| !n.is_empty() && *n != "-");
                let input = (!input.is_empty()).then(|| Data::parse(input).expect("JSON"));
                let asked = self.state.redrive(self.program, None, name, input);
                asked.expect("it can be redriven")
            }
            other => panic!("no event {other}"),
        };
        (now, event)
    }
}

/// `3.0 ok JSON` or `3.0 fail NAME CAUSE`.
fn answer(text: &str) -> (EntryId, u32, Result<Data, Failure>) {
    let (who, rest) = text.split_once(' ').expect("an attempt and its answer");
    let (entry, attempt) = which(who);
    let (kind, rest) = rest.split_once(' ').expect("ok or fail");
    let result = match kind {
        "ok" => Ok(Data::parse(rest).expect("JSON")),
        "fail" => {
            let (error, cause) = rest.split_once(' ').unwrap_or((rest, ""));
            Err(Failure::new(error, cause))
        }
        other => panic!("no answer {other}"),
    };
    (entry, attempt, result)
}

fn which(text: &str) -> (EntryId, u32) {
    let (entry, attempt) = text.split_once('.').expect("entry.attempt");
    (
        EntryId(entry.parse().expect("an entry")),
        attempt.parse().expect("an attempt"),
    )
}

fn no_blobs(digest: &stepwell_types::Digest) -> Result<Data, String> {
    Err(format!("{digest} was never stored"))
}

fn about(event: &HistoryEvent) -> String {
    let rendered = event.render(Timestamp(0));
    let mut out = rendered["type"].as_str().unwrap_or("?").to_owned();
    let details = rendered.as_object().into_iter().flatten();
    for (_, details) in details.filter(|(key, _)| key.ends_with("EventDetails")) {
        for (key, value) in details.as_object().into_iter().flatten() {
            if !key.ends_with("Details") && key != "roleArn" && key != "region" {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                write!(out, " {key}={text}").expect("memory");
            }
        }
    }
    out
}

fn print(command: &Command) -> String {
    match command {
        Command::Run(run) => {
            let deadline = match run.deadline {
                None => String::new(),
                Some(Timestamp::MAX) => " without end".to_owned(),
                Some(at) => format!(" by {}", at.0),
            };
            let token = if run.token.is_some() {
                " with a token"
            } else {
                ""
            };
            let what = match &run.target {
                StepTarget::ReadItems(read) => format!("reads {read:?} "),
                StepTarget::WriteResults(write) => {
                    format!("writes {} {:?} ", write.key(), write.chunk)
                }
                StepTarget::CollectResults => "collects ".into(),
                _ => String::new(),
            };
            format!(
                "run {} {}.{} {what}{}{deadline}{token}",
                run.state,
                run.entry.0,
                run.attempt,
                run.input.text()
            )
        }
        Command::Abort { entry, attempt } => format!("abort {}.{attempt}", entry.0),
        Command::Continue => "continue".into(),
        Command::StartChild(start) => {
            let version = start.version.map_or(String::new(), |v| format!(":{v}"));
            let name = start.name.as_deref().unwrap_or("-");
            if let Some(slot) = start.link.item {
                return format!(
                    "start item {slot} {}{version} graph {} {:?}{}{} for {}.{} {}",
                    start.flow,
                    start.link.graph,
                    start.link.wants,
                    if start.link.express { " express" } else { "" },
                    if start.again { " again" } else { "" },
                    start.link.entry.0,
                    start.link.attempt,
                    start.input.text()
                );
            }
            format!(
                "start child {}{version} {name} {:?} depth {} for {}.{} {}",
                start.flow,
                start.link.wants,
                start.link.depth,
                start.link.entry.0,
                start.link.attempt,
                start.input.text()
            )
        }
        Command::CancelChild { express: true, .. } => "cancel express child".into(),
        Command::CancelChild { .. } => "cancel child".into(),
        Command::Signal {
            entry,
            attempt,
            send,
        } => {
            let to = match &send.to {
                Recipient::Execution(id) => id.to_string(),
                Recipient::Named { flow, name } => format!("{name} of {flow}"),
            };
            let key = send.key.map(|key| key.to_string()).unwrap_or_default();
            format!(
                "signal {} to {to} for {}.{attempt} {} under {}",
                send.signal.name,
                entry.0,
                send.signal.data.text(),
                key.get(..8).unwrap_or("none")
            )
        }
        Command::ForgetResults { entry, run } => format!("forget results {}.{run}", entry.0),
        Command::Finish(Outcome::Succeeded(output)) => {
            format!("finish SUCCEEDED {}", output.text())
        }
        Command::Finish(Outcome::Failed(f)) => format!("finish FAILED {}: {}", f.error, f.cause),
        Command::Finish(Outcome::TimedOut(f)) => {
            format!("finish TIMED_OUT {}: {}", f.error, f.cause)
        }
        Command::Finish(Outcome::Aborted(f)) => format!("finish ABORTED {}: {}", f.error, f.cause),
    }
}
