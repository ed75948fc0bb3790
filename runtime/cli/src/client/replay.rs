//! `replay`: an attempt of a module's step again, here, from its journal.
//!
//! Refuses to call outside: what the journal does not answer ends the replay, and is said. Alone the bytes
//! of large objects are the server's, whose journal has their tags.

mod there;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use base64::Engine as _;
use serde_json::{Value, json};
use stepwell_host_api::execution::NoExecutions;
use stepwell_host_api::gate::{Asked, Boxed, Gate, Verdict};
use stepwell_host_api::objects::Objects;
use stepwell_host_api::{Namespaces, Secrets};
use stepwell_sandbox::Sandbox;
use stepwell_server::wire::trace::Trace;
use stepwell_types::{
    BridgeAnswer, BridgeCall, Data, Digest, EntryId, Failure, Recorded, RecordedCall, StepOutcome,
    StepRequest, StepTarget, Timestamp,
};

use super::Remote;
use crate::args::Replay;
use crate::elsewhere::Elsewhere;
use crate::exit::{Exit, Trouble};
use crate::{elsewhere, output, secrets, wiring};
use there::There;

/// `replay …`
pub fn replay(remote: &Remote, args: &Replay) -> Result<Exit, Trouble> {
    let mut query = vec![("state", args.state.clone())];
    query.extend(args.entry.map(|n| ("entry", n.to_string())));
    query.extend(args.attempt.map(|n| ("attempt", n.to_string())));
    let request = remote.get(&["executions", &args.id, "trace"]).query(&query);
    let text = remote.text(request, &["module", "digest", "input", "calls"])?;
    let trace: Trace = serde_json::from_str(&text)
        .map_err(|e| remote.stranger(&format!("its trace can't be read ({e})")))?;
    let wasm = module(remote, &trace)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    let scratch = tempfile::tempdir().context("a folder for compiled modules")?;
    let config = trace.limits.as_ref().map(wiring::bounded);
    let config = config.unwrap_or_default();
    let secrets = secrets::given("--secret", &args.secrets)?;
    let limiter = config.limits.limiter()?;
    let keyvalue = Namespaces::in_memory();
    let secrets: Arc<dyn Secrets> = secrets;
    let instance = elsewhere::instance(None)?;
    let folder = scratch.path().join("buckets");
    let buckets = wiring::buckets(&config, Some(folder), instance.clone())?;
    // Held to the end: its own runtime may not go on a thread of the other one.
    let there: Arc<dyn Objects> = Arc::new(There::new(remote.another()?, buckets));
    let elsewhere = Elsewhere::open(&config, &limiter, &there, &instance, &secrets)?;
    let executions = Arc::new(NoExecutions);
    let kept = (keyvalue, Arc::clone(&there));
    let bridges = wiring::bridges(&config, &limiter, &elsewhere, secrets, kept, executions)?;
    let sandbox = wiring::sandbox(scratch.path().join("modules"), &config, bridges)?;
    let request = read(remote, &trace)?;
    let then = runtime.block_on(run(&sandbox, &wasm, request.clone()))?;
    let now = match &args.module {
        None => None,
        Some(file) => {
            let patched = patched(file)?;
            Some(runtime.block_on(run(&sandbox, &patched, request))?)
        }
    };
    runtime.shutdown_background();
    Ok(tell(remote, &trace, &then, now.as_ref()))
}

/// The module that ran.
fn module(remote: &Remote, trace: &Trace) -> Result<Vec<u8>, Trouble> {
    let request = remote.get(&["modules", &trace.module, "wasm"]);
    let request = request.query(&[("digest", &trace.digest)]);
    let bytes = remote.runtime.block_on(async {
        let response = remote.send(request).await?;
        response.bytes().await.map_err(|e| remote.unreachable(&e))
    })?;
    if Digest::of(&bytes).to_string() != trace.digest {
        return Err(remote.stranger("the module that it sent is another one"));
    }
    Ok(bytes.to_vec())
}

