//! Starts executions and sends them signals, as its input lists, one after another.

use serde::Deserialize;
use serde_json::{Value, json};
use stepwell_guest::{Context, Failure, execution, secrets};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Act {
    Start {
        flow: String,
        name: Option<String>,
        #[serde(default)]
        input: Value,
    },
    /// To an id, to an execution by its name, or to the one that was started last.
    Signal {
        to: Option<String>,
        flow: Option<String>,
        execution: Option<String>,
        name: String,
        #[serde(default)]
        data: Value,
        /// The secret that goes in the place of the data.
        secret: Option<String>,
    },
    /// Fails on the attempts before this one.
    Fail { until: u32 },
}

fn act(context: &Context, acts: Vec<Act>) -> Result<Vec<Value>, Failure> {
    let mut told = Vec::new();
    let mut last = String::new();
    for act in acts {
        told.push(match act {
            Act::Start { flow, name, input } => {
                last = execution::start(&flow, name.as_deref(), &input)?;
                json!(last)
            }
            Act::Signal {
                flow: Some(flow),
                execution: Some(execution),
                name,
                data,
                ..
            } => json!(execution::signal_named(&flow, &execution, &name, &data)?),
            Act::Signal {
                to,
                name,
                mut data,
                secret,
                ..
            } => {
                if let Some(secret) = &secret {
                    data = json!(secrets::text(secret)?);
                }
                execution::signal(to.as_deref().unwrap_or(&last), &name, &data)?;
                json!("sent")
            }
            Act::Fail { until } if context.attempt < until => {
                return Err(Failure::new("Test.Failed", "as it was told to"));
            }
            Act::Fail { .. } => Value::Null,
        });
    }
    Ok(told)
}

stepwell_guest::step!(act);
