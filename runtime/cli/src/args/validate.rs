//! The arguments of `validate`.

use std::path::PathBuf;

use clap::Args;

use super::Filling;

/// `validate`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints every problem as FILE:LINE:COLUMN on standard error; with --json a JSON object on
standard output. Modules and flows are not looked up: only a server knows its own. AWS's names
that nothing stands for, which publishing refuses, are warnings, unless --resources says what is
bound. With --server one is asked (--url, STEPWELL_URL), with its own [resources] too; nothing is
published.

Examples:
  stepwell validate flow.yaml
  stepwell validate --server flow.yaml
  stepwell validate --json flow.json | jq .diagnostics")]
pub struct Validate {
    /// The definition, JSON or YAML; - for standard input
    pub file: PathBuf,
    /// Check it as an express flow, in which some states have no place
    #[arg(long)]
    pub express: bool,
    /// Ask the server, which knows its modules and flows
    #[arg(long)]
    pub server: bool,
    /// Fills in and binds.
    #[command(flatten)]
    pub filling: Filling,
}
