//! Random flows whose result does not depend on timing, so that a calm run is the oracle.
//!
//! A state's name says how its step behaves: see [`behaviour`].

use std::fmt::Write as _;
use std::ops::Range;

use stepwell_types::items::{ItemCursor, ItemPage, ItemPlace, ItemRead};
use stepwell_types::{Data, Digest, Failure, StepRequest, StepTarget};

use crate::random::Random;

/// How a simulated step answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with its name and a digest of its input.
    Echo,
    /// Fails on the first attempts, then answers.
    Flaky(u32),
    /// Always fails with `Sim.Failed`.
    Fails,
    /// Fails with `Sim.Failed` on half of all inputs, and always on the same ones.
    Picky,
    /// Kills the process on every attempt.
    Poison,
}

/// Reads a state's behaviour off its name: `Flaky2_17`, `Fails_3`, `Echo_4`.
#[must_use]
pub fn behaviour(state: &str) -> Behaviour {
    let kind = state.split('_').next().unwrap_or("");
    match kind {
        "Fails" => Behaviour::Fails,
        "Picky" => Behaviour::Picky,
        "Poison" => Behaviour::Poison,
        _ => match kind.strip_prefix("Flaky").and_then(|n| n.parse().ok()) {
            Some(n) => Behaviour::Flaky(n),
            None => Behaviour::Echo,
        },
    }
}

/// A simulated step's answer.
///
/// # Errors
/// The failure that its behaviour asks for.
pub fn answer(request: &StepRequest) -> Result<Data, Failure> {
    match &request.target {
        StepTarget::ReadItems(read) => return page(read, request.attempt),
        StepTarget::WriteResults(write) => {
            let file = serde_json::json!({
                "Key": write.key(), "Size": request.input.len_bytes(),
            });
            return Ok(Data::from_value(file));
        }
        _ => {}
    }
    let fails = match behaviour(&request.state) {
        Behaviour::Picky => Digest::of(request.input.text().as_bytes()).0[0] & 1 == 1,
        Behaviour::Echo | Behaviour::Poison => false,
        Behaviour::Flaky(n) => request.attempt < n,
        Behaviour::Fails => true,
    };
    if fails {
        return Err(Failure::new("Sim.Failed", "as the flow asked"));
    }
    let digest = Digest::of(request.input.text().as_bytes()).to_string();
    let text = format!(
        r#"{{"from":"{}","saw":"{}","n":{}}}"#,
        request.state,
        digest.get(..8).unwrap_or(""),
        request.input.text().len() % 7
    );
    Ok(Data::from_valid_text(text))
}

/// A page of the bucket that every flow reads: some of the numbers below seven, as many at
/// a time as comes to hand. Its object `flaky` is not there at first.
fn page(read: &ItemRead, attempt: u32) -> Result<Data, Failure> {
    const ITEMS: u32 = 7;
    if matches!(&read.source.place, ItemPlace::Object { key, .. } if &**key == "flaky")
        && attempt == 0
    {
        return Err(Failure::new("States.ItemReaderFailed", "it is not there"));
    }
    let from: u32 = match &read.cursor {
        None => 0,
        Some(cursor) => cursor.0.parse().unwrap_or(ITEMS),
    };
    let until = ITEMS.min(from + (from % 3 + 1).min(read.items_max));
    let page = ItemPage {
        items: (from..until).map(Into::into).collect(),
        next: (until < ITEMS).then(|| ItemCursor(until.to_string().into())),
        version: Some("v1".into()),
        keyed: false,
    };
    Ok(page.answer())
}

/// What an outside program answers for a waiting task.
pub fn token_answer(state: &str) -> Result<Data, Failure> {
    if state.starts_with("Refused") {
        return Err(Failure::new("Sim.Refused", "by the reviewer"));
    }
    Ok(Data::from_valid_text(format!(
        r#"{{"approved":"{state}","n":3}}"#
    )))
}

