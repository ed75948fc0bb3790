//! The command line.

mod catalog;
mod execution;
mod object;
mod secret;
mod state;
mod validate;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::exit::{Exit, Trouble};
use crate::output;
pub use catalog::{Flow, Grants, Module};
pub use execution::{List, Logs, Redrive, Signal, Start, Tasks, Token, Which};
pub use object::Object;
pub use secret::Secret;
pub use state::State;
pub use validate::Validate;

const AFTER: &str = "\
Exit statuses:
  0  all well
  1  the execution ended without success (`run`, `start --wait`, `redrive --wait`, `describe --wait`,
     `history --follow`); a definition does not pass (`validate`, `assess`, `fmt`); `replay` differs
  2  the command line or the flow is wrong
  3  the server cannot be reached
  4  the server refused; the message has a code, explained in docs/errors/CODE.md
  5  this machine failed: a file, the data directory, a socket
  6  the execution still runs when the seconds of --wait are over, or `poll` got no task

With --json answers are JSON on standard output. Trouble is an object on standard error with
`exit` and `message`, and with `problem`: what the server or the check of a definition said.

Environment:
  STEPWELL_URL       where the server is (as --url)
  STEPWELL_TOKEN     the bearer token, for `serve` and for every client command
  STEPWELL_KEY_FILE  the master key of secrets, for `serve`
  STEPWELL_LOG       what `serve` logs, e.g. `debug` or `warn,stepwell_server=debug`; default `info`

Examples:
  stepwell serve --data ./data
  stepwell module push resize resize.wasm
  stepwell flow publish thumbnails flow.yaml --trigger 'POST /thumbnails'
  stepwell start thumbnails --input '{\"url\":\"https://example.com/a.png\"}' --wait
  stepwell run flow.yaml --module resize=resize.wasm --input @order.json";

/// Runs durable flows of sandboxed WebAssembly steps.
#[derive(Debug, Parser)]
#[command(name = "stepwell", version, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Where the server is [default: http://127.0.0.1:7420]
    #[arg(
        long,
        global = true,
        env = "STEPWELL_URL",
        value_name = "URL",
        hide_env = true
    )]
    pub url: Option<String>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    Serve(Serve),
    /// Run one flow here, in memory, without a server
    Run(Run),
    /// Check a flow definition: 0 when it is valid, 1 when not
    Validate(Validate),
    /// Lay definitions out: indentation, order of fields, empty lines
    Fmt(Fmt),
    /// Say of each definition in a folder whether it runs here
    Assess(Assess),
    /// Draw a flow: its states and the ways between them
    Graph(Graph),
    /// Upload and look at modules
    #[command(subcommand)]
    Module(Module),
    /// Publish and look at flows
    #[command(subcommand)]
    Flow(Flow),
    /// Put, get and list objects: the large data that flows map over
    #[command(subcommand)]
    Object(Object),
    /// Set, list and delete secrets
    #[command(subcommand)]
    Secret(Secret),
    /// Look at what steps keep in namespaces, and delete it
    #[command(subcommand)]
    State(State),
    /// Start an execution
    Start(Start),
    /// Show one execution
    #[command(after_help = "\
Of one that runs, `at` says in which states it is and what each of them waits for.
Exit status 0 however it stands. With --wait: 1 when it ended without success, 6 when it still runs.

Examples:
  stepwell describe 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell describe 01m83dc7y50ymqx0kkn0dn5tz4 --wait 60
  stepwell describe order-17 --flow orders
  stepwell describe 01m83dc7y50ymqx0kkn0dn5tz4 --json | jq .output")]
    Describe {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Wait for its end first, at most this many seconds; without a number until it ends
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0")]
        wait: Option<u64>,
    },
    /// Show what happened in an execution
    #[command(after_help = "\
Behind the type of an event comes the state that it is about, in a Parallel or Map with the number
of the branch or item: Ship[3]. Long data is cut, with a mark; --json has the whole, one object a
line. With --follow exit status 1 when it ended without success.

Examples:
  stepwell history 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell history 01m83dc7y50ymqx0kkn0dn5tz4 --data
  stepwell history 01m83dc7y50ymqx0kkn0dn5tz4 --follow
  stepwell history 01m83dc7y50ymqx0kkn0dn5tz4 --after 120 --json")]
    History {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Stay, and show what happens until its end
        #[arg(long, short)]
        follow: bool,
        /// Begin after this event
        #[arg(long, default_value_t = 0, value_name = "EVENT")]
        after: u64,
        /// Show what goes into states and comes out of them, below each event
        #[arg(long)]
        data: bool,
    },
    /// Show what an execution's steps, and programs that they ran elsewhere, have logged
    Logs(Logs),
    /// End an execution
    #[command(after_help = "\
