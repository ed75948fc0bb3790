//! What a Task's `Resource` names.
//!
//! Refuses to look anything up itself: that is the caller's [`Resolve`].

mod map;
mod near;
mod target;

use std::sync::Arc;

use stepwell_types::{ChildMode, Digest, limits};

use crate::suggest;
pub use map::{BINDINGS_MAX, Bound, ResourceMap};
pub(crate) use near::suggested;
pub use target::{FlowTarget, Target};

/// Says what a module name means now.
pub trait Resolve {
    /// The component that `wasm:NAME[@VERSION][#FUNCTION]` runs.
    ///
    /// `version: None` is the newest; `function: None` is the generic step
    /// world's `run`.
    /// # Errors
    /// There is no such module, version or function; the error lists what exists.
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved>;

    /// Whether the flow's executions will be express ones: nothing in it may wait for a token.
    fn express(&self) -> bool {
        false
    }

    /// The newest version of every module that has the step world's `run`, sorted by
    /// name: what a function name that comes from the data may mean.
    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        Vec::new()
    }

    /// Whether a Task could start this flow now. Without a catalog nobody knows: fine.
    /// # Errors
    /// There is no such flow or version; the error lists what exists.
    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        let _ = (name, version);
        Ok(())
    }

    /// What the flow that is compiled is published as; `None`: nobody said.
    fn name(&self) -> Option<&str> {
        None
    }

    /// How somebody binds what has no meaning here, and gives a substitution its value.
    fn advice(&self) -> Advice {
        Advice::CommandLine
    }

    /// Whether what is bound is not known here: a service's name that nothing stands for, or one with
    /// a substitution that was not filled in, is then a warning. Its program must not run.
    fn binds_later(&self) -> bool {
        false
    }

    /// What stands here for a resource that a flow names; `None`: it means itself.
    fn binding(&self, _resource: &str) -> Option<Target> {
        None
    }
}

/// What stands for a function: all that takes its input as it is.
pub(crate) const FOR_A_FUNCTION: &str =
    "bind it to wasm:NAME, activity:NAME, callback, { flow = \"NAME\" } or { url = \"https://…\" }";

/// `; the modules here: a, b and 3 more`, or nothing where there is none.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let first = names.get(..SHOWN.min(names.len())).unwrap_or(names);
    let more = match names.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; the modules here: {}{more}", first.join(", "))
}

/// Where a definition is checked, and so what its author can do there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Advice {
    /// By `stepwell` on a file.
    #[default]
    CommandLine,
    /// By a server, which keeps what it is given with the version.
    Server,
}

impl Advice {
    /// How to bind a resource.
    #[must_use]
    pub fn bind(self) -> &'static str {
        match self {
            Advice::CommandLine => "bind another with --resources",
            Advice::Server => {
                "bind another when you publish (`stepwell flow publish --resources FILE`, or `resources` beside the definition) or in the server's [resources]"
            }
        }
    }

    /// How to give a substitution its value.
    #[must_use]
    pub fn set(self, name: &str) -> String {
        match self {
            Advice::CommandLine => {
                format!("give the substitution a value: --set {name}=VALUE")
            }
            Advice::Server => format!(
                "give the substitution a value when you publish: --set {name}=VALUE, or `substitutions` beside the definition"
            ),
        }
    }
}

/// Why a module name means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unresolved {
    /// One sentence for the author of the flow, e.g. `there is no module "ehco"`.
    pub message: String,
    /// What exists in its place, nearest or newest first; may be empty. The
    /// first few are shown, and the nearest is suggested.
    pub available: Vec<String>,
}

/// Accepts every module name, with a digest of zeros: for checking a flow
/// without a server. Its programs must not run.
#[derive(Debug, Clone, Copy)]
pub struct AnyModule;

impl Resolve for AnyModule {
    fn module(
        &self,
        _name: &str,
        _version: Option<&str>,
        _function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        Ok(Digest([0; 32]))
    }
}

/// A `Resource`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Which kind of work.
    pub kind: ResourceKind<'a>,
    /// `.waitForTaskToken`, or implied by `callback`.
    pub wait_for_token: bool,
}

