//! A signal: named data that an execution is sent, and may wait for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Data, Digest, ExecutionId};

/// One signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// As an execution's name: 1 to [`crate::limits::NAME_BYTES_MAX`] bytes.
    pub name: Arc<str>,
    /// Valid JSON, at most [`crate::limits::SIGNAL_BYTES_MAX`].
    pub data: Data,
    /// The execution that sent it; `None`: somebody outside.
    pub sender: Option<ExecutionId>,
}

/// Whom a signal is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipient {
    /// The execution with this id.
    Execution(ExecutionId),
    /// The execution of this name.
    Named {
        /// Its flow.
        flow: Arc<str>,
        /// Its name.
        name: Arc<str>,
    },
}

/// A signal on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalSend {
    /// Whom for.
    pub to: Recipient,
    /// What.
    pub signal: Signal,
    /// Of the sender's key: what comes to an execution twice under one key is taken once.
    pub key: Option<Digest>,
}
