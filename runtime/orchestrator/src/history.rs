//! History and progress of an execution, rendered from its log when somebody reads.
//!
//! Refuses to store a second copy: the interpreter walks the recorded events again
//! and tells what happens.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::Stream;
use stepwell_flow::Program;
use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::history::HistoryEvent;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_store::{Key, Reader};
use stepwell_types::{Data, ExecutionId, FlowRef, Timestamp};

use crate::api::{Execution, HistoryLine, OpenTask, Page, Status};
use crate::driver::{read_log, read_state};
use crate::rows::{self, SummaryRow};
use crate::{Error, Orchestrator};

/// Reads an execution's history from some point on, as far as it is durable.
pub(crate) struct Cursor {
    pub reader: Arc<dyn Reader>,
    pub program: Arc<Program>,
    pub id: ExecutionId,
    pub state: State,
    pub next_record: u64,
}

/// Keeps the wanted events of a walk.
struct Wanted<'a> {
    after: u64,
    lines: &'a mut VecDeque<HistoryLine>,
}

impl Observer for Wanted<'_> {
    fn wants(&self) -> bool {
        true
    }

    fn event(&mut self, at: Timestamp, event: HistoryEvent) {
        if event.id > self.after {
            self.lines.push_back(HistoryLine {
                id: event.id,
                kind: event.kind.type_name(),
                json: Data::from_value(event.render(at)),
            });
        }
    }
}

impl Cursor {
    /// Walks what is durable beyond the last call; lines after event `after` are kept.
    pub fn advance(&mut self, after: u64, lines: &mut VecDeque<HistoryLine>) -> Result<(), Error> {
        let mut commands = Vec::new();
        for logged in read_log(&*self.reader, self.id, self.next_record)? {
            self.next_record += 1;
            let Logged::Event(record) = logged else {
                continue;
            };
            commands.clear();
            stepwell_interpreter::step(
                &self.program,
                &mut self.state,
                &record.event,
                record.at,
                &mut Wanted { after, lines },
                &mut commands,
            )
            .map_err(|e| Error::Store(e.to_string()))?;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.state.outcome().is_some()
    }
}

/// What `describe` adds to a summary.
pub(crate) struct Progress {
    pub input: Option<Data>,
    pub transitions: u64,
    pub fuel: u64,
}

/// The input of an execution, and how far it is if it runs.
pub(crate) async fn progress(
    orchestrator: &Orchestrator,
    id: ExecutionId,
    found: &Execution,
) -> Result<Progress, Error> {
    let reader = orchestrator.shared.reader.clone();
    let mut progress = Progress {
        input: first_input(&*reader, id)?,
        transitions: found.transitions,
        fuel: found.fuel,
    };
    if found.status == Status::Running {
        let program = orchestrator.program(&found.flow, found.version)?;
        let state = blocking(move || read_state(&*reader, &program, id)).await?;
        progress.transitions = state.state.transitions();
        progress.fuel = state.fuel;
    }
    Ok(progress)
}

/// The first record of every log holds the input.
fn first_input(reader: &dyn Reader, id: ExecutionId) -> Result<Option<Data>, Error> {
    let key = Key::Log {
        execution: id,
        seq: 0,
    };
    let Some(row) = reader.get(&key)? else {
        return Ok(None);
    };
    let records = stepwell_interpreter::codec::decode(&row, &|d| crate::driver::blob(reader, d))
        .map_err(|e| Error::Store(e.to_string()))?;
    Ok(records.into_iter().find_map(|logged| match logged {
        Logged::Event(record) => match record.event {
            Event::Started { input, .. } => Some(input),
            _ => None,
        },
        _ => None,
    }))
}

/// Runs something that may take long off the loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Store("reading failed; see the server's log".into()))?
}

impl Orchestrator {
    fn program(&self, flow: &Arc<str>, version: u32) -> Result<Arc<Program>, Error> {
        self.shared.catalog.programs().program(&FlowRef {
            name: flow.clone(),
            version,
        })
    }

    fn cursor(&self, id: ExecutionId) -> Result<Cursor, Error> {
        let row = self.shared.reader.get(&Key::Summary { execution: id })?;
        let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
        let row: SummaryRow = rows::decode(&row)?;
        Ok(Cursor {
            reader: self.shared.reader.clone(),
            program: self.program(&row.flow, row.version)?,
            id,
            state: State::new(id),
            next_record: 0,
        })
    }

    /// A page of history: events after number `after`, oldest first.
    /// # Errors
    /// `RUN0001`.
    pub async fn history(
        &self,
        id: ExecutionId,
        after: u64,
        limit: usize,
    ) -> Result<Page<HistoryLine, u64>, Error> {
        let mut cursor = self.cursor(id)?;
        blocking(move || {
            let mut lines = VecDeque::new();
            cursor.advance(after, &mut lines)?;
            let more = lines.len() > limit;
            lines.truncate(limit);
            let next = lines.back().filter(|_| more).map(|l| l.id);
            Ok(Page {
                items: lines.into(),
                next,
            })
        })
        .await
    }

    /// The history after event `after` and on, live; ends with the execution's last
    /// event. Only what is durable is shown.
    pub fn follow(
        &self,
        id: ExecutionId,
        after: u64,
    ) -> impl Stream<Item = Result<HistoryLine, Error>> + Send + 'static + use<> {
        let watch = self.shared.watchers.follow(id);
        let begun = self.cursor(id).map(|cursor| (cursor, VecDeque::new()));
        let state = Some((begun, watch, true));
        futures_util::stream::unfold(state, move |state| async move {
            let (begun, watch, mut fresh) = state?;
            let (mut cursor, mut lines) = match begun {
                Ok(begun) => begun,
                Err(e) => return Some((Err(e), None)),
            };
            loop {
                if let Some(line) = lines.pop_front() {
                    return Some((Ok(line), Some((Ok((cursor, lines)), watch, false))));
                }
                if cursor.is_over() {
                    return None;
                }
                if !std::mem::take(&mut fresh) {
                    watch.changed().await;
                }
                let read = blocking(move || {
                    cursor.advance(after, &mut lines)?;
                    Ok((cursor, lines))
                });
                match read.await {
                    Ok(back) => (cursor, lines) = back,
                    Err(e) => return Some((Err(e), None)),
                }
            }
        })
    }

    /// The tasks that wait for their tokens.
    /// # Errors
    /// `RUN0001`.
    pub async fn open_tasks(&self, id: ExecutionId) -> Result<Vec<OpenTask>, Error> {
        let found = self.cursor(id)?;
        blocking(move || {
            let program = found.program;
            let state = read_state(&*found.reader, &program, id)?.state;
            if state.outcome().is_some() {
                return Ok(Vec::new());
            }
            let mut commands = Vec::new();
            stepwell_interpreter::open_tasks(&program, &state, &mut commands);
            let tasks = commands.into_iter().filter_map(|command| match command {
                Command::Run(step) => step.token.map(|token| OpenTask {
                    state: step.state,
                    token,
                    input: step.input,
                    deadline: step.deadline,
                }),
                _ => None,
            });
            Ok(tasks.collect())
        })
        .await
    }
}