/// The kinds of resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceKind<'a> {
    /// `wasm:NAME[@VERSION][#FUNCTION]`, or a Lambda ARN of that name.
    Module {
        /// The module's name.
        name: &'a str,
        /// A version, or the newest.
        version: Option<&'a str>,
        /// An exported function, or the step world's own.
        function: Option<&'a str>,
    },
    /// `http:request`.
    Http,
    /// `container:run`.
    Container,
    /// `vm:run`.
    Machine,
    /// `signal:send`.
    SendSignal,
    /// `signal:wait`.
    WaitSignal,
    /// `callback`.
    Callback,
    /// `activity:NAME`, or an activity's ARN.
    Activity(&'a str),
    /// `arn:aws:states:::lambda:invoke`.
    LambdaInvoke,
    /// `arn:aws:states:::http:invoke`.
    HttpInvoke,
    /// `flow:start`, or the Step Functions ARN of the same meaning.
    Flow(ChildMode),
}

/// Why a text is no resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadResource {
    /// One sentence.
    pub message: String,
    /// Whether another release may accept it.
    pub not_yet: bool,
}

/// Ends a resource whose task ends by its token.
pub(crate) const TOKEN_SUFFIX: &str = ".waitForTaskToken";

/// Longest name of an activity, as in Step Functions.
pub const ACTIVITY_CHARS_MAX: usize = 80;

/// Takes a `Resource` apart.
///
/// Forms: `wasm:NAME[@VERSION][#FUNCTION]`, `http:request`, `container:run`, `vm:run`, each
/// also with `.waitForTaskToken`; `signal:send`; `signal:wait`; `callback`; `activity:NAME`; `flow:start` or
/// `arn:PARTITION:states:::states:startExecution`, either also with `.sync`, `.sync:2`
/// or `.waitForTaskToken`; and as Step Functions writes them
/// `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]`, which means
/// the module of that name (`$LATEST`: the newest),
/// `arn:PARTITION:states:REGION:ACCOUNT:activity:NAME`,
/// `arn:PARTITION:states:::lambda:invoke` (also with `.waitForTaskToken`) and
/// `arn:PARTITION:states:::http:invoke`.
/// # Errors
/// The text has none of these forms.
pub fn parse(text: &str) -> Result<Resource<'_>, BadResource> {
    let (base, wait_for_token) = match text.strip_suffix(TOKEN_SUFFIX) {
        Some(base) => (base, true),
        None => (text, false),
    };
    let kind = if let Some(mode) = flow_start(base) {
        if wait_for_token && mode != ChildMode::Start {
            return Err(bad(format!(
                "{text:?} is no resource: it waits for the end or for the token, not for both"
            )));
        }
        ResourceKind::Flow(mode)
    } else if base == "callback" {
        ResourceKind::Callback
    } else if base == "http:request" {
        ResourceKind::Http
    } else if base == "container:run" {
        ResourceKind::Container
    } else if base == "vm:run" {
        ResourceKind::Machine
    } else if base == "signal:send" {
        ResourceKind::SendSignal
    } else if base == "signal:wait" {
        ResourceKind::WaitSignal
    } else if let Some(module) = base.strip_prefix("wasm:") {
        wasm(module)?
    } else if let Some(name) = base.strip_prefix("activity:") {
        activity(name)?
    } else if base.starts_with("arn:") {
        // The whole name is what a resource map binds.
        arn(base).map_err(|bad| match bad.not_yet {
            true => nothing_for(text),
            false => bad,
        })?
    } else {
        return Err(bad(format!("{base:?} is no resource")));
    };
    let waits = matches!(kind, ResourceKind::Callback | ResourceKind::Activity(_));
    let no_token = matches!(
        kind,
        ResourceKind::Activity(_)
            | ResourceKind::HttpInvoke
            | ResourceKind::SendSignal
            | ResourceKind::WaitSignal
    );
    if wait_for_token && no_token {
        return Err(bad(format!("{base} has no form {TOKEN_SUFFIX}")));
    }
    Ok(Resource {
        wait_for_token: wait_for_token || waits,
        kind,
    })
}

