//! The checked graph that every front end compiles to and the interpreter walks.
//!
//! Refuses to run anything: expressions are compiled here and evaluated elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepwell_types::items::{ItemFormat, OutputType, Transformation};
use stepwell_types::limits::EXPRESS_SECONDS_MAX;
use stepwell_types::{Digest, Grants, StepTarget};

use crate::expression::{DataPath, Expression, Template, WritePath};
use crate::fdl::Constructors;

/// Index of a state in [`Program::states`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateIdx(pub u32);

/// Index of a graph in [`Program::graphs`]; 0 is the flow itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphIdx(pub u32);

/// A flow, checked and compiled: every reference in it resolves.
#[derive(Debug)]
pub struct Program {
    /// From the definition.
    pub comment: Option<String>,
    /// Wall seconds for a whole execution; `None`: no limit.
    pub timeout_seconds: Option<u64>,
    /// How its executions are kept.
    pub mode: Mode,
    /// All states of all graphs: in the order of the source, but for the old CloudFlow
    /// language, where what is nested comes last.
    pub states: Vec<State>,
    /// The flow's own graph first, then those of Parallel branches and Map processors.
    pub graphs: Vec<Graph>,
    /// What its Tasks may reach: filled in by whoever publishes it.
    pub grants: TaskGrants,
}

/// The manifests of a flow and of the modules that it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskGrants {
    /// The flow's own, for its Task resources; `None`: it has none.
    pub flow: Option<Arc<Grants>>,
    /// Those of modules that have one: name as the flow spells it, digest, manifest.
    pub modules: Vec<(Arc<str>, Digest, Arc<Grants>)>,
}

impl TaskGrants {
    /// The manifest that an attempt of this target is bound by.
    #[must_use]
    pub fn of(&self, target: &StepTarget) -> Option<Arc<Grants>> {
        let StepTarget::Wasm { name, digest, .. } = target else {
            return self.flow.clone();
        };
        let found = self
            .modules
            .iter()
            .find(|(spelled, d, _)| d == digest && spelled.split('@').next() == Some(&**name));
        found.map(|(_, _, grants)| grants.clone())
    }
}

/// How the executions of a flow are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// Every event is durable before what follows from it leaves.
    #[default]
    Standard,
    /// Short, and kept in memory.
    Express(Keep),
}

/// Which histories of express executions are stored, at their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// No history.
    None,
    /// Those that did not succeed.
    Errors,
    /// Every history.
    All,
}

impl Program {
    /// Makes its executions express ones: they end after
    /// [`stepwell_types::limits::EXPRESS_SECONDS_MAX`] at the latest.
    pub fn make_express(&mut self, keep: Keep) {
        let own = self.timeout_seconds.unwrap_or(EXPRESS_SECONDS_MAX);
        self.timeout_seconds = Some(own.min(EXPRESS_SECONDS_MAX));
        self.mode = Mode::Express(keep);
    }
}

/// States that run one after another: the flow, a branch, a Map's processor.
#[derive(Debug)]
pub struct Graph {
    /// Where it begins.
    pub start: StateIdx,
    /// Its own states by name (not those of nested graphs).
    pub by_name: HashMap<Arc<str>, StateIdx>,
}

/// One node of the graph.
#[derive(Debug)]
pub struct State {
    /// Unique in the flow.
    pub name: Arc<str>,
    /// What it does.
    pub kind: Kind,
    /// Where it leads when it succeeds.
    pub next: Next,
    /// How data goes in and out, by the state's language.
    pub data: DataFlow,
    /// `Assign`: an object, the new values of variables. A Choice's own is its default's.
    pub assign: Option<Template>,
    /// Rules by error name, in order. Task, Parallel and Map only.
    pub retry: Vec<Retrier>,
    /// Rules by error name, in order. Task, Parallel and Map only.
    pub catch: Vec<Catcher>,
}

/// Where a state leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// To another state of the same graph.
    State(StateIdx),
    /// The graph ends here with this state's output.
    End,
    /// The kind itself decides (Choice) or ends (Succeed, Fail).
    ByKind,
}

/// The data-flow fields of a state, by its language.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a state, and never moved")]
pub enum DataFlow {
    /// JSONPath mode.
    JsonPath(JsonPathFlow),
    /// JSONata mode.
    Jsonata(JsonataFlow),
    /// Either CloudFlow language.
    CloudFlow(Box<Constructors>),
}

/// The data-flow fields of JSONata mode.
#[derive(Debug)]
pub struct JsonataFlow {
    /// `Arguments` (Task, Parallel); `None`: the state's input.
    pub arguments: Option<Template>,
    /// `Output`; `None`: the result, or the input where there is none.
    pub output: Option<Template>,
}

/// The data-flow fields of JSONPath mode, in the order in which they apply.
/// Source: states-language.net, "Input and Output Processing".
#[derive(Debug)]
pub struct JsonPathFlow {
    /// `InputPath`; `None`: JSON `null`, the input becomes `{}`.
    pub input_path: Option<DataPath>,
    /// `Parameters` (Task, Pass, Parallel, Map).
    pub parameters: Option<Template>,
    /// `ResultSelector` (Task, Parallel, Map).
    pub result_selector: Option<Template>,
    /// `ResultPath`.
    pub result_path: WritePath,
    /// `OutputPath`; `None`: JSON `null`, the output becomes `{}`.
    pub output_path: Option<DataPath>,
}

