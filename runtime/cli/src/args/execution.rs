//! `redrive` and `signal`: the command line for executions that are there.

use clap::Args;

/// `redrive`
#[derive(Debug, Args)]
#[command(after_help = "\
What succeeded is not done again, in a Parallel or Map neither. Without --input the failed state
gets the input that it had. Prints the execution's id. With --wait: its output, and exit status 1
unless it SUCCEEDED.

Examples:
  stepwell redrive 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell redrive 01m83dc7y50ymqx0kkn0dn5tz4 --input '{\"amount\": 12}' --wait
  stepwell redrive 01m83dc7y50ymqx0kkn0dn5tz4 --version 4")]
pub struct Redrive {
    /// The execution's id
    pub id: String,
    /// Another input for the failed state: JSON, @FILE, or - for standard input
    #[arg(long, short, value_name = "JSON|@FILE|-")]
    pub input: Option<String>,
    /// The state that gets the input, when more than one was under way
    #[arg(long, value_name = "NAME", requires = "input")]
    pub state: Option<String>,
    /// Go on with this version of the flow
    #[arg(long)]
    pub version: Option<u32>,
    /// Wait for the end, at most this many seconds; without a number, or with 0, as long as it takes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0")]
    pub wait: Option<u64>,
}

/// `signal`
#[derive(Debug, Args)]
#[command(after_help = "\
The signal goes to the Task `signal:wait` of this name that began to wait first; if there is none,
the execution keeps it until there is. Returns when that is durable.

Examples:
  stepwell signal 01m83dc7y50ymqx0kkn0dn5tz4 paid --data '{\"amount\": 12}'
  stepwell signal order-17 shipped --flow orders --key parcel-4711")]
pub struct Signal {
    /// The execution's id; with --flow, its name
    pub execution: String,
    /// The signal's name
    pub name: String,
    /// Its data: JSON, @FILE, or - for standard input [default: {}]
    #[arg(long, short, value_name = "JSON|@FILE|-")]
    pub data: Option<String>,
    /// The flow of an execution that is given by its name
    #[arg(long, value_name = "NAME")]
    pub flow: Option<String>,
    /// Sent again under the same key it comes once
    #[arg(long)]
    pub key: Option<String>,
}