/// What follows the service's name in a start of a flow.
fn flow_start(base: &str) -> Option<ChildMode> {
    let rest = match base.strip_prefix("flow:start") {
        Some(rest) => rest,
        None => {
            let (arn, rest) = base.split_once(":states:::states:startExecution")?;
            let partition = arn.strip_prefix("arn:")?;
            if partition.is_empty() || partition.contains(':') {
                return None;
            }
            rest
        }
    };
    match rest {
        "" => Some(ChildMode::Start),
        ".sync" => Some(ChildMode::Sync),
        ".sync:2" => Some(ChildMode::Sync2),
        _ => None,
    }
}

/// The flow that a `StateMachineArn` names: `NAME`, `NAME:VERSION`, or an ARN
/// `arn:PARTITION:states:REGION:ACCOUNT:stateMachine:NAME[:VERSION]`.
#[must_use]
pub fn flow_name(text: &str) -> Option<(&str, Option<u32>)> {
    let short = if text.starts_with("arn:") {
        let mut parts = text.splitn(7, ':').skip(2);
        let service = parts.next();
        let kind = parts.nth(2);
        if service != Some("states") || kind != Some("stateMachine") {
            return None;
        }
        parts.next()?
    } else {
        text
    };
    let (name, version) = match short.split_once(':') {
        None => (short, None),
        Some((name, version)) => (name, Some(version.parse().ok()?)),
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fine = !name.is_empty() && name.len() <= limits::NAME_BYTES_MAX && name.bytes().all(word);
    fine.then_some((name, version))
}

fn nothing_for(text: &str) -> BadResource {
    BadResource {
        message: format!("nothing here stands for the AWS resource {text:?}"),
        not_yet: true,
    }
}

/// The module in the place of one that is bound later. Nothing of this name runs.
pub(crate) const UNBOUND: &str = "unbound";

/// What may stand for a name that is bound later.
pub(crate) fn unbound(text: &str) -> Resource<'_> {
    Resource {
        kind: ResourceKind::Module {
            name: UNBOUND,
            version: None,
            function: None,
        },
        wait_for_token: text.ends_with(TOKEN_SUFFIX),
    }
}

fn bad(message: impl Into<String>) -> BadResource {
    BadResource {
        message: message.into(),
        not_yet: false,
    }
}

fn wasm(text: &str) -> Result<ResourceKind<'_>, BadResource> {
    let (left, function) = match text.split_once('#') {
        Some((left, function)) => (left, Some(function)),
        None => (text, None),
    };
    let (name, version) = match left.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (left, None),
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let valid = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| word(c) || c == '/');
    if !valid || name.len() > limits::NAME_BYTES_MAX {
        return Err(bad(format!(
            "{name:?} is no module name: letters, digits and . _ - / only, at most {} bytes",
            limits::NAME_BYTES_MAX
        )));
    }
    if version.is_some_and(|v| v.is_empty() || !v.chars().all(word)) {
        return Err(bad("after @ comes a version, such as 3"));
    }
    if function.is_some_and(|f| f.is_empty() || f.len() > 256 || f.contains(char::is_whitespace)) {
        return Err(bad("after # comes the name of an exported function"));
    }
    Ok(ResourceKind::Module {
        name,
        version,
        function,
    })
}