/// The eight state kinds.
#[derive(Debug)]
pub enum Kind {
    /// Runs a step.
    Task(Task),
    /// Passes its input, or `result`, on.
    Pass {
        /// `Result`.
        result: Option<Value>,
    },
    /// Takes the first rule that holds.
    Choice {
        /// In order.
        rules: Vec<ChoiceRule>,
        /// `Default`; without it no match fails with `States.NoChoiceMatched`.
        default: Option<StateIdx>,
    },
    /// Branches side by side, joined into an array.
    Parallel {
        /// In order.
        branches: Vec<GraphIdx>,
    },
    /// A graph for each item of an array, joined into an array.
    Map(MapState),
    /// Waits.
    Wait(WaitUntil),
    /// Ends its graph well.
    Succeed,
    /// Fails its graph.
    Fail {
        /// `Error`, or from `ErrorPath`.
        error: Option<Expression>,
        /// `Cause`, or from `CausePath`.
        cause: Option<Expression>,
    },
}

/// A Task state's own fields.
#[derive(Debug)]
pub struct Task {
    /// `Resource` as written, for history and messages.
    pub resource: Arc<str>,
    /// What it resolved to.
    pub target: StepTarget,
    /// How its input and answer are worded.
    pub service: Service,
    /// What takes the place of the function or service, and its input and answer.
    pub stand_in: Option<StandIn>,
    /// `.waitForTaskToken`: the step's end is not the task's end.
    pub wait_for_token: bool,
    /// `TimeoutSeconds` or `TimeoutSecondsPath`; in CloudFlow 0 is never. `None`: what runs has a
    /// limit of its own.
    pub timeout_seconds: Option<Expression>,
    /// `HeartbeatSeconds` or `HeartbeatSecondsPath`.
    pub heartbeat_seconds: Option<Expression>,
    /// `Credentials`: a role's ARN that the history shows and nothing assumes.
    pub credentials: Option<Template>,
}

/// What runs in the place of a function or service from elsewhere, on what the task has for that.
#[derive(Debug)]
pub enum StandIn {
    /// An HTTP call of these fields: the input is its body, and the answer's body the result.
    Call(serde_json::Map<String, Value>),
    /// The flow of this name. Awaited, its output is the result, and its failure the failure.
    Flow(Arc<str>),
}

/// What lies between a Task's effective input and its step's, and between the
/// step's answer and the Task's.
/// Source: AWS Step Functions Developer Guide, "Integrating services".
#[derive(Debug)]
pub enum Service {
    /// Nothing.
    Plain,
    /// A Lambda ARN: the step's own failures are worded as Lambda words them.
    Function,
    /// `arn:aws:states:::lambda:invoke`: the input is `{FunctionName, Payload, …}`,
    /// the answer is wrapped in Lambda's envelope.
    Invoke {
        /// What each function name means, sorted by name, if the input chooses
        /// ([`StepTarget::Chosen`]); empty if the definition does.
        functions: Vec<(Arc<str>, StepTarget)>,
        /// `ExecutedVersion` of the envelope.
        version: Arc<str>,
    },
    /// `arn:aws:states:::http:invoke`: the input is `{ApiEndpoint, Method, …}`.
    HttpInvoke {
        /// The server's connection that goes with the calls.
        connection: Option<Arc<str>>,
    },
}

/// A Map state's own fields.
#[derive(Debug)]
pub struct MapState {
    /// Which array it goes through.
    pub items: Items,
    /// `ItemSelector`, or the older `Parameters`.
    pub item_selector: Option<Template>,
    /// `ItemProcessor`, or the older `Iterator`.
    pub processor: GraphIdx,
    /// `MaxConcurrency` or `MaxConcurrencyPath`; 0: the engine's own window.
    pub max_concurrency: Option<Expression>,
    /// `Label`: what a distributed run is called, in place of the state's name.
    pub label: Option<Arc<str>>,
    /// Mode `DISTRIBUTED`; `None`: the iterations are part of the execution itself.
    pub distributed: Option<Box<Distributed>>,
}

/// What the distributed mode of Map adds: each item, or batch of items, is an execution of its own.
#[derive(Debug)]
pub struct Distributed {
    /// How the children are kept (`ExecutionType`).
    pub execution: ChildKind,
    /// `ItemReader`; `None`: the items are [`MapState::items`].
    pub reader: Option<ItemReader>,
    /// `ItemBatcher`.
    pub batcher: Option<ItemBatcher>,
    /// `ResultWriter`.
    pub writer: Option<ResultWriter>,
    /// `ToleratedFailureCount` or its path; `None` and no percentage: 0.
    pub tolerated_count: Option<Expression>,
    /// `ToleratedFailurePercentage` or its path, from 0 to 100.
    pub tolerated_percentage: Option<Expression>,
}