fn patched(file: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(file)
        .map_err(|e| Trouble::system(format!("--module: cannot read {}: {e}", file.display())))
}

/// The attempt, as the server told it.
fn read(remote: &Remote, trace: &Trace) -> Result<StepRequest, Trouble> {
    let odd = || remote.stranger("its trace can't be read");
    let bytes = |text: &String| {
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| odd())
    };
    let list = |items: &[String]| items.iter().map(bytes).collect::<Result<Vec<_>, _>>();
    let mut recorded = Recorded {
        notes: list(&trace.notes)?,
        calls: BTreeMap::new(),
        again: Some(Timestamp(trace.at_ms)),
    };
    for (number, call) in &trace.calls {
        let call = RecordedCall {
            request: call.request.parse().map_err(|_| odd())?,
            parts: list(&call.parts)?,
        };
        recorded.calls.insert(*number, call);
    }
    Ok(StepRequest {
        execution: trace.execution_id.parse().map_err(|_| odd())?,
        execution_name: trace.execution_name.as_str().into(),
        flow: trace.flow.as_str().into(),
        state: trace.state.as_str().into(),
        entry: EntryId(trace.entry),
        attempt: trace.attempt,
        target: StepTarget::Wasm {
            name: trace.module.as_str().into(),
            digest: trace.digest.parse().map_err(|_| odd())?,
            function: trace.function.as_deref().map(Into::into),
        },
        input: Data::parse(trace.input.get()).map_err(|_| odd())?,
        deadline: trace.deadline_ms.map(Timestamp),
        token: None,
        seed: trace.seed.parse().map_err(|_| odd())?,
        grants: trace.grants.clone().map(|grants| Arc::new(grants.into())),
        recorded: Some(Arc::new(recorded)),
        entered: None,
    })
}

/// How a run went, and what it asked for.
struct Run {
    outcome: StepOutcome,
    calls: BTreeMap<u32, Asked>,
    /// The first call that the journal does not answer.
    beyond: Option<u32>,
}

async fn run(
    sandbox: &Arc<Sandbox>,
    wasm: &[u8],
    mut request: StepRequest,
) -> Result<Run, Trouble> {
    let refused = |e: stepwell_sandbox::Error| Trouble::usage(format!("--module: {e}"));
    let mut upload = sandbox.modules().upload().map_err(refused)?;
    upload.write(wasm).map_err(refused)?;
    let info = upload.finish().await.map_err(refused)?;
    if let StepTarget::Wasm { digest, .. } = &mut request.target {
        *digest = info.digest;
    }
    let heard = Arc::new(Heard::default());
    let outcome = sandbox.run(request, heard.clone()).await;
    let seen = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Run {
        outcome,
        calls: seen.0.clone(),
        beyond: seen.1,
    })
}

/// A gate that lets nothing out, and remembers what was asked.
#[derive(Default)]
struct Heard(Mutex<(BTreeMap<u32, Asked>, Option<u32>)>);

impl Gate for Heard {
    fn admit(&self, call: BridgeCall) -> Boxed<'static, Verdict> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.1.get_or_insert(call.call);
        Box::pin(std::future::ready(Verdict::Stopped))
    }

    fn answered(&self, _: BridgeAnswer) {}

    fn asked(&self, call: u32, what: &dyn Fn() -> Asked) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.insert(call, what());
    }
}