fn activity(name: &str) -> Result<ResourceKind<'_>, BadResource> {
    let odd =
        |c: char| c.is_whitespace() || c.is_control() || "<>{}[]?*\"#%\\^|~`$&,;:/".contains(c);
    if name.is_empty() || name.chars().count() > ACTIVITY_CHARS_MAX || name.contains(odd) {
        return Err(bad(format!(
            "an activity's name has 1 to {ACTIVITY_CHARS_MAX} characters, no space and none of < > {{ }} [ ] ? * \" # % \\ ^ | ~ ` $ & , ; : /"
        )));
    }
    Ok(ResourceKind::Activity(name))
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:…`.
fn arn(arn: &str) -> Result<ResourceKind<'_>, BadResource> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let service = parts.next().unwrap_or_default();
    let region = parts.next().unwrap_or_default();
    let rest = parts.nth(1).unwrap_or_default();
    match (service, rest) {
        ("lambda", _) => {
            let (name, version) = function(arn)?;
            Ok(ResourceKind::Module {
                name,
                version,
                function: None,
            })
        }
        ("states", "lambda:invoke") if region.is_empty() => Ok(ResourceKind::LambdaInvoke),
        ("states", "http:invoke") if region.is_empty() => Ok(ResourceKind::HttpInvoke),
        _ => match rest.strip_prefix("activity:") {
            Some(name) if service == "states" => activity(name),
            _ => Err(nothing_for(arn)),
        },
    }
}

/// Name and version of a Lambda function, as `FunctionName` may spell it: a name, a
/// partial ARN (`ACCOUNT:function:NAME`) or a whole one, each with or without a qualifier.
/// # Errors
/// It has none of these forms.
pub fn function(text: &str) -> Result<(&str, Option<&str>), BadResource> {
    let (whole, rest) = match text.strip_prefix("arn:") {
        // PARTITION:lambda:REGION:ACCOUNT:function:…
        Some(rest) => (true, rest.splitn(5, ':').nth(4).unwrap_or_default()),
        None => (false, text),
    };
    let rest = match rest.split_once("function:") {
        Some(("", rest)) => rest,
        Some((account, rest)) if !whole && account.ends_with(':') => rest,
        None if !whole => rest,
        _ => "",
    };
    let mut parts = rest.split(':');
    let name = parts.next().unwrap_or_default();
    let qualifier = parts.next();
    // Braces and dollars are those of a substitution that has no value yet.
    let odd =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '#' | '@' | '$' | '{' | '}');
    if name.is_empty()
        || name.len() > limits::NAME_BYTES_MAX
        || name.contains(odd)
        || parts.next().is_some()
    {
        return Err(bad(
            "a Lambda function is named arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER], or by its NAME",
        ));
    }
    Ok((name, qualifier.map_or(Ok(None), version)?))
}

/// What a qualifier means: `None` is the newest.
/// # Errors
/// It is no version or alias.
pub fn version(qualifier: &str) -> Result<Option<&str>, BadResource> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match qualifier {
        "$LATEST" => Ok(None),
        q if !q.is_empty() && q.chars().all(word) => Ok(Some(q)),
        q => Err(bad(format!("{q:?} is no version or alias of a function"))),
    }
}

/// Most alternatives that a message lists.
const AVAILABLE_SHOWN: usize = 10;

/// The nearest of what exists, or the first few.
pub(crate) fn available(name: &str, all: &[String]) -> Option<String> {
    let few = all.iter().take(1_000).map(String::as_str);
    suggest::hint(name, few).or_else(|| match all {
        [] => None,
        all => {
            let shown: Vec<&str> = all
                .iter()
                .take(AVAILABLE_SHOWN)
                .map(String::as_str)
                .collect();
            let more = if all.len() > AVAILABLE_SHOWN {
                ", …"
            } else {
                ""
            };
            Some(format!("there are {}{more}", shown.join(", ")))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{ResourceKind, flow_name, parse};

    #[test]
    fn names_of_flows() {
        let check = |text: &str, expected: Option<(&str, Option<u32>)>| {
            assert_eq!(flow_name(text), expected, "{text}");
        };
        check("pay", Some(("pay", None)));
        check("pay:3", Some(("pay", Some(3))));
        check("pay:x", None);
        check("", None);
        check("a b", None);
        let arn = "arn:aws:states:us-east-1:111111111111";
        check(&format!("{arn}:stateMachine:pay"), Some(("pay", None)));
        check(&format!("{arn}:stateMachine:pay:2"), Some(("pay", Some(2))));
        check(&format!("{arn}:activity:pay"), None);
        check("arn:aws:lambda:r:1:function:f", None);
    }

    #[test]
    fn function_names() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            assert_eq!(super::function(text).ok(), expected, "{text}");
        };
        check("f", Some(("f", None)));
        check("f:3", Some(("f", Some("3"))));
        check("1234:function:f:$LATEST", Some(("f", None)));
        check(
            "arn:aws:lambda:r:1:function:f:prod",
            Some(("f", Some("prod"))),
        );
        check("arn:aws:lambda:r:1:layer:f", None);
        check("", None);
        check("a b", None);
        check("${Function}", None);
        check("arn:aws:lambda:r:1:function:${Function}", None);
        check(
            "arn:aws:lambda:${Region}:${Account}:function:f",
            Some(("f", None)),
        );
    }

    #[test]
    fn forms() {
        let check = |text: &str, expected: &str| {
            let got = match parse(text) {
                Err(e) => format!("{} {}", if e.not_yet { "later" } else { "bad" }, e.message),
                Ok(r) => {
                    let kind = match r.kind {
                        ResourceKind::Http => "http".to_owned(),
                        ResourceKind::Container => "container".to_owned(),
                        ResourceKind::Machine => "vm".to_owned(),
                        ResourceKind::SendSignal => "send".to_owned(),
                        ResourceKind::WaitSignal => "wait".to_owned(),
                        ResourceKind::Callback => "callback".to_owned(),
                        ResourceKind::Activity(name) => format!("activity {name}"),
                        ResourceKind::LambdaInvoke => "invoke".to_owned(),
                        ResourceKind::HttpInvoke => "http invoke".to_owned(),
                        ResourceKind::Flow(mode) => format!("flow {mode:?}"),
                        ResourceKind::Module {
                            name,
                            version,
                            function,
                        } => format!(
                            "{name} {} {}",
                            version.unwrap_or("-"),
                            function.unwrap_or("-")
                        ),
                    };
                    format!("{kind}{}", if r.wait_for_token { " token" } else { "" })
                }
            };
            assert!(got.starts_with(expected), "{text}: {got}");
        };
        check("wasm:echo", "echo - -");
        check("wasm:echo@1.2.0-rc.1#run", "echo 1.2.0-rc.1 run");
        check(
            "wasm:echo#acme:steps/step@0.1.0#run",
            "echo - acme:steps/step@0.1.0#run",
        );
        check("wasm:echo.waitForTaskToken", "echo - - token");
        check("wasm:a/b-c_d.e", "a/b-c_d.e - -");
        check("http:request", "http");
        check("http:request.waitForTaskToken", "http token");
        check("callback", "callback token");
        check("callback.waitForTaskToken", "callback token");
        check("arn:aws:lambda:us-east-1:111111111111:function:f", "f - -");
        check("arn:aws:lambda:::function:f", "f - -");
        check("arn:aws:lambda:r:1:function:f:$LATEST", "f - -");
        check("arn:aws:lambda:r:1:function:f:prod", "f prod -");
        check("arn:aws:lambda:r:1:function:f:", "bad");
        check("arn:aws:lambda:r:1:function:f:$*#$7485", "bad");
        check("arn:aws:lambda:r:1:layer:f", "bad");
        check("arn:aws:states:::lambda:invoke", "invoke");
        check(
            "arn:aws-cn:states:::lambda:invoke.waitForTaskToken",
            "invoke token",
        );
        check("arn:aws:states:::http:invoke", "http invoke");
        check("arn:aws:states:::http:invoke.waitForTaskToken", "bad");
        check(
            "arn:aws:states:us-east-1:1:activity:print",
            "activity print token",
        );
        check("activity:print", "activity print token");
        check("activity:a b", "bad");
        check("arn:aws:states:::sqs:sendMessage", "later");
        check("container:run", "container");
        check("container:run.waitForTaskToken", "container token");
        check("vm:run", "vm");
        check("container:start", "bad");
        check("signal:send", "send");
        check("signal:wait", "wait");
        check(
            "signal:wait.waitForTaskToken",
            "bad signal:wait has no form",
        );
        check(
            "signal:send.waitForTaskToken",
            "bad signal:send has no form",
        );
        check("signal", "bad");
        check("flow:start", "flow Start");
        check("flow:start.sync", "flow Sync");
        check("flow:start.waitForTaskToken", "flow Start token");
        check("flow:start.sync.waitForTaskToken", "bad");
        check("flow:run", "bad");
        let start = "arn:aws:states:::states:startExecution";
        check(start, "flow Start");
        check(&format!("{start}.sync"), "flow Sync");
        check(&format!("{start}.sync:2"), "flow Sync2");
        check(&format!("{start}.waitForTaskToken"), "flow Start token");
        check(&format!("{start}.sync:3"), "later");
        check("wasm:", "bad");
        check("wasm:-a", "bad");
        check("wasm:a b", "bad");
        check("wasm:a@", "bad");
        check("wasm:a#", "bad");
        check("ehco", "bad");
        check("", "bad");
    }
}