Its status becomes ABORTED, and that of the executions that it waits for.

Examples:
  stepwell cancel 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell cancel 01m83dc7y50ymqx0kkn0dn5tz4 --error Withdrawn --cause 'the customer changed their mind'")]
    Cancel {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Error name to record
        #[arg(long)]
        error: Option<String>,
        /// Cause to record
        #[arg(long)]
        cause: Option<String>,
    },
    /// Send an execution a signal that it waits for, or will
    Signal(Signal),
    /// Let an execution go on that failed, timed out or was cancelled, from where it was
    Redrive(Redrive),
    /// Run an attempt of a module's step again, here, from its journal
    Replay(Replay),
    /// List executions, newest first
    List(List),
    /// List the tasks that wait for their token, of an execution or of all that run
    Tasks(Tasks),
    /// Answer a waiting task
    #[command(subcommand)]
    Token(Token),
    /// Take a task of an activity, as a worker does: prints its token and input
    #[command(after_help = "\
Exit status 6 when no task came in time, and null with --json. Answer with `stepwell token`.

Examples:
  stepwell poll print --worker desk-2
  stepwell poll print --wait 600 --json")]
    Poll {
        /// The activity's name, as flows write it behind `activity:`
        activity: String,
        /// How this worker calls itself in the history
        #[arg(long, value_name = "NAME")]
        worker: Option<String>,
        /// Seconds to wait for a task
        #[arg(long, default_value_t = 60, value_name = "SECONDS")]
        wait: u64,
    },
    /// Show what is called outside: limits, circuits, what waits
    #[command(after_help = "\
A target is a host, an image, a machine or an activity. Of one that is not called now, because its
circuit is open or it asked for a pause, UNTIL says how long.

Examples:
  stepwell targets
  stepwell targets --json | jq '.targets[] | select(.waiting > 0)'")]
    Targets,
    /// Show usage by flow and day
    #[command(after_help = "\
Examples:
  stepwell usage
  stepwell usage orders --json")]
    Usage {
        /// Only this flow's
        flow: Option<String>,
    },
    /// Print a shell's completions
    #[command(after_help = "\
