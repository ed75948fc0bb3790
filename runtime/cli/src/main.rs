//! `stepwell`: the server, the one-shot runner and the client, in one binary.
//!
//! Refuses to hold logic: it reads configuration, plugs the rooms together and
//! shows what they answer. The only crate that reads clocks, randomness and the environment.

mod apart;
mod args;
mod assess;
mod client;
mod config;
mod elsewhere;
mod exit;
mod filling;
mod fmt;
mod folder;
mod grants;
mod graph;
mod input;
mod limits;
mod map;
mod objects;
mod output;
mod reach;
mod run;
mod secrets;
mod serve;
mod state;
mod system;
mod validate;
mod wiring;
mod written;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser as _;
use exit::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::refuse(&error),
    };
    let as_json = cli.json;
    let ended = dispatch(cli).and_then(|exit| match output::lost() {
        Some(why) => Err(exit::Trouble::system(format!(
            "cannot write the answer to standard output: {why}"
        ))),
        None => Ok(exit),
    });
    match ended {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            output::trouble(&trouble, as_json);
            trouble.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<Exit, exit::Trouble> {
    let remote = client::Remote::new(cli.url, cli.json);
    match cli.command {
        Command::Serve(args) => match serve::serve(&args)? {
            // A thread may still be letting go of the store (an object that lands, a read whose
            // client has gone), and must not meet the end of RocksDB's statics, which aborts the
            // process. All that was answered is on the disk.
            Exit::Ok => signal_hook::low_level::exit(0),
            other => Ok(other),
        },
        Command::Run(args) => run::run(&args, cli.json),
        Command::Validate(args) if args.server => client::validate(&remote?, &args),
        Command::Validate(args) => validate::validate(&args, cli.json),
        Command::Fmt(args) => fmt::fmt(&args, cli.json),
        Command::Assess(args) => assess::assess(&args, cli.json),
        Command::Graph(args) => match graph::published(&args) {
            Some(name) => client::graph(&remote?, name, args.flow_version, args.format),
            None => graph::graph(&args, cli.json),
        },
        Command::CompileModule { arguments } => {
            Ok(Exit::Other(stepwell_sandbox::compile_main(arguments)))
        }
        Command::Completions { shell } => Ok(args::completions(shell, cli.json)),
        Command::Module(command) => client::module(&remote?, command),
        Command::Flow(command) => client::flow(&remote?, command),
        Command::Object(command) => client::object(&remote?, command),
        Command::Secret(command) => client::secret(&remote?, command),
        Command::State(command) => client::state(&remote?, command),
        Command::Start(args) => client::start(&remote?, args),
        Command::Describe { which, wait } => client::describe(&remote?, &which, wait),
        Command::History {
            which,
            follow,
            after,
            data,
        } => client::history(&remote?, &which, follow, after, data),
        Command::Logs(args) => client::logs(&remote?, &args),
        Command::Cancel {
            which,
            error,
            cause,
        } => client::cancel(&remote?, &which, error, cause),
        Command::Replay(args) => client::replay(&remote?, &args),
        Command::Signal(args) => client::signal(&remote?, &args),
        Command::Redrive(args) => client::redrive(&remote?, args),
        Command::List(args) => client::list(&remote?, &args),
        Command::Token(command) => client::token(&remote?, command),
        Command::Poll {
            activity,
            worker,
            wait,
        } => client::poll(&remote?, &activity, worker.as_deref(), wait),
        Command::Tasks(args) => client::tasks(&remote?, &args),
        Command::Targets => client::targets(&remote?),
        Command::Usage { flow } => client::usage(&remote?, flow.as_deref()),
    }
}
