//! Tasks that wait for an outside program.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_orchestrator::api;
use utoipa::ToSchema;

use super::json::Object;

/// A task that waits for its token to come back.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenTask {
    /// The state's name.
    pub state: String,
    /// What an outside program hands back. Who has it can end the task.
    pub token: String,
    /// The effective input that the task was given.
    pub input: Value,
    /// When it times out, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
}

/// The open tasks of one execution.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenTasks {
    /// In the order in which they began to wait.
    pub tasks: Vec<OpenTask>,
}

/// A task of an activity, as its worker gets it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityTask {
    /// What the worker hands back with its answer.
    pub token: String,
    /// The execution whose task it is.
    pub execution: String,
    /// The execution's flow.
    pub flow: String,
    /// The effective input that the task was given.
    pub input: Value,
}

/// Writes [`ActivityTask`].
pub(crate) fn activity_task(task: &api::ActivityTask) -> Vec<u8> {
    let mut out = Object::with_capacity(192 + task.input.len_bytes());
    out.plain("token", task.token);
    out.plain("execution", task.execution);
    out.str("flow", &task.flow);
    out.raw("input", task.input.text());
    out.finish()
}

/// Writes [`OpenTasks`].
pub(crate) fn open_tasks(tasks: &[api::OpenTask]) -> Vec<u8> {
    let mut out = Object::new();
    out.list("tasks", tasks, |out, task| {
        let mut one = Object::with_capacity(192 + task.input.len_bytes());
        one.str("state", &task.state);
        one.plain("token", task.token);
        one.raw("input", task.input.text());
        if let Some(deadline) = task.deadline {
            one.time("deadline", deadline);
        }
        out.extend_from_slice(&one.finish());
    });
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepwell_types::{Data, EntryId, ExecutionId, ShardId, TaskToken, Timestamp};

    #[test]
    fn an_activity_task_fits_its_documented_shape() {
        let id = ExecutionId::new(Timestamp(1), ShardId(1), 1);
        let task = api::ActivityTask {
            activity: "print".into(),
            token: TaskToken::derive(&[7; 16], id, EntryId(2), 0),
            execution: id,
            flow: "orders".into(),
            input: Data::from_valid_text("[1]"),
        };
        let shape: ActivityTask = serde_json::from_slice(&activity_task(&task)).unwrap();
        assert_eq!(shape.execution, id.to_string());
        assert_eq!(shape.token, task.token.to_string());
        assert_eq!(shape.input, serde_json::json!([1]));
    }

    #[test]
    fn the_writer_fits_the_documented_shape() {
        let id = ExecutionId::new(Timestamp(1), ShardId(1), 1);
        let task = api::OpenTask {
            state: "Ask \"them\"".into(),
            token: TaskToken::derive(&[7; 16], id, EntryId(2), 0),
            input: Data::from_valid_text("{\"amount\": 1200}"),
            deadline: Some(Timestamp(0)),
        };
        let text = open_tasks(&[task.clone(), task.clone()]);
        let shape: OpenTasks = serde_json::from_slice(&text).unwrap();
        assert_eq!(shape.tasks.len(), 2);
        assert_eq!(shape.tasks[1].token, task.token.to_string());
        assert_eq!(shape.tasks[0].state, "Ask \"them\"");
    }
}
