//! `stepwell run`: one execution of one flow here, in memory, without a server.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;
use stepwell_flow::program::{Keep, TaskGrants};
use stepwell_flow::resource::Bound;
use stepwell_flow::{Program, Resolve, Unresolved};
use stepwell_host_api::objects::Objects;
use stepwell_host_api::{Bridges, Namespaces, Secrets};
use stepwell_orchestrator::api::{Execution, HistoryLine, Status};
use stepwell_orchestrator::gate::GateHandle;
use stepwell_orchestrator::oneshot::{self, OneShot};
use stepwell_orchestrator::ports::{StepFuture, StepRunner};
use stepwell_sandbox::{Modules, Sandbox};
use stepwell_server::wire::json::Rfc3339;
use stepwell_types::limits::DEFINITION_BYTES_MAX;
use stepwell_types::{Digest, LogLevel, StepRequest, Timestamp};

use crate::config::{Bucket, Config};
use crate::elsewhere::Elsewhere;
use crate::exit::{Exit, Trouble};
use crate::objects::InBuckets;
use crate::objects::room::Room;
use crate::reach::Reach;
use crate::system::{SystemClock, SystemEntropy};
use crate::{args, elsewhere, filling, input, output, secrets, validate, wiring};

/// Runs a flow to its end and prints how it ended.
pub fn run(args: &args::Run, as_json: bool) -> Result<Exit, Trouble> {
    let mut config = Config::default();
    config.http.allow.clone_from(&args.http_allow);
    if args.input == "-" && args.flow == Path::new("-") {
        let why = "standard input is the flow or the input, not both: give one of them as a file";
        return Err(Trouble::usage(why));
    }
    let input = input::json("--input", &args.input).map_err(named)?;
    let definition = input::text(&args.flow, DEFINITION_BYTES_MAX).map_err(named)?;
    let values = filling::values(&args.filling).map_err(named)?;
    let map = filling::resources(args.filling.resources.as_deref()).map_err(named)?;
    let modules = named_files("--module", &args.modules)?;
    let flows = named_files("--flow", &args.flows)?;
    let manifests = named_files("--grants", &args.grants)?;
    for (option, given, write) in [
        ("--bucket", &args.buckets, false),
        ("--bucket-write", &args.writable_buckets, true),
    ] {
        for (name, path) in named_files(option, given)? {
            if config
                .buckets
                .insert(name.clone(), Bucket { path, write })
                .is_some()
            {
                return Err(Trouble::usage(format!("{option} {name} is given twice")));
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    // Compiled modules live as long as this run.
    let scratch = tempfile::tempdir().context("a folder for compiled modules")?;
    let secrets = secrets::given("--secret", &args.secrets).map_err(named)?;
    let secrets: Arc<dyn Secrets> = secrets;
    let limiter = config.limits.limiter()?;
    let instance = elsewhere::instance(None)?;
    let buckets = wiring::buckets(&config, None, instance.clone()).map_err(named)?;
    let objects: Arc<dyn Objects> = Arc::new(InBuckets::at_once(buckets.clone()));
    let elsewhere = Elsewhere::open(&config, &limiter, &objects, &instance, &secrets)?;
    let keyvalue = Namespaces::in_memory();
    let (executions, door) = oneshot::door(Arc::new(SystemClock), Arc::new(SystemEntropy));
    let reach = Arc::new(Reach::new());
    reach.open(executions);
    let bridges = wiring::bridges(
        &config,
        &limiter,
        &elsewhere,
        secrets,
        (keyvalue, objects),
        reach,
    )?;
    let loading = load(&modules, scratch.path(), &config, bridges.clone());
    let (sandbox, mut known) = runtime.block_on(loading)?;
    let name = args.flow.file_stem().unwrap_or_default().to_string_lossy();
    known.express = args.express;
    known.flows = flows.keys().cloned().chain([name.to_string()]).collect();
    let resolve = Bound {
        inner: &known,
        map: &map,
    };
    let mut program = compile(&args.flow, &definition, &values, &resolve, as_json)?;
    let grants = known
        .grants(&manifests, args.flow_grants.as_deref())
        .map_err(named)?;
    program.grants.clone_from(&grants);
    if args.express {
        program.make_express(match args.history {
            Some(_) => Keep::All,
            None => Keep::None,
        });
    }
    let mut others = HashMap::new();
    for (name, file) in &flows {
        let text = input::text(file, DEFINITION_BYTES_MAX).map_err(named)?;
        let mut program = compile(file, &text, &values, &resolve, as_json)?;
        program.grants.clone_from(&grants);
        others.insert(Arc::from(name.as_str()), Arc::new(program));
    }
    let runner = wiring::Runner {
        sandbox,
        bridges,
        buckets,
        room: Room::boundless(),
    };
    let shot = OneShot {
        program: Arc::new(program),
        flows: others,
        name: name.as_ref().into(),
        input,
        runner: Arc::new(Loud(runner)),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        virtual_time: args.virtual_time,
        rests,
        door,
    };
    let history = match &args.history {
        None => None,
        Some(file) => Some((file, writable(file).map_err(named)?)),
    };
    let finished = runtime
        .block_on(oneshot::run(shot))
        .map_err(Trouble::system)?;
    output::print_json_line(&outcome(&finished.execution));
    if failed_as(&finished.execution, "Stepwell.NotGranted") {
        output::remark(
            "  hint: --flow-grants FILE grants the flow's own Tasks what they reach, --grants NAME=FILE a module",
        );
    }
    if let Some((file, open)) = history {
        if finished.history.is_empty() {
            let why = "the history is not written: an express execution keeps it up to 4 MiB";
            return Err(Trouble::system(why));
        }
        write_history(file, open, &finished.history)?;
    }
    // Steps that were let go may still run: nobody waits for them.
    runtime.shutdown_background();
    let well = finished.execution.status == Status::Succeeded;
    Ok(if well { Exit::Ok } else { Exit::Failed })
}

/// Scripts know three ends of a run, 0, 1 and 2: where a file cannot be opened that the command
/// line names, the command line is wrong.
fn named(trouble: Trouble) -> Trouble {
    let exit = match trouble.exit {
        Exit::System => Exit::Usage,
        other => other,
    };
    Trouble { exit, ..trouble }
}

/// Nothing happens for long: without a word it would look like a run that hangs.
fn rests(until: Timestamp) {
    output::remark(&format!(
        "nothing runs until {}: the flow waits, or for a token or signal that nobody can bring here; --virtual-time lets the time pass at once",
        Rfc3339(until)
    ));
}

fn failed_as(execution: &Execution, error: &str) -> bool {
    let failure = execution.failure.as_ref();
    failure.is_some_and(|failure| &*failure.error == error)
}

/// Checks a flow and shows its problems; those of a flow that cannot run are the trouble's own
/// under `--json`.
fn compile(
    file: &Path,
    definition: &str,
    values: &BTreeMap<String, String>,
    known: &dyn Resolve,
    as_json: bool,
) -> Result<Program, Trouble> {
    let shown = file.display().to_string();
    let checked = filling::compile(definition, values, known)?;
    let invalid = checked.program.is_none();
    if !(as_json && invalid) {
        validate::show(&shown, definition, &checked.diagnostics);
    }
    checked.program.ok_or_else(|| {
        let mut trouble = Trouble::usage(format!("{shown} is not a valid flow"));
        trouble.problem = Some(json!({ "diagnostics": checked.diagnostics }));
        trouble
    })
}

/// `NAME=FILE` (or a directory), each name once.
fn named_files(option: &str, given: &[String]) -> Result<BTreeMap<String, PathBuf>, Trouble> {
    let mut out = BTreeMap::new();
    for text in given {
        let (name, file) = text
            .split_once('=')
            .filter(|(name, file)| !name.is_empty() && !file.is_empty())
            .ok_or_else(|| {
                let what = if option.starts_with("--bucket") {
                    "DIR"
                } else {
                    "FILE"
                };
                Trouble::usage(format!("{option} {text}: write NAME={what}"))
            })?;
        if out.insert(name.to_owned(), file.into()).is_some() {
            return Err(Trouble::usage(format!("{option} {name} is given twice")));
        }
    }
    Ok(out)
}

/// Compiles the modules; without any there is no sandbox to wait for.
async fn load(
    files: &BTreeMap<String, PathBuf>,
    scratch: &Path,
    config: &Config,
    bridges: Bridges,
) -> Result<(Option<Arc<Sandbox>>, Known), Trouble> {
    if files.is_empty() {
        return Ok((None, Known::default()));
    }
    let sandbox = wiring::sandbox(scratch.join("modules"), config, bridges)?;
    let mut known = Known {
        modules: Some(sandbox.modules().clone()),
        ..Known::default()
    };
    for (name, file) in files {
        let bytes = std::fs::read(file).map_err(|e| {
            Trouble::usage(format!(
                "--module {name}: cannot read {}: {e}",
                file.display()
            ))
        })?;
        let refused = |e: stepwell_sandbox::Error| Trouble::usage(format!("--module {name}: {e}"));
        let mut upload = sandbox.modules().upload().map_err(refused)?;
        upload.write(&bytes).map_err(refused)?;
        let info = upload.finish().await.map_err(refused)?;
        known.digests.insert(name.clone(), info.digest);
    }
    Ok((Some(sandbox), known))
}

/// The modules of the command line.
#[derive(Default)]
struct Known {
    modules: Option<Modules>,
    digests: BTreeMap<String, Digest>,
    flows: Vec<String>,
    express: bool,
}

impl Known {
    /// The manifests of the command line.
    fn grants(
        &self,
        modules: &BTreeMap<String, PathBuf>,
        flow: Option<&Path>,
    ) -> Result<TaskGrants, Trouble> {
        let mut grants = TaskGrants::default();
        if let Some(file) = flow {
            grants.flow = Some(Arc::new(crate::grants::read(file)?));
        }
        for (name, file) in modules {
            let digest = self.digests.get(name).ok_or_else(|| {
                Trouble::usage(format!("--grants {name}: there is no --module {name}=FILE"))
            })?;
            let mut manifest = crate::grants::read(file)?;
            if let Some(own) = &grants.flow {
                manifest.config.extend(own.config.clone());
            }
            let manifest = Arc::new(manifest);
            grants
                .modules
                .push((name.as_str().into(), *digest, manifest));
        }
        Ok(grants)
    }
}

impl Resolve for Known {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        let Some(digest) = self.digests.get(name) else {
            return Err(Unresolved {
                message: format!("there is no module {name:?}; give it as --module {name}=FILE"),
                available: self.digests.keys().cloned().collect(),
            });
        };
        // A file on the command line is the only version there is.
        let _ = version;
        let exports = |modules: &Modules| {
            use stepwell_orchestrator::ports::ModuleStore as _;
            wiring::Shelf::new(modules.clone(), 0).exports(*digest, function)
        };
        if self.modules.as_ref().is_some_and(exports) {
            return Ok(*digest);
        }
        let wanted = function.unwrap_or("run of stepwell:step/handler");
        let described = self.modules.as_ref().map(|m| m.describe(digest));
        let available = match described {
            Some(Ok(Some(info))) => info.functions,
            _ => Vec::new(),
        };
        Err(Unresolved {
            message: format!("module {name:?} has no step function {wanted:?}"),
            available,
        })
    }

    fn express(&self) -> bool {
        self.express
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        let runs = |name: &str| self.module(name, None, None).is_ok();
        let all = self.digests.iter().filter(|(name, _)| runs(name));
        all.map(|(name, digest)| (name.as_str().into(), *digest))
            .collect()
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        let known = self.flows.iter().any(|f| f == name);
        if known && version.is_none_or(|v| v == 1) {
            return Ok(());
        }
        Err(Unresolved {
            message: format!("there is no flow {name:?}; give it as --flow {name}=FILE"),
            available: self.flows.clone(),
        })
    }
}

/// Prints what steps log.
struct Loud(wiring::Runner);

impl StepRunner for Loud {
    fn run(&self, request: StepRequest, gate: GateHandle) -> StepFuture {
        let state = request.state.clone();
        let step = self.0.run(request, gate);
        Box::pin(async move {
            let outcome = step.await;
            for line in &outcome.logs {
                let level = match line.level {
                    LogLevel::Trace => "trace",
                    LogLevel::Debug => "debug",
                    LogLevel::Info => "info",
                    LogLevel::Warn => "warn",
                    LogLevel::Error => "error",
                };
                output::remark(&format!("[{state}] {level}: {}", line.message));
            }
            outcome
        })
    }
}

/// The object on standard output. Scripts depend on it.
fn outcome(execution: &Execution) -> String {
    let status = match execution.status {
        Status::Running => "RUNNING",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    };
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match (&execution.output, &execution.failure) {
        (Some(output), _) => {
            let output = one_line(output.text());
            format!("{{\"status\":\"{status}\",\"output\":{output}}}")
        }
        (None, Some(failure)) => format!(
            "{{\"status\":\"{status}\",\"error\":{},\"cause\":{}}}",
            text(&failure.error),
            text(&failure.cause)
        ),
        (None, None) => format!("{{\"status\":\"{status}\"}}"),
    }
}

/// JSON on one line: a line break in its text is only ever space between tokens.
fn one_line(json: &str) -> String {
    json.replace(['\r', '\n'], " ")
}

/// Opens a file before there is something to write into it; what it holds stays till then.
fn writable(file: &Path) -> Result<File, Trouble> {
    let mut options = File::options();
    let open = options.create(true).truncate(false).write(true).open(file);
    open.map_err(|e| Trouble::system(format!("cannot write {}: {e}", file.display())))
}

fn write_history(file: &Path, mut open: File, lines: &[HistoryLine]) -> Result<(), Trouble> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&one_line(line.json.text()));
        text.push('\n');
    }
    let written = open
        .set_len(0)
        .and_then(|()| open.write_all(text.as_bytes()));
    written.map_err(|e| Trouble::system(format!("cannot write {}: {e}", file.display())))
}