/// What a client's signal carries: what its name says, which is all that a flow makes of it, and
/// a number of its own.
#[must_use]
pub fn signal_data(name: &str, number: u64) -> Data {
    Data::from_valid_text(format!(r#"{{"from":"{name}","id":"c{number}"}}"#))
}

/// A flow that never ends by itself: it must be cancelled.
pub const SLEEPER: &str = r#"{"StartAt":"Silent_1","States":{"Silent_1":{"Type":"Task","Resource":"callback","End":true}}}"#;
/// Its name.
pub const SLEEPER_NAME: &str = "sleeper";

/// A whole definition, as JSON text. `starts`: numbers of the flows that it may start.
#[must_use]
pub fn definition(random: &mut Random, poison: bool, starts: Range<usize>) -> String {
    let mut maker = Maker {
        random,
        number: 0,
        starts,
        express: false,
    };
    let body = maker.chain(0, poison);
    format!("{{{body}}}")
}

/// One whose executions may be express ones: no tokens, no children.
#[must_use]
pub fn express_definition(random: &mut Random) -> String {
    let mut maker = Maker {
        random,
        number: 0,
        starts: 0..0,
        express: true,
    };
    let body = maker.chain(0, false);
    format!("{{{body}}}")
}

struct Maker<'a> {
    random: &'a mut Random,
    number: usize,
    /// The flows that this one may start.
    starts: Range<usize>,
    /// None of what a standard execution alone has.
    express: bool,
}

impl Maker<'_> {
    fn name(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("{kind}_{}", self.number)
    }

    /// `"StartAt": …, "States": {…}` of one to four states.
    fn chain(&mut self, depth: usize, poison: bool) -> String {
        let length = 1 + self.random.index(4);
        let mut names: Vec<(String, usize)> = (0..length)
            .map(|_| {
                let kind = self.random.index(if depth < 2 { PREFIX.len() } else { 9 });
                // Half of the executions that could start others would be too many.
                let kind = if matches!(kind, 12..=15 | 20) && depth > 0 {
                    kind % 3
                } else {
                    kind
                };
                let kind = match kind {
                    6 | 7 | 12.. if self.express => kind % 3,
                    kind => kind,
                };
                (self.name(PREFIX[kind]), kind)
            })
            .collect();
        if poison {
            names.push((self.name("Poison"), 0));
        }
        let start = names.first().map(|(n, _)| n.clone()).unwrap_or_default();
        let mut states = String::new();
        for (i, (name, kind)) in names.iter().enumerate() {
            let next = match names.get(i + 1) {
                Some((next, _)) => format!(r#""Next":"{next}""#),
                None => r#""End":true"#.to_owned(),
            };
            if i > 0 {
                states.push(',');
            }
            let body = self.state(
                *kind,
                &next,
                names.get(i + 1).map(|(n, _)| n.as_str()),
                depth,
            );
            // A rescue target is a state of its own beside it.
            let _ = write!(states, r#""{name}":{}"#, body.replace("SELF", name));
            states.push_str(&self.beside(*kind, name, &next));
            if matches!(*kind, 4 | 7 | 12 | 14 | 15 | 18) {
                let _ = write!(
                    states,
                    r#","Rescue_{name}":{{"Type":"Pass","Result":{{"rescued":"{name}","n":1}},{next}}}"#
                );
            }
            if *kind == 8 {
                let _ = write!(states, r#","Left_{name}":{{"Type":"Pass",{next}}}"#);
            }
        }
        format!(r#""StartAt":"{start}","States":{{{states}}}"#)
    }

    fn state(&mut self, kind: usize, next: &str, after: Option<&str>, depth: usize) -> String {
        match kind {
            0 => format!(r#"{{"Type":"Task","Resource":"wasm:sim",{next}}}"#),
            1 => format!(r#"{{"Type":"Pass",{next}}}"#),
            2 => format!(
                r#"{{"Type":"Task","Resource":"wasm:sim","Retry":[{{"ErrorEquals":["Sim.Failed"],"IntervalSeconds":{},"MaxAttempts":3,"JitterStrategy":"FULL"}}],{next}}}"#,
                1 + self.random.index(5)
            ),
            3 => format!(
                r#"{{"Type":"Task","Resource":"http:request","Parameters":{{"url":"http://sim/","method":"POST","body.$":"$"}},{next}}}"#
            ),
            4 => format!(
                r#"{{"Type":"Task","Resource":"wasm:sim","Catch":[{{"ErrorEquals":["States.ALL"],"Next":"Rescue_SELF"}}],{next}}}"#
            ),
            5 => format!(
                r#"{{"Type":"Wait","Seconds":{},{next}}}"#,
                self.random.index(90)
            ),
            6 => format!(
                r#"{{"Type":"Task","Resource":"callback","Parameters":{{"token.$":"$$.Task.Token"}},{next}}}"#
            ),
            7 => format!(
                r#"{{"Type":"Task","Resource":"callback","TimeoutSeconds":{},"Catch":[{{"ErrorEquals":["States.Timeout"],"Next":"Rescue_SELF"}}],{next}}}"#,
                1 + self.random.index(60)
            ),
            8 => {
                let target = after.map_or_else(|| "Left_SELF".to_owned(), str::to_owned);
                format!(
                    r#"{{"Type":"Choice","Choices":[{{"Variable":"$.n","IsPresent":true,"Next":"Left_SELF"}}],"Default":"{target}"}}"#
                )
            }
            9 => {
                let branches: Vec<_> = (0..2 + self.random.index(2))
                    .map(|_| format!("{{{}}}", self.chain(depth + 1, false)))
                    .collect();
                format!(
                    r#"{{"Type":"Parallel","Branches":[{}],{next}}}"#,
                    branches.join(",")
                )
            }
            10 if depth == 0 && !self.express && self.random.chance(60) => self.fleet(next),
            10 => {
                let body = self.chain(depth + 1, false);
                format!(
                    r#"{{"Type":"Map","ItemsPath":"$$.Execution.Input.items","MaxConcurrency":{},"ItemProcessor":{{{body}}},{next}}}"#,
                    self.random.index(3)
                )
            }
            12 | 13 => self.child(kind == 12, next),
            // The child never ends: the parent's limit, or a branch beside it, ends it.
            14 => format!(
                r#"{{"Type":"Task","Resource":"flow:start.sync","TimeoutSeconds":{},"Parameters":{{"StateMachineArn":"{SLEEPER_NAME}"}},"Catch":[{{"ErrorEquals":["States.Timeout"],"Next":"Rescue_SELF"}}],{next}}}"#,
                1 + self.random.index(60)
            ),
            15 => {
                let fails = self.name("Fails");
                let sleeps = self.name("Sleeps");
                format!(
                    r#"{{"Type":"Parallel","Branches":[{{"StartAt":"{fails}","States":{{"{fails}":{{"Type":"Task","Resource":"wasm:sim","End":true}}}}}},{{"StartAt":"{sleeps}","States":{{"{sleeps}":{{"Type":"Task","Resource":"flow:start.sync:2","Parameters":{{"StateMachineArn":"{SLEEPER_NAME}"}},"End":true}}}}}}],"Catch":[{{"ErrorEquals":["States.ALL"],"Next":"Rescue_SELF"}}],{next}}}"#
                )
            }
            // To itself. It is taken after a while, in which only the execution's own state has it.
            16 => r#"{"Type":"Task","Resource":"signal:send","Parameters":{"Execution.$":"$$.Execution.Id","Name":"SELF","Data":{"from":"SELF","id.$":"States.UUID()"}},"ResultPath":null,"Next":"Pause_SELF"}"#.to_owned(),
            17 => format!(
                r#"{{"Type":"Task","Resource":"signal:wait","Parameters":{{"Name":"SELF"}},"ResultSelector":{{"heard.$":"$.Data.from","n":1}},{next}}}"#
            ),
            // Nobody sends it.
            18 => format!(
                r#"{{"Type":"Task","Resource":"signal:wait","TimeoutSeconds":{},"Parameters":{{"Name":["SELF","Nothing"]}},"Catch":[{{"ErrorEquals":["States.Timeout"],"Next":"Rescue_SELF"}}],{next}}}"#,
                1 + self.random.index(60)
            ),
            // By name, to one that may be there or not.
            19 => format!(
                r#"{{"Type":"Task","Resource":"signal:send","Parameters":{{"Flow":"flow{}","ExecutionName":"run{}","Name":"Hear_{}","Data":{{"from":"Hear_{}","id.$":"States.UUID()"}}}},"ResultPath":null,"Catch":[{{"ErrorEquals":["States.ALL"],"ResultPath":null,"Next":"Sent_SELF"}}],"Next":"Sent_SELF"}}"#,
                self.random.index(3),
                self.random.index(40),
                self.number % 8 + 1,
                self.number % 8 + 1
            ),
            20 => self.nudge(next),
            _ => format!(
                r#"{{"Type":"Task","Resource":"http:request","Retry":[{{"ErrorEquals":["Sim.Failed"],"IntervalSeconds":2}}],"Parameters":{{"url":"http://sim/","body.$":"$"}},{next}}}"#
            ),
        }
    }
}

impl Maker<'_> {
    /// A distributed Map: of what kind its children are, where its items come from, how many
    /// may fail, and what becomes of the results.
    fn fleet(&mut self, next: &str) -> String {
        let express = self.random.chance(50);
        // Below are no items of the execution's own input, so what maps there maps over none.
        let body = if express {
            let (first, last) = (self.name("Flaky1"), self.name("Picky"));
            format!(
                r#""StartAt":"{first}","States":{{"{first}":{{"Type":"Task","Resource":"wasm:sim","Retry":[{{"ErrorEquals":["States.ALL"],"IntervalSeconds":1}}],"Next":"{last}"}},"{last}":{{"Type":"Task","Resource":"wasm:sim","End":true}}}}"#
            )
        } else if self.random.chance(50) {
            let last = self.name("Picky");
            format!(
                r#""StartAt":"{last}","States":{{"{last}":{{"Type":"Task","Resource":"wasm:sim","End":true}}}}"#
            )
        } else {
            self.chain(1, false)
        };
        let kind = if express { "EXPRESS" } else { "STANDARD" };
        let items = match self.random.index(3) {
            0 => r#""ItemsPath":"$$.Execution.Input.items""#.to_owned(),
            n => {
                let key = ["list", "flaky"][n - 1];
                format!(
                    r#""ItemReader":{{"Resource":"arn:aws:states:::s3:getObject","ReaderConfig":{{"InputType":"JSON","MaxItems":{}}},"Parameters":{{"Bucket":"sim","Key":"{key}"}}}},"Retry":[{{"ErrorEquals":["States.ItemReaderFailed"],"IntervalSeconds":1}}]"#,
                    self.random.index(9)
                )
            }
        };
        let batcher = match self.random.chance(30) {
            true => format!(
                r#""ItemBatcher":{{"MaxItemsPerBatch":{}}},"#,
                1 + self.random.index(3)
            ),
            false => String::new(),
        };
        let tolerated = match self.random.index(4) {
            0 => "",
            1 => r#""ToleratedFailureCount":1,"#,
            2 => r#""ToleratedFailurePercentage":50,"#,
            _ => r#""ToleratedFailurePercentage":100,"#,
        };
        // The output names the execution, which the oracle's is another one than.
        let writer = match self.random.chance(25) {
            true => {
                r#""ResultWriter":{"Resource":"arn:aws:states:::s3:putObject","Parameters":{"Bucket":"sim","Prefix":"p"}},"ResultSelector":{"written":true},"#
            }
            false => "",
        };
        format!(
            r#"{{"Type":"Map",{items},{batcher}{tolerated}{writer}"MaxConcurrency":{},"ItemSelector":{{"items":[],"item.$":"$$.Map.Item.Value"}},"ItemProcessor":{{"ProcessorConfig":{{"Mode":"DISTRIBUTED","ExecutionType":"{kind}"}},{body}}},{next}}}"#,
            self.random.index(3)
        )
    }

    /// Starts another flow, and waits for its end or not. What the parent makes of it says
    /// nothing of times and ids, so that the oracle knows it.
    fn child(&mut self, waits: bool, next: &str) -> String {
        if self.starts.is_empty() {
            return format!(r#"{{"Type":"Pass",{next}}}"#);
        }
        let flow = self.starts.start + self.random.index(self.starts.len());
        let parameters = format!(
            r#""Parameters":{{"StateMachineArn":"flow{flow}","Input":{{"items.$":"$$.Execution.Input.items"}}}}"#
        );
        if waits {
            return format!(
                r#"{{"Type":"Task","Resource":"flow:start.sync:2",{parameters},"ResultSelector":{{"of":"SELF","out.$":"$.Output"}},"Catch":[{{"ErrorEquals":["States.TaskFailed"],"Next":"Rescue_SELF"}}],{next}}}"#
            );
        }
        format!(
            r#"{{"Type":"Task","Resource":"flow:start",{parameters},"ResultSelector":{{"started":"SELF","n":1}},{next}}}"#
        )
    }
}

impl Maker<'_> {
    /// States that belong to one that sends a signal.
    fn beside(&self, kind: usize, name: &str, next: &str) -> String {
        match kind {
            16 => format!(
                r#","Pause_{name}":{{"Type":"Wait","Seconds":{},"Next":"Take_{name}"}},"Take_{name}":{{"Type":"Task","Resource":"signal:wait","Parameters":{{"Name":"{name}"}},"ResultSelector":{{"took.$":"$.Data.from","n":1}},{next}}}"#,
                1 + self.number % 20
            ),
            19 => format!(r#","Sent_{name}":{{"Type":"Pass",{next}}}"#),
            20 if !self.starts.is_empty() => format!(
                r#","Send_{name}":{{"Type":"Task","Resource":"signal:send","Parameters":{{"Execution.$":"$.to","Name":"Hear_1","Data":{{"from":"Hear_1","id.$":"States.UUID()"}}}},"Catch":[{{"ErrorEquals":["States.ALL"],"Next":"Sent_{name}"}}],"Next":"Sent_{name}"}},"Sent_{name}":{{"Type":"Pass","Result":{{"nudged":"{name}","n":1}},{next}}}"#
            ),
            _ => String::new(),
        }
    }

    /// Starts another flow, and sends the execution a signal.
    fn nudge(&mut self, next: &str) -> String {
        if self.starts.is_empty() {
            return format!(r#"{{"Type":"Pass",{next}}}"#);
        }
        let flow = self.starts.start + self.random.index(self.starts.len());
        format!(
            r#"{{"Type":"Task","Resource":"flow:start","Parameters":{{"StateMachineArn":"flow{flow}","Input":{{"items.$":"$$.Execution.Input.items"}}}},"ResultSelector":{{"to.$":"$.ExecutionArn"}},"Next":"Send_SELF"}}"#
        )
    }
}

/// Name prefixes by kind: the step's behaviour where it has a step.
const PREFIX: [&str; 21] = [
    "Echo", "Pass", "Flaky2", "Call", "Fails", "Wait", "Ask", "Silent", "Choice", "Fork", "Each",
    "Flaky1", "Child", "Spawn", "Sleeps", "Race", "Post", "Hear", "Quiet", "Tell", "Nudge",
];
