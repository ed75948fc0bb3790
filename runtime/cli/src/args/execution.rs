//! The command line for executions, and for their tasks.

use clap::{Args, Subcommand};

/// One execution.
#[derive(Debug, Args)]
pub struct Which {
    /// The execution's id; with --flow, its name
    pub id: String,
    /// The flow of an execution that is given by its name
    #[arg(long, value_name = "NAME")]
    pub flow: Option<String>,
}

/// `start`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the execution's id. With --wait: its output, and exit status 1 unless it SUCCEEDED.
A second start with the same --name and input is the same execution.

Examples:
  stepwell start orders --input '{\"amount\": 12}'
  stepwell start orders --input @order.json --name order-7 --wait
  stepwell start orders --wait 10 --json")]
pub struct Start {
    /// The flow's name
    pub flow: String,
    /// The input: JSON, @FILE, or - for standard input
    #[arg(long, short, default_value = "{}", value_name = "JSON|@FILE|-")]
    pub input: String,
    /// The execution's name
    #[arg(long)]
    pub name: Option<String>,
    /// The flow's version; the newest when absent
    #[arg(long)]
    pub version: Option<u32>,
    /// Wait for the end, at most this many seconds; without a number, or with 0, as long as it takes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "0")]
    pub wait: Option<u64>,
}

/// `list`
#[derive(Debug, Args)]
#[command(after_help = "\
Where there are more than --limit, the last line says how to ask for the next ones.
The items of a distributed Map are listed with --parent, by the execution that maps, and not with
--flow.

Examples:
  stepwell list
  stepwell list --flow orders --status FAILED
  stepwell list --parent 01m83dc7y50ymqx0kkn0dn5tz4 --json")]
pub struct List {
    /// Only this flow's
    #[arg(long)]
    pub flow: Option<String>,
    /// Only those that this execution started
    #[arg(long, value_name = "ID")]
    pub parent: Option<String>,
    /// Only in this status: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED
    #[arg(long)]
    pub status: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Begin after this id
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

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
    /// Which.
    #[command(flatten)]
    pub which: Which,
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

/// `logs`
#[derive(Debug, Args)]
#[command(after_help = "\
A step's lines come when its attempt has ended; standard error of a program in a container or on a
machine line by line while it runs.

Examples:
  stepwell logs 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell logs 01m83dc7y50ymqx0kkn0dn5tz4 --state Report --follow")]
pub struct Logs {
    /// Which.
    #[command(flatten)]
    pub which: Which,
    /// Only this state's
    #[arg(long, value_name = "NAME")]
    pub state: Option<String>,
    /// Stay, and show what comes until the execution's end; exit status 1 when that was no success
    #[arg(long, short)]
    pub follow: bool,
    /// Begin after this line
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub after: u64,
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

/// `tasks`
#[derive(Debug, Args)]
#[command(after_help = "\
Without an id each execution that runs is asked, the oldest first, and each task says whose it is.

Examples:
  stepwell tasks 01m83dc7y50ymqx0kkn0dn5tz4
  stepwell tasks 01m83dc7y50ymqx0kkn0dn5tz4 --json | jq -r '.tasks[0].token'
  stepwell tasks --flow approval --state AskManager")]
pub struct Tasks {
    /// The execution's id; with --flow, its name; without it, of all that run
    pub id: Option<String>,
    /// Only of this flow's executions
    #[arg(long, value_name = "NAME")]
    pub flow: Option<String>,
    /// Only this state's
    #[arg(long, value_name = "NAME")]
    pub state: Option<String>,
}

/// `token`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// End the task well
    #[command(after_help = "\
`stepwell tasks` and `stepwell poll` tell tokens. Returns when the answer is durable.

Examples:
  stepwell token succeed TOKEN --output '{\"approved\": true}'
  stepwell token succeed TOKEN --output @answer.json")]
    Succeed {
        /// The task's token
        token: String,
        /// The task's output: JSON, @FILE, or - for standard input
        #[arg(long, short, default_value = "{}", value_name = "JSON|@FILE|-")]
        output: String,
    },
    /// End the task with a failure
    #[command(after_help = "\
Examples:
  stepwell token fail TOKEN --error Refused --cause 'the amount is too large'")]
    Fail {
        /// The task's token
        token: String,
        /// Error name, which Retry and Catch match
        #[arg(long)]
        error: Option<String>,
        /// Cause
        #[arg(long)]
        cause: Option<String>,
    },
    /// Say that the task is still at work
    #[command(after_help = "\
Needed where the state has HeartbeatSeconds: each one begins them anew.

Examples:
  stepwell token heartbeat TOKEN")]
    Heartbeat {
        /// The task's token
        token: String,
    },
}
