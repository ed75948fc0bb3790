//! `cargo xtask demo [--exit] [--port N]`: the examples on a real server.
//!
//! Installs what is missing, builds, serves with a fresh store, uploads, publishes,
//! triggers over HTTP, prints each result, and stays up. Refuses to look away when
//! an example ends otherwise than its `example.toml` says.

mod example;
mod http;
mod play;
mod receiver;
mod serve;
mod show;

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{guests, place, setup, shell};
use example::Example;
use receiver::Receiver;
use serve::Server;

/// The examples in the order of the tour.
const EXAMPLES: &[&str] = &[
    "photo-pipeline",
    "approval",
    "approval-cloudflow",
    "fan-out",
    "bucket-map",
];
const PORT: u16 = 7420;

/// Runs the demo.
///
/// # Errors
/// A wrong command line, a failed build, or a result that is not the expected one.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let begun = Instant::now();
    setup::native()?;
    println!("demo: building the steps (Rust to WebAssembly components)");
    let mut examples = Vec::new();
    for name in EXAMPLES {
        let example = Example::read(name)?;
        let guests = guests::workspace(&format!("examples/{}/steps", example.steps_of()))?;
        examples.push((example, guests));
    }
    println!("demo: building Stepwell (the first time this takes minutes: RocksDB and wasmtime)");
    shell::run(shell::workspace_cargo().args(["build", "--workspace"]))?;
    show::seconds("demo: built", begun);

    let receiver = Receiver::start()?;
    println!(
        "demo: a receiver counts calls at http://{}",
        receiver.address()
    );
    let mut server = Server::start(options.port, receiver.address())?;
    let mut wrong = 0;
    for (example, guests) in &examples {
        show::title(&example.title, &example.name);
        play::publish(&server, example, guests)?;
        for case in &example.cases {
            wrong += play::case(&server, &receiver, example, case)?;
        }
    }
    show::seconds("\ndemo: all examples ended after", begun);
    if wrong > 0 {
        server.stop()?;
        bail!("{wrong} results are not what the examples expect");
    }
    if options.exit {
        return server.stop();
    }
    show::next_steps(&server, receiver.address());
    server.until_stopped()
}

struct Options {
    exit: bool,
    port: u16,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            exit: false,
            port: PORT,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exit" => options.exit = true,
                "--port" => {
                    let port = args.next().context("--port N: which?")?;
                    options.port = port.parse().context("--port takes a number")?;
                }
                other => bail!("demo knows --exit and --port N, not `{other}`"),
            }
        }
        Ok(options)
    }
}

/// The built command.
fn stepwell() -> std::path::PathBuf {
    place::target().join("debug/stepwell")
}
