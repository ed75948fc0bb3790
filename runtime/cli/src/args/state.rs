//! `state`: the command line for what steps keep.

use std::path::PathBuf;

use clap::Subcommand;

/// `state`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A namespace is called MODULE/NAME, or shared/NAME where modules share it.

Examples:
  stepwell state ls
  stepwell state ls billing/totals
  stepwell state get billing/totals orders
  stepwell state rm billing/totals orders")]
pub enum State {
    /// List namespaces with their sizes, or a namespace's keys
    Ls {
        /// Which
        namespace: Option<String>,
    },
    /// Write a key's value to standard output, or to a file
    Get {
        /// Which
        namespace: String,
        /// The key
        key: String,
        /// The file
        file: Option<PathBuf>,
    },
    /// Delete a key; a step under way that read it runs again
    Rm {
        /// Which
        namespace: String,
        /// The key
        key: String,
    },
    /// Delete all keys of a namespace
    Clear {
        /// Which
        namespace: String,
    },
}