Examples:
  stepwell completions bash > ~/.local/share/bash-completion/completions/stepwell
  stepwell completions fish > ~/.config/fish/completions/stepwell.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Compile a module; the server starts this as its own child
    #[command(hide = true)]
    CompileModule {
        /// As the sandbox gives them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stepwell serve
  stepwell serve --config /etc/stepwell.toml
  STEPWELL_TOKEN=... stepwell serve --listen 0.0.0.0:7420 --data /var/lib/stepwell

Flags win over the configuration file. SIGTERM and SIGINT stop in good order; a second one at once.")]
pub struct Serve {
    /// A TOML file; docs/guides/configuration.md has every key
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port; port 0 picks a free one [default: 127.0.0.1:7420]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<std::net::SocketAddr>,
    /// Where everything is kept [default: ./stepwell-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A file with the bearer token; without it STEPWELL_TOKEN counts
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let `http:request` call this place although it is not public: HOST:PORT or a range
    #[arg(long, value_name = "PLACE")]
    pub http_allow: Vec<String>,
}

/// `run`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one JSON object on standard output: {\"status\", \"output\"} or {\"status\", \"error\", \"cause\"}.
Logs of steps go to standard error. Exit status 0 for SUCCEEDED, 1 otherwise, 2 when the flow
or the command line is wrong.

Examples:
  stepwell run flow.yaml --input '{\"n\": 3}'
  stepwell run flow.json --input @order.json --module resize=./resize.wasm --history events.jsonl
  echo '{}' | stepwell run waits-a-week.yaml --input - --virtual-time")]
pub struct Run {
    /// The definition, JSON or YAML
    #[arg(value_name = "FLOW")]
    pub flow: PathBuf,
    /// The input: JSON, @FILE, or - for standard input
    #[arg(long, short, default_value = "{}", value_name = "JSON|@FILE|-")]
    pub input: String,
    /// A module that the flow uses
    #[arg(long = "module", short, value_name = "NAME=FILE")]
    pub modules: Vec<String>,
    /// What a module may reach: a file as for `module push --grants`
    #[arg(long = "grants", value_name = "NAME=FILE")]
    pub grants: Vec<String>,
    /// What the flow's Task resources may reach
    #[arg(long, value_name = "FILE")]
    pub flow_grants: Option<PathBuf>,
    /// A further flow, which the flow may start by this name
    #[arg(long = "flow", value_name = "NAME=FILE")]
    pub flows: Vec<String>,
    /// A secret that the flow and its modules may be granted
    #[arg(long = "secret", value_name = "NAME=FILE")]
    pub secrets: Vec<String>,
    /// A directory that the flow may read as this bucket
    #[arg(long = "bucket", value_name = "NAME=DIR")]
    pub buckets: Vec<String>,
    /// A directory that the flow may read and write as this bucket
    #[arg(long = "bucket-write", value_name = "NAME=DIR")]
    pub writable_buckets: Vec<String>,
    /// Write the history here, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Fills in and binds.
    #[command(flatten)]
    pub filling: Filling,
    /// Let waits, backoffs and timeouts pass at once
    #[arg(long)]
    pub virtual_time: bool,
    /// Run it as an express execution: at most 5 minutes, no tokens, starts no flows
    #[arg(long)]
    pub express: bool,
    /// Let `http:request` call this place although it is not public: HOST:PORT or a range
    #[arg(long, value_name = "PLACE")]
    pub http_allow: Vec<String>,
}

/// `fmt`
#[derive(Debug, Args)]
#[command(after_help = "\
JSON and YAML, in every language that is accepted. Values, comments, quotes and the spelling of
numbers stay; docs/guides/format.md says what changes. In a folder, .json, .yaml and .yml files
that are flows are formatted, also in folders below. A file is written whole or not at all.
Exit status 0 when all is well, 1 when a file cannot be formatted or, with --check, would change.

Examples:
  stepwell fmt flow.yaml
  stepwell fmt --check ./flows
  stepwell fmt - < flow.json")]
pub struct Fmt {
    /// Definitions and folders; - for standard input, printed on standard output
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// Change nothing; list the files that would change
    #[arg(long)]
    pub check: bool,
    /// Print the result and leave the file as it is
    #[arg(long, conflicts_with = "check")]
    pub stdout: bool,
}

/// What fills in a definition, and what its resources mean here.
#[derive(Debug, Args)]
pub struct Filling {
    /// Fill in ${NAME} (CloudFormation's DefinitionSubstitutions); may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// A JSON or YAML file of such names and values; --set wins
    #[arg(long, value_name = "FILE")]
    pub set_file: Option<PathBuf>,
    /// A TOML or JSON file that binds resources: "ARN, or a pattern with *" = "wasm:NAME", …
    #[arg(long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
}

/// `replay`
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the server for the attempt's input, module and journal, and runs it here. Calls are answered
from the journal; nothing leaves. Exit status 0 when the result is the same, bit for bit, 1 when it
is not. With --module also 1 when the patched module's calls or result differ; the first call that
differs is shown.

Examples:
  stepwell replay 01m83dc7y50ymqx0kkn0dn5tz4 --state Charge
  stepwell replay 01m83dc7y50ymqx0kkn0dn5tz4 --state Charge --module patched.wasm")]
pub struct Replay {
    /// The execution's id
    pub id: String,
    /// The state
    #[arg(long, value_name = "NAME")]
    pub state: String,
    /// The state entry, by the number that `replay` prints [default: the last one]
    #[arg(long, value_name = "N")]
    pub entry: Option<u64>,
    /// The attempt, from 0 [default: the last one]
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// A secret that the attempt read: the journal has its name, not its value
    #[arg(long = "secret", value_name = "NAME=FILE")]
    pub secrets: Vec<String>,
    /// Also run this module on the same journal
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
}

/// `assess`
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at .json, .yaml and .yml files, also in folders below. Each runs as it is, needs a binding
or a substitution (then the line for --resources, or the option, is shown), is impossible, with
the reasons, or is no flow. Exit status 0 when all flows run, 1 otherwise.

Examples:
  stepwell assess ./state-machines
  stepwell assess ./state-machines --resources bindings.toml --json")]
pub struct Assess {
    /// The folder
    pub dir: PathBuf,
    /// Fills in and binds.
    #[command(flatten)]
    pub filling: Filling,
}

/// `graph`
#[derive(Debug, Args)]
#[command(after_help = "\
A name that is no file here is that of a published flow: the server draws it.

Examples:
  stepwell graph flow.yaml > flow.svg
  stepwell graph flow.json --format mermaid
  stepwell graph orders --flow-version 3 --format dot")]
pub struct Graph {
    /// The definition, JSON or YAML; - for standard input; or the name of a published flow
    #[arg(value_name = "FILE|FLOW")]
    pub file: PathBuf,
    /// The published flow's version; the newest when absent
    #[arg(long, value_name = "N")]
    pub flow_version: Option<u32>,
    /// What to print
    #[arg(long, value_enum, default_value = "svg")]
    pub format: Format,
    /// Fills in and binds.
    #[command(flatten)]
    pub filling: Filling,
}

/// The forms of a picture.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// For Markdown that renders Mermaid.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// For browsers.
    Svg,
}

