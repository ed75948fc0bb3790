//! `secret`: the command line for secrets.
//!
//! Refuses a value as an argument: other users of a machine see arguments.

use std::path::PathBuf;

use clap::Subcommand;

/// `secret`
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Set a secret; its value is read from standard input, or from a file
    #[command(after_help = "\
The value is kept byte for byte; of a line that is typed in, its end is no part. Nobody can read it
back. Attempts that begin from now on use the new version.

Examples:
  stepwell secret set billing-token < token.txt
  stepwell secret set deploy-key --file ~/.ssh/deploy
  pass show billing | tr -d '\\n' | stepwell secret set billing-token")]
    Set {
        /// Its name, by which manifests grant it and flows use it
        name: String,
        /// The file; - or none for standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List secrets: names, versions and dates
    #[command(after_help = "\
Examples:
  stepwell secret list")]
    List,
    /// Delete a secret with all its versions
    #[command(after_help = "\
Examples:
  stepwell secret delete billing-token")]
    Delete {
        /// Its name
        name: String,
    },
    /// Make a new master key, and seal all secrets with it
    #[command(after_help = "\
Examples:
  stepwell secret rotate-key")]
    RotateKey,
}