/// `ProcessorConfig.ExecutionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// Each child is durable, listed, and has a history.
    Standard,
    /// A child is kept in memory: after a crash it runs again from its start.
    Express,
}

/// `ItemReader`.
#[derive(Debug)]
pub struct ItemReader {
    /// Whether it reads an object's contents, and how; `None`: it lists objects.
    pub format: Option<ItemFormat>,
    /// `Parameters` or `Arguments`: yields an object with `Bucket`, and `Key` or `Prefix`.
    pub arguments: Template,
    /// `MaxItems` or its path; 0 and `None`: all.
    pub max_items: Option<Expression>,
}

/// `ItemBatcher`: several items for one child. One bound at least is set.
#[derive(Debug)]
pub struct ItemBatcher {
    /// `MaxItemsPerBatch` or its path.
    pub items_max: Option<Expression>,
    /// `MaxInputBytesPerBatch` or its path.
    pub bytes_max: Option<Expression>,
    /// `BatchInput`.
    pub input: Option<Template>,
}

/// `ResultWriter`.
#[derive(Debug)]
pub struct ResultWriter {
    /// `Parameters` or `Arguments`: yields an object with `Bucket` and perhaps `Prefix`.
    /// `None`: results are the state's output, transformed.
    pub arguments: Option<Template>,
    /// What is told of a child.
    pub transformation: Transformation,
    /// How a file holds it.
    pub output: OutputType,
}

/// Where a Map's items come from.
#[derive(Debug)]
pub enum Items {
    /// `ItemsPath`; default `$`.
    Path(DataPath),
    /// `Items` of JSONata mode: an array, or an expression that yields one.
    Template(Template),
    /// JSONata mode without `Items`: the state's input.
    Input,
}

/// The forms of Wait.
#[derive(Debug)]
pub enum WaitUntil {
    /// `Seconds` or `SecondsPath`.
    Seconds(Expression),
    /// `Timestamp` or `TimestampPath` (RFC 3339).
    Timestamp(Expression),
}

/// One rule of a Choice.
#[derive(Debug)]
pub struct ChoiceRule {
    /// When it holds.
    pub test: Test,
    /// Where it leads.
    pub next: StateIdx,
    /// `Assign`, done when the rule is taken.
    pub assign: Option<Template>,
    /// `Output` of JSONata mode, in place of the state's own.
    pub output: Option<Template>,
}

/// A Choice rule's condition.
#[derive(Debug)]
pub enum Test {
    /// `Condition` of JSONata mode: yields a boolean.
    Condition(Expression),
    /// All hold.
    And(Vec<Test>),
    /// One holds.
    Or(Vec<Test>),
    /// It does not hold.
    Not(Box<Test>),
    /// A data-test expression.
    Compare {
        /// `Variable`.
        variable: DataPath,
        /// Which comparison.
        operator: Comparison,
        /// What with: a literal, or a path for the `…Path` operators.
        operand: Operand,
    },
}

/// Right-hand side of a comparison.
#[derive(Debug)]
pub enum Operand {
    /// As written.
    Literal(Value),
    /// Read from the state's input.
    Path(DataPath),
}

/// The comparison operators, without their `Path` suffix.
/// Source: states-language.net, "Choice State".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the specification's own names")]
pub enum Comparison {
    StringEquals,
    StringLessThan,
    StringGreaterThan,
    StringLessThanEquals,
    StringGreaterThanEquals,
    StringMatches,
    NumericEquals,
    NumericLessThan,
    NumericGreaterThan,
    NumericLessThanEquals,
    NumericGreaterThanEquals,
    BooleanEquals,
    TimestampEquals,
    TimestampLessThan,
    TimestampGreaterThan,
    TimestampLessThanEquals,
    TimestampGreaterThanEquals,
    IsNull,
    IsPresent,
    IsNumeric,
    IsString,
    IsBoolean,
    IsTimestamp,
}

/// One rule of Retry.
#[derive(Debug)]
pub struct Retrier {
    /// `ErrorEquals`.
    pub errors: Vec<Arc<str>>,
    /// `IntervalSeconds`; default 1.
    pub interval_seconds: u64,
    /// `MaxAttempts`; default 3; 0: never.
    pub max_attempts: u32,
    /// `BackoffRate`; default 2.0; at least 1.0.
    pub backoff_rate: f64,
    /// `MaxDelaySeconds`.
    pub max_delay_seconds: Option<u64>,
    /// `JitterStrategy: FULL`.
    pub full_jitter: bool,
}

/// One rule of Catch.
#[derive(Debug)]
pub struct Catcher {
    /// `ErrorEquals`.
    pub errors: Vec<Arc<str>>,
    /// Where the failure leads.
    pub next: StateIdx,
    /// JSONPath mode: where in the state's raw input the `{Error, Cause}` object is put.
    pub result_path: WritePath,
    /// `Assign`, done when the failure is caught.
    pub assign: Option<Template>,
    /// `Output` of JSONata mode; `None`: the `{Error, Cause}` object.
    pub output: Option<Template>,
}