/// What came of it: 0 when the result is the same, 1 when it is not.
fn tell(remote: &Remote, trace: &Trace, then: &Run, now: Option<&Run>) -> Exit {
    let recorded = result(
        trace.output.as_ref().map(|text| text.get().to_owned()),
        trace.error.clone(),
        trace.cause.clone(),
    );
    let again = match &then.outcome.result {
        Ok(data) => result(Some(data.text().to_owned()), None, None),
        Err(f) => result(None, Some(f.error.to_string()), Some(f.cause.to_string())),
    };
    let same = recorded == again;
    let fuel = trace.fuel;
    let untold = untold(&then.outcome);
    let differs = now.and_then(|now| first_difference(then, now));
    let patched = now.map(|now| match &now.outcome.result {
        Ok(data) => result(Some(data.text().to_owned()), None, None),
        Err(f) => result(None, Some(f.error.to_string()), Some(f.cause.to_string())),
    });
    if remote.json {
        let told = json!({
            "same": same,
            "calls": then.calls.len(),
            "recorded": recorded,
            "replayed": again,
            "fuel": then.outcome.spent.fuel,
            "fuel_recorded": fuel,
            "beyond_journal": then.beyond,
            "not_in_journal": untold.map(|failure| &*failure.cause),
            "patched": patched,
            "first_difference": differs.as_ref().map(|(call, then, now)| json!({
                "call": call, "then": then, "now": now,
            })),
        });
        output::print_json_line(&told.to_string());
    } else {
        people(trace, then, &recorded, &again);
        if let Some(patched) = &patched {
            patched_for_people(patched, &again, differs.as_ref());
        }
    }
    let well = match &patched {
        None => same,
        Some(patched) => same && differs.is_none() && *patched == again,
    };
    if well { Exit::Ok } else { Exit::Failed }
}

/// What the attempt saw and its journal does not tell.
fn untold(outcome: &StepOutcome) -> Option<&Failure> {
    let failure = outcome.result.as_ref().err()?;
    (&*failure.error == "Stepwell.NotInJournal").then_some(failure)
}

fn people(trace: &Trace, run: &Run, recorded: &Value, again: &Value) {
    output::print(&format!(
        "{} entry {}, attempt {}: module {} ({:.12}), {} call(s)",
        trace.state,
        trace.entry,
        trace.attempt,
        trace.module,
        trace.digest,
        run.calls.len()
    ));
    if let Some(call) = run.beyond {
        let what = run
            .calls
            .get(&call)
            .map_or("", |asked| asked.shown.as_str());
        output::print(&format!(
            "the journal ends before call {call}:\n{}",
            indented(what)
        ));
        return;
    }
    if let Some(failure) = untold(&run.outcome) {
        output::print(&format!("it cannot be run again here: {}", failure.cause));
        return;
    }
    if recorded == again {
        let units = run.outcome.spent.fuel;
        let as_then = if trace.fuel == Some(units) {
            ", as then"
        } else {
            ""
        };
        output::print(&format!(
            "the result is the same, bit for bit ({units} units of fuel{as_then})"
        ));
    } else {
        output::print("the result differs");
        output::print(&format!("  then {recorded}"));
        output::print(&format!("  now  {again}"));
    }
}

fn patched_for_people(patched: &Value, again: &Value, differs: Option<&(u32, String, String)>) {
    if let Some((call, then, now)) = differs {
        output::print(&format!("the patched module: call {call} differs"));
        output::print(&format!("  then\n{}", indented(then)));
        output::print(&format!("  now\n{}", indented(now)));
        return;
    }
    let what = if patched == again {
        "the same calls and the same result"
    } else {
        "the same calls and another result"
    };
    output::print(&format!("the patched module: {what}"));
    if patched != again {
        output::print(&format!("  now  {patched}"));
    }
}

/// The first call that two runs do not have in common.
fn first_difference(then: &Run, now: &Run) -> Option<(u32, String, String)> {
    let none = || "no call".to_owned();
    let last = then.calls.keys().chain(now.calls.keys()).max()?;
    (0..=*last).find_map(|call| {
        let (a, b) = (then.calls.get(&call), now.calls.get(&call));
        let text = |what: Option<&Asked>| what.map_or_else(none, |asked| asked.shown.clone());
        (a != b).then(|| (call, text(a), text(b)))
    })
}

fn result(output: Option<String>, error: Option<String>, cause: Option<String>) -> Value {
    match (output, error) {
        // As text: bit for bit is not value for value.
        (Some(output), _) => json!({ "output": output }),
        (None, Some(error)) => json!({ "error": error, "cause": cause }),
        (None, None) => Value::Null,
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}
