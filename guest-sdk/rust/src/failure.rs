//! How a step fails: a name that flows match, and a cause for people.

/// A step's failure.
///
/// It is not itself an `Error`, so that `?` can turn every error into one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The name that a flow's `Retry` and `Catch` match, such as `Order.NotFound`.
    /// At most 256 characters; `States.` belongs to the flow language.
    pub error: String,
    /// What a person needs to know. At most 32,768 characters; longer ones are cut.
    pub cause: String,
}

impl Failure {
    /// A failure with this name and cause.
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Failure {
        Failure {
            error: error.into(),
            cause: cause.into(),
        }
    }

    /// The failure that a host told as `NAME: CAUSE`.
    #[cfg(any(
        feature = "blobs",
        feature = "container",
        feature = "execution",
        feature = "machine"
    ))]
    pub(crate) fn told(text: &str) -> Failure {
        let (error, cause) = text.split_once(": ").unwrap_or((text, ""));
        Failure::new(error, cause)
    }

    pub(crate) fn into_guest(self) -> crate::bindings::exports::stepwell::step::handler::Failure {
        crate::bindings::exports::stepwell::step::handler::Failure {
            error: self.error,
            cause: self.cause,
        }
    }
}

/// `Step.Failed`, with the error and its sources as cause.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(at) = source {
            cause.push_str(": ");
            cause.push_str(&at.to_string());
            source = at.source();
        }
        Failure::new("Step.Failed", cause)
    }
}