impl Format {
    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Mermaid => "mermaid",
            Format::Dot => "dot",
            Format::Svg => "svg",
        }
    }
}

/// Prints completions as they are, or as `{"shell", "completions"}`.
pub fn completions(shell: clap_complete::Shell, as_json: bool) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "stepwell", &mut text);
    if as_json {
        let text = String::from_utf8_lossy(&text);
        let shown = serde_json::json!({ "shell": shell.to_string(), "completions": text });
        output::print_json(&shown.to_string());
    } else {
        output::print_raw(&text);
    }
    Exit::Ok
}

/// Shows why a command line is none, or the help that it asks for.
pub fn refuse(error: &clap::Error) -> ExitCode {
    // Nothing was parsed, so whether JSON is wanted is in the raw arguments only.
    let as_json = std::env::args_os().any(|argument| argument == "--json");
    if as_json && error.use_stderr() {
        let text = error.to_string();
        let message = text.trim_end().trim_start_matches("error: ");
        output::trouble(&Trouble::usage(message), true);
        return Exit::Usage.into();
    }
    // That nobody reads it is no reason to end otherwise.
    let _ = error.print();
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    /// All help texts, as a user sees them on a wide terminal.
    #[test]
    fn help_is_as_reviewed() {
        let mut text = String::new();
        let mut root = Cli::command().term_width(100);
        root.build();
        pages(&mut root, &mut text);
        expect_test::expect_file!["../tests/help.txt"].assert_eq(&text);
    }

    /// The server reads every id that an example shows.
    #[test]
    fn ids_in_examples_are_ids() {
        let mut text = String::new();
        let mut root = Cli::command();
        root.build();
        pages(&mut root, &mut text);
        let examples = text.lines().filter(|line| line.starts_with("  stepwell "));
        let ids: Vec<&str> = examples
            .flat_map(str::split_whitespace)
            .filter(|word| word.starts_with('0') && word.len() == 26)
            .collect();
        assert!(!ids.is_empty(), "no example shows an id");
        for id in ids {
            assert!(id.parse::<stepwell_types::ExecutionId>().is_ok(), "{id}");
        }
    }

    fn pages(command: &mut clap::Command, text: &mut String) {
        let title = command.get_display_name().unwrap_or("stepwell").to_owned();
        let help = command.render_help();
        let _ = writeln!(text, "==== {title}\n{help}");
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" && !sub.is_hide_set() {
                pages(sub, text);
            }
        }
    }

    /// Every command that does something shows how, in words that the command line takes.
    #[test]
    fn every_command_has_examples_that_hold() {
        let mut root = Cli::command();
        root.build();
        let mut bad = Vec::new();
        examples(&root, &mut bad);
        assert_eq!(bad, [""; 0]);
    }

    fn examples(command: &clap::Command, bad: &mut Vec<String>) {
        let own = command.get_display_name().unwrap_or("stepwell");
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let lines = help.split_once("Examples:\n").map_or("", |(_, rest)| rest);
        let mut shown = false;
        for line in lines.lines().take_while(|line| !line.is_empty()) {
            match called(line) {
                Ok(name) => shown |= name == own,
                Err(e) => bad.push(format!("{own}: {line}: {e}")),
            }
        }
        if !shown && !command.has_subcommands() {
            bad.push(format!("{own} has no example of itself"));
        }
        for sub in command.get_subcommands() {
            if sub.get_name() != "help" && !sub.is_hide_set() {
                examples(sub, bad);
            }
        }
    }

    /// Which command an example calls.
    fn called(line: &str) -> Result<String, clap::Error> {
        let found = Cli::command().try_get_matches_from(words(line))?;
        let (mut name, mut at) = ("stepwell".to_owned(), &found);
        while let Some((sub, below)) = at.subcommand() {
            let _ = write!(name, "-{sub}");
            at = below;
        }
        Ok(name)
    }

    /// The words of the line's part that is ours, as a shell reads them.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let (mut word, mut quoted) = (None::<String>, false);
        for c in line.chars().chain([' ']) {
            match c {
                '\'' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        let begin = words.iter().position(|word| word == "stepwell");
        let ours = words.split_off(begin.unwrap_or(0));
        let ends = |word: &String| matches!(word.as_str(), "|" | "<" | ">");
        ours.into_iter().take_while(|word| !ends(word)).collect()
    }
}
