//! The nouns that cross more than one room: ids, time, data and the messages between doors.
//!
//! Refuses behaviour: nothing here decides, evaluates or stores.

pub mod call;
pub mod child;
pub mod data;
pub mod effects;
pub mod grants;
pub mod id;
pub mod items;
pub mod journal;
pub mod limits;
pub mod message;
pub mod secret;
pub mod signal;
pub mod target;
pub mod time;

pub use call::{ContainerCall, FileIn, FilesOut, MachineCall, OutputForm, ProgramCall, Pull};
pub use child::{ChildMode, ChildStart, ParentLink, Wants};
pub use data::Data;
pub use effects::{Effects, Growth, Held, Hold, KeyValueWrite, ObjectWrite};
pub use grants::{BucketGrant, Granted, Grants, HttpGrant, KeyValueGrant, image_fits};
pub use id::{Digest, EntryId, ExecutionId, FlowRef, ShardId, TaskToken};
pub use journal::{AttemptId, BridgeAnswer, BridgeCall, Recorded, RecordedCall};
pub use message::{
    Authentication, Failure, HttpCall, LogLevel, LogLine, Spent, StartRequest, StepOutcome,
    StepRequest, StepTarget,
};
pub use secret::Secret;
pub use signal::{Recipient, Signal, SignalSend};
pub use target::{Circuit, TargetKind, TargetName, TargetStatus, WaitReason, Waiting};
pub use time::Timestamp;
