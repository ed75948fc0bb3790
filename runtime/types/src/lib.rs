//! The nouns that cross more than one room: ids, time, data and the messages between doors.
//!
//! Refuses behaviour: nothing here decides, evaluates or stores.

pub mod child;
pub mod data;
pub mod id;
pub mod items;
pub mod limits;
pub mod message;
pub mod time;

pub use child::{ChildMode, ChildStart, ParentLink, Wants};
pub use data::Data;
pub use id::{Digest, EntryId, ExecutionId, FlowRef, ShardId, TaskToken};
pub use message::{
    BridgeCall, Failure, HttpCall, LogLevel, LogLine, Spent, StartRequest, StepOutcome,
    StepRequest, StepTarget,
};
pub use time::Timestamp;
