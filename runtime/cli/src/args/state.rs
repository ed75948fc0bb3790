//! `state`: the command line for what steps keep.

use std::path::PathBuf;

use clap::Subcommand;

/// `state`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A namespace is called MODULE/NAME, or shared/NAME where modules share it.")]
pub enum State {
    /// List namespaces with their sizes, or a namespace's keys
    #[command(after_help = "\
Examples:
  stepwell state ls
  stepwell state ls billing/totals
  stepwell state ls shared/rates")]
    Ls {
        /// Which
        namespace: Option<String>,
    },
    /// Write a key's value to standard output, or to a file
    #[command(after_help = "\
Examples:
  stepwell state get billing/totals orders
  stepwell state get billing/totals orders orders.bin")]
    Get {
        /// Which
        namespace: String,
        /// The key
        key: String,
        /// The file
        file: Option<PathBuf>,
    },
    /// Delete a key; a step under way that read it runs again
    #[command(after_help = "\
Examples:
  stepwell state rm billing/totals orders")]
    Rm {
        /// Which
        namespace: String,
        /// The key
        key: String,
    },
    /// Delete all keys of a namespace
    #[command(after_help = "\
Examples:
  stepwell state clear billing/totals")]
    Clear {
        /// Which
        namespace: String,
    },
}
