//! `tasks`: what waits for its token, in one execution or in all that run.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::commands::pages;
use super::{Remote, parse, show};
use crate::args::Tasks;
use crate::exit::{Exit, Trouble};
use crate::{output, written};

/// One that waits.
pub struct Task {
    /// As it is written, with whose it is where that was not asked for.
    pub text: String,
    /// The same, parsed.
    pub value: Value,
}

impl Task {
    fn new(text: String) -> Result<Task, Trouble> {
        let value = parse(&text)?;
        Ok(Task { text, value })
    }
}

/// `tasks`
pub fn tasks(remote: &Remote, args: &Tasks) -> Result<Exit, Trouble> {
    let named = args.id.as_ref();
    let id = named.map(|id| remote.id_of(id, args.flow.as_ref()));
    let mut exit = Exit::Ok;
    let found = match &id.transpose()? {
        Some(id) if remote.json && args.state.is_none() => {
            let text = remote.text(asked(remote, id), &["tasks"])?;
            output::print_json(&text);
            return Ok(Exit::Ok);
        }
        Some(id) => wanted(of(remote, id)?, args),
        None => {
            let (found, all) = of_all(remote, args)?;
            exit = if all { Exit::Ok } else { Exit::Refused };
            found
        }
    };
    if remote.json {
        let texts: Vec<&str> = found.iter().map(|task| &*task.text).collect();
        output::print_json(&format!("{{\"tasks\":[{}]}}", texts.join(",")));
    } else {
        show::tasks(&found);
    }
    Ok(exit)
}

fn wanted(mut tasks: Vec<Task>, args: &Tasks) -> Vec<Task> {
    if let Some(state) = &args.state {
        tasks.retain(|task| output::field(&task.value, "state").as_ref() == Some(state));
    }
    tasks
}

fn asked(remote: &Remote, id: &str) -> RequestBuilder {
    remote.get(&["executions", id, "tasks"])
}

fn of(remote: &Remote, id: &str) -> Result<Vec<Task>, Trouble> {
    let answer = remote.text(asked(remote, id), &["tasks"])?;
    let texts = written::items(&answer, "tasks").into_iter();
    texts.map(|text| Task::new(text.to_owned())).collect()
}

/// Those of all executions that run, or of this flow's, with whose they are: of the oldest first; and
/// whether each could be asked.
fn of_all(remote: &Remote, args: &Tasks) -> Result<(Vec<Task>, bool), Trouble> {
    // The items of a distributed Map run in executions of the flow, too: its own list has not those.
    let mut running = pages(remote, "executions", || {
        remote.get(&["executions"]).query(&[("status", "RUNNING")])
    })?;
    if args.flow.is_some() {
        running.retain(|execution| output::field(execution, "flow") == args.flow);
    }
    let (mut found, mut all) = (Vec::new(), true);
    // An express execution waits for nobody.
    let durable = |e: &&Value| output::field(e, "type").is_none();
    for execution in running.iter().rev().filter(durable) {
        let id = output::field(execution, "id").unwrap_or_default();
        let tasks = match of(remote, &id) {
            Ok(tasks) => wanted(tasks, args),
            // One that cannot be read, say: it hides no other's.
            Err(trouble) if trouble.exit == Exit::Refused => {
                output::remark(&format!("{id}: {}", trouble.message));
                all = false;
                continue;
            }
            Err(trouble) => return Err(trouble),
        };
        let mut whose = json!({"execution": id});
        for name in ["name", "flow", "version"] {
            whose[name] = execution.get(name).cloned().unwrap_or_default();
        }
        let whose = whose.to_string();
        for task in tasks {
            found.push(Task::new(written::joined(&task.text, &whose))?);
        }
    }
    Ok((found, all))
}
