//! The right result: the same flow and input, walked without any fault.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State};
use stepwell_types::{
    Data, EntryId, ExecutionId, Failure, FlowRef, ParentLink, Recipient, ShardId, Signal, Spent,
    StepRequest, StepTarget, Timestamp, Wants,
};

use super::flows;
use super::world::World;

/// Walks a flow on an input, every step and answer at once.
pub fn outcome(world: &World, flow: &Arc<str>, input: &Data) -> Result<Outcome, String> {
    walk(world, flow, input, None)
}

fn walk(
    world: &World,
    flow: &Arc<str>,
    input: &Data,
    parent: Option<ParentLink>,
) -> Result<Outcome, String> {
    let program = world.flows.0.get(flow).ok_or("no such flow")?;
    let mut now = Timestamp(0);
    let id = ExecutionId::new(now, ShardId(0), 1);
    let mut state = State::new(id);
    let mut queue = std::collections::VecDeque::from([Event::Started {
        flow: FlowRef {
            name: flow.clone(),
            version: 1,
        },
        name: "oracle".into(),
        input: input.clone(),
        seed: [0; 16],
        parent: parent.map(Arc::new),
    }]);
    let mut results: BTreeMap<(EntryId, u32), Data> = BTreeMap::new();
    for _ in 0..1_000_000 {
        let event = match queue.pop_front() {
            Some(event) => event,
            None => match (state.next_timer(), state.signals_wanted().next()) {
                (Some((at, entry, timer)), _) => {
                    now = now.max(at);
                    Event::TimerFired { entry, timer }
                }
                (None, Some(name)) => Event::Signalled {
                    signal: Signal {
                        name: name.clone(),
                        data: flows::signal_data(name, 0),
                        sender: None,
                    },
                },
                (None, None) => return Err("the oracle is stuck".into()),
            },
        };
        let mut commands = Vec::new();
        stepwell_interpreter::step(
            program,
            &mut state,
            &event,
            now,
            &mut NoHistory,
            &mut commands,
        )
        .map_err(|e| e.to_string())?;
        for command in commands {
            match command {
                Command::Finish(outcome) => return Ok(outcome),
                Command::Continue => queue.push_back(Event::Continued),
                Command::Abort { .. }
                | Command::CancelChild { .. }
                | Command::ForgetResults { .. } => {}
                Command::Signal {
                    entry,
                    attempt,
                    send,
                } => {
                    if send.to == Recipient::Execution(id) {
                        let signal = send.signal;
                        queue.push_back(Event::Signalled { signal });
                    }
                    // Whether it came to another is nothing that a flow here goes by.
                    queue.push_back(Event::StepEnded {
                        entry,
                        attempt,
                        result: Ok(Data::null()),
                        spent: Spent::default(),
                    });
                }
                Command::StartChild(start) if start.link.item.is_some() => {
                    let (entry, attempt) = (start.link.entry, start.link.attempt);
                    let slot = start.link.item.unwrap_or_default();
                    let ended = walk(world, &start.flow, &start.input, Some(start.link))?;
                    let failed = !matches!(ended, Outcome::Succeeded(_));
                    let result = match ended {
                        Outcome::Succeeded(output) => output,
                        Outcome::Failed(f) | Outcome::TimedOut(f) | Outcome::Aborted(f) => {
                            Data::from_value(serde_json::json!({
                                "Error": &*f.error, "Cause": &*f.cause,
                            }))
                        }
                    };
                    results.insert((entry, slot), result);
                    queue.push_back(Event::ItemEnded {
                        entry,
                        attempt,
                        slot,
                        failed,
                    });
                }
                Command::StartChild(start) => {
                    let (entry, attempt) = (start.link.entry, start.link.attempt);
                    queue.push_back(Event::StepEnded {
                        entry,
                        attempt,
                        result: Ok(stepwell_interpreter::child::started(start.child, now)),
                        spent: Spent::default(),
                    });
                    if start.link.wants != Wants::Nothing && &*start.flow != flows::SLEEPER_NAME {
                        let result = match outcome(world, &start.flow, &start.input)? {
                            Outcome::Succeeded(output) => Ok(Data::from_value(
                                serde_json::json!({ "Output": output.value() }),
                            )),
                            _ => Err(Failure::new("States.TaskFailed", "")),
                        };
                        queue.push_back(Event::ChildEnded {
                            entry,
                            attempt,
                            result,
                        });
                    }
                }
                Command::Run(step) => {
                    let (entry, attempt) = (step.entry, step.attempt);
                    if step.target == StepTarget::CollectResults {
                        let all = results.range((entry, 0)..=(entry, u32::MAX));
                        let all: Vec<&str> = all.map(|(_, r)| r.text()).collect();
                        queue.push_back(Event::StepEnded {
                            entry,
                            attempt,
                            result: Ok(Data::from_valid_text(format!("[{}]", all.join(",")))),
                            spent: Spent::default(),
                        });
                        continue;
                    }
                    if step.target == StepTarget::Callback {
                        if !step.state.starts_with("Silent") {
                            let result = flows::token_answer(&step.state);
                            queue.push_back(Event::TokenEnded {
                                entry,
                                attempt,
                                result,
                            });
                        }
                        continue;
                    }
                    let request = StepRequest {
                        execution: id,
                        execution_name: "oracle".into(),
                        flow: flow.clone(),
                        state: step.state,
                        entry,
                        attempt,
                        target: step.target,
                        input: step.input,
                        deadline: None,
                        token: None,
                        seed: 0,
                        grants: None,
                        recorded: None,
                        entered: None,
                    };
                    queue.push_back(Event::StepEnded {
                        entry,
                        attempt,
                        result: flows::answer(&request),
                        spent: Spent::default(),
                    });
                }
            }
        }
    }
    Err("the oracle does not end".into())
}
