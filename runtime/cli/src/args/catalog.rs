//! `module` and `flow`: the command line for what is published.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Filling;

/// `module`
#[derive(Debug, Subcommand)]
pub enum Module {
    /// Upload a component; other bytes, or other grants, under a known name become its next version
    #[command(after_help = "\
Examples:
  stepwell module push resize resize.wasm
  stepwell module push invoice invoice.wasm --grants grants.toml

grants.toml says what the module may reach; without one it reaches what the version before
may, and nothing at first:
  [[http]]
  host = \"api.example.com\"     # or \"*.example.com\", or \"*\" for every public place
  ports = [443]                # 443 when absent
  methods = [\"GET\", \"POST\"]  # every method when absent")]
    Push {
        /// The name that flows use
        name: String,
        /// The `.wasm`
        file: PathBuf,
        /// What it may reach.
        #[command(flatten)]
        grants: Grants,
    },
    /// List modules
    #[command(after_help = "\
Examples:
  stepwell module list
  stepwell module list --json | jq -r '.modules[].name'")]
    List,
    /// Show a module: digest, imports and what it may reach through them, exports, who uses it
    #[command(
        visible_alias = "inspect",
        after_help = "\
Examples:
  stepwell module describe resize
  stepwell module describe resize --version 2"
    )]
    Describe {
        /// Its name
        name: String,
        /// The newest when absent
        #[arg(long)]
        version: Option<u32>,
    },
    /// Delete a module that no flow uses
    #[command(after_help = "\
All its versions go. While a flow uses it the server refuses, and names the flows.

Examples:
  stepwell module delete resize")]
    Delete {
        /// Its name
        name: String,
    },
}

/// `flow`
#[derive(Debug, Subcommand)]
pub enum Flow {
    /// Publish a version of a flow
    #[command(after_help = "\
Examples:
  stepwell flow publish orders flow.yaml
  stepwell flow publish orders flow.yaml --trigger 'POST /orders' --trigger 'GET /orders/{id}'
  stepwell flow publish orders flow.yaml --trigger 'async POST /orders'
  stepwell flow publish orders flow.yaml --set Table=orders --resources bindings.toml

Endpoints are below /t, e.g. POST /t/orders. Without --trigger the flow keeps those it has;
--trigger '' removes them.")]
    Publish {
        /// Its name
        name: String,
        /// The definition, JSON or YAML; - for standard input
        file: PathBuf,
        /// Fills in and binds; both are kept with the version.
        #[command(flatten)]
        filling: Filling,
        /// An endpoint: 'METHOD /path', or 'async METHOD /path' to answer 202 at once
        #[arg(long, value_name = "ENDPOINT")]
        trigger: Vec<String>,
        /// standard, or express: short executions kept in memory
        #[arg(long, value_name = "TYPE", value_parser = ["standard", "express"])]
        r#type: Option<String>,
        /// Which histories of express executions are kept
        #[arg(long, value_name = "WHICH", value_parser = ["none", "errors", "all"], requires = "type")]
        history: Option<String>,
        /// What its Task resources may reach.
        #[command(flatten)]
        grants: Grants,
    },
    /// List flows
    #[command(after_help = "\
Examples:
  stepwell flow list
  stepwell flow list --json | jq -r '.flows[].name'")]
    List,
    /// Show a flow with its definition
    #[command(after_help = "\
Examples:
  stepwell flow describe orders
  stepwell flow describe orders --version 3")]
    Describe {
        /// Its name
        name: String,
        /// The newest when absent
        #[arg(long)]
        version: Option<u32>,
    },
    /// List all versions of a flow
    #[command(after_help = "\
Examples:
  stepwell flow versions orders")]
    Versions {
        /// Its name
        name: String,
    },
    /// Delete a flow of which nothing runs; its executions stay
    #[command(after_help = "\
Refused while an execution of it runs, while it has an endpoint, and while another flow starts it.

Examples:
  stepwell flow publish orders flow.yaml --trigger ''
  stepwell flow delete orders")]
    Delete {
        /// Its name
        name: String,
    },
}

/// A manifest.
#[derive(Debug, Args)]
pub struct Grants {
    /// A TOML or JSON file that says what it may reach [default: as the version before; nothing at first]
    #[arg(long, value_name = "FILE")]
    pub grants: Option<PathBuf>,
    /// It may reach further than the version before
    #[arg(long, requires = "grants")]
    pub confirm_grants: bool,
}
