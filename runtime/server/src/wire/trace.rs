//! One attempt of a module's step, with its journal.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stepwell_orchestrator::trace;
use stepwell_types::StepTarget;
use utoipa::ToSchema;

use super::grants::Grants;

/// An attempt, and all that it needs to run again.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// The execution.
    pub execution_id: String,
    /// Its name.
    pub execution_name: String,
    /// Its flow.
    pub flow: String,
    /// The state.
    pub state: String,
    /// The state entry.
    pub entry: u64,
    /// From 0.
    pub attempt: u32,
    /// The module, as the flow names it.
    pub module: String,
    /// SHA-256 of the `.wasm`, hexadecimal.
    pub digest: String,
    /// The exported function; absent: `run` of the step world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The effective input.
    #[schema(value_type = Object)]
    pub input: Box<RawValue>,
    /// Seed of its randomness, decimal: more than a JSON number holds everywhere.
    pub seed: String,
    /// When it was decided on, in milliseconds since 1970.
    pub at_ms: i64,
    /// By when it had to end, likewise, if its flow said; 9223372036854775807: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<i64>,
    /// What an attempt may use on this server now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<StepLimits>,
    /// What it may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
    /// What it saw apart from answers, base 64 each.
    pub notes: Vec<String>,
    /// Its calls, by number.
    pub calls: BTreeMap<u32, Call>,
    /// What it gave, if it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Box<RawValue>>,
    /// The error that it failed with, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Fuel that it used; absent: it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// What an attempt may use: the server's configuration, with what is not said there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepLimits {
    /// Fuel.
    pub fuel: u64,
    /// Linear memory in MiB.
    pub memory_mib: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Milliseconds without a deadline of the flow's.
    pub wall_ms: u64,
    /// Largest output in bytes.
    pub output_bytes: u64,
    /// Text of all log lines in bytes.
    pub log_bytes: u64,
    /// Largest object, and all that a step writes, in bytes.
    pub object_bytes: u64,
    /// Largest body of an HTTP request in bytes.
    pub http_request_bytes: u64,
    /// Largest body of an HTTP response in bytes.
    pub http_response_bytes: u64,
}

/// One call of a journal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// SHA-256 of the request, hexadecimal.
    pub request: String,
    /// The pieces of the answer, base 64 each.
    pub parts: Vec<String>,
}

impl From<&trace::Trace> for Trace {
    fn from(t: &trace::Trace) -> Trace {
        let text = |bytes: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
        let raw = |data: &stepwell_types::Data| RawValue::from_string(data.text().to_owned());
        let request = &t.request;
        let (module, digest, function) = match &request.target {
            StepTarget::Wasm {
                name,
                digest,
                function,
            } => (name.to_string(), digest.to_string(), function.as_deref()),
            _ => Default::default(),
        };
        let recorded = request.recorded.as_deref().cloned().unwrap_or_default();
        let call = |(number, call): (u32, stepwell_types::RecordedCall)| {
            let parts = call.parts.iter().map(text).collect();
            let request = call.request.to_string();
            (number, Call { request, parts })
        };
        let (result, spent) = t.ended.clone().unzip();
        let failure = match &result {
            Some(Err(failure)) => Some(failure),
            _ => None,
        };
        Trace {
            execution_id: request.execution.to_string(),
            execution_name: request.execution_name.to_string(),
            flow: request.flow.to_string(),
            state: request.state.to_string(),
            entry: request.entry.0,
            attempt: request.attempt,
            module,
            digest,
            function: function.map(str::to_owned),
            // Data is JSON text.
            input: raw(&request.input).unwrap_or_default(),
            seed: request.seed.to_string(),
            at_ms: t.at.0,
            deadline_ms: request.deadline.map(|at| at.0),
            limits: None,
            grants: request.grants.as_deref().map(Grants::from),
            notes: recorded.notes.iter().map(text).collect(),
            calls: recorded.calls.into_iter().map(call).collect(),
            output: match &result {
                Some(Ok(data)) => raw(data).ok(),
                _ => None,
            },
            error: failure.map(|f| f.error.to_string()),
            cause: failure.map(|f| f.cause.to_string()),
            fuel: spent.map(|s| s.fuel),
        }
    }
}
