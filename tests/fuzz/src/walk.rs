//! Walks a program to its end, every step answered at once, within bounds.
//!
//! Refuses to judge the outcome: a program that fails has ended too.

use std::collections::VecDeque;

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, step};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Spent, Timestamp};

/// Events after which a program may go on for ever.
const EVENTS_MAX: usize = 200;

/// Transitions after which it may too.
const TRANSITIONS_MAX: u64 = 2_000;

/// Walks; `None`: it waits for what does not come, or goes on too long.
pub fn walk(program: &Program, input: &str) -> Option<Outcome> {
    let mut now = Timestamp(1_700_000_000_000);
    let mut state = State::new(ExecutionId::new(now, ShardId(1), 5));
    let mut queue = VecDeque::from([Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::from_valid_text(input.to_owned()),
        seed: [5; 16],
        parent: None,
    }]);
    for _ in 0..EVENTS_MAX {
        // A loop without end has a bound of its own, which takes too long for a target.
        if state.transitions() > TRANSITIONS_MAX {
            return None;
        }
        let event = match queue.pop_front() {
            Some(event) => event,
            None => {
                let (at, entry, timer) = state.next_timer()?;
                now = now.max(at);
                Event::TimerFired { entry, timer }
            }
        };
        let mut commands = Vec::new();
        step(
            program,
            &mut state,
            &event,
            now,
            &mut NoHistory,
            &mut commands,
        )
        .expect("an event that the program asked for is taken");
        for command in commands {
            match command {
                Command::Run(run) => queue.push_back(Event::StepEnded {
                    entry: run.entry,
                    attempt: run.attempt,
                    result: Ok(run.input),
                    spent: Spent::default(),
                }),
                Command::Continue => queue.push_back(Event::Continued),
                Command::Finish(outcome) => return Some(outcome),
                // An item's child ends at once, every third badly; a Task's never: its parent waits.
                Command::StartChild(start) => {
                    if let Some(slot) = start.link.item {
                        queue.push_back(Event::ItemEnded {
                            entry: start.link.entry,
                            attempt: start.link.attempt,
                            slot,
                            failed: slot % 3 == 2,
                        });
                    }
                }
                Command::Signal { entry, attempt, .. } => queue.push_back(Event::StepEnded {
                    entry,
                    attempt,
                    result: Ok(Data::null()),
                    spent: Spent::default(),
                }),
                Command::Abort { .. }
                | Command::CancelChild { .. }
                | Command::ForgetResults { .. } => {}
            }
        }
    }
    None
}
