//! `object`: the command line for objects in buckets.

use std::path::PathBuf;

use clap::Subcommand;

/// `object`
#[derive(Debug, Subcommand)]
pub enum Object {
    /// Upload a file; one that is there under this key is replaced
    #[command(after_help = "\
Examples:
  stepwell object put data/orders/monday.csv orders.csv")]
    Put {
        /// Where to
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
        /// The file
        file: PathBuf,
    },
    /// Write an object to standard output, or to a file
    #[command(after_help = "\
Examples:
  stepwell object get data/orders/monday.csv monday.csv
  stepwell object get data/orders/monday.csv | head")]
    Get {
        /// Which
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
        /// The file
        file: Option<PathBuf>,
    },
    /// List objects by prefix; without one the buckets
    #[command(after_help = "\
Examples:
  stepwell object ls
  stepwell object ls data
  stepwell object ls data/orders/")]
    Ls {
        /// What their keys begin with
        #[arg(value_name = "BUCKET[/PREFIX]")]
        prefix: Option<String>,
    },
    /// Delete an object
    #[command(after_help = "\
Examples:
  stepwell object rm data/orders/monday.csv")]
    Rm {
        /// Which
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
    },
}
