//! Write Stepwell steps in Rust: typed JSON in, typed JSON or a named failure out.
//!
//! ```
//! fn greet(_: &stepwell_guest::Context, name: String) -> Result<String, stepwell_guest::Failure> {
//!     Ok(format!("Hello, {name}"))
//! }
//! stepwell_guest::step!(greet);
//! ```
//!
//! Refuses to know anything of the host but `wit/`.

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod allocator;
#[cfg(feature = "blobs")]
pub mod blobs;
#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "container")]
pub mod container;
#[cfg(feature = "execution")]
pub mod execution;
mod failure;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "keyvalue")]
pub mod keyvalue;
mod log;
#[cfg(feature = "machine")]
pub mod machine;
#[cfg(feature = "secrets")]
pub mod secrets;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use bindings::exports::stepwell::step::handler::Context;
pub use failure::Failure;
pub use log::{Level, log};

#[doc(hidden)]
#[allow(missing_docs, clippy::all, reason = "generated from wit/")]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["wit/log@1.0.0", "wit/step@1.0.0"],
        world: "stepwell:step/step@1.0.0",
        pub_export_macro: true,
        default_bindings_module: "stepwell_guest::bindings",
        generate_all,
    });
}

impl Context {
    /// A context for native tests of a handler: first attempt, fixed names.
    #[must_use]
    pub fn for_test() -> Context {
        Context {
            execution_id: "00000000000000000000000000".into(),
            execution_name: "test".into(),
            flow: "test".into(),
            state: "Test".into(),
            attempt: 0,
            idempotency_key: "test-1-0".into(),
            deadline_ms: None,
        }
    }
}

/// Makes `fn(&Context, I) -> Result<O, Failure>` the component's step.
///
/// `I` is any type that serde reads, `O` any that it writes. Once per crate.
#[macro_export]
macro_rules! step {
    ($handler:path) => {
        const _: () = {
            struct Step;
            impl $crate::bindings::exports::stepwell::step::handler::Guest for Step {
                fn run(
                    ctx: $crate::Context,
                    input: String,
                ) -> Result<String, $crate::bindings::exports::stepwell::step::handler::Failure>
                {
                    $crate::run_typed(&ctx, &input, $handler)
                }
            }
    $crate::bindings::export!(Step with_types_in $crate::bindings);
        };
    };
}

/// Makes `fn(&Context, String) -> Result<String, Failure>`, JSON text to JSON text, the component's step.
#[macro_export]
macro_rules! step_text {
    ($handler:path) => {
        const _: () = {
            struct Step;
            impl $crate::bindings::exports::stepwell::step::handler::Guest for Step {
                fn run(
                    ctx: $crate::Context,
                    input: String,
                ) -> Result<String, $crate::bindings::exports::stepwell::step::handler::Failure>
                {
                    $crate::run_text(&ctx, input, $handler)
                }
            }
    $crate::bindings::export!(Step with_types_in $crate::bindings);
        };
    };
}

type Answer = Result<String, bindings::exports::stepwell::step::handler::Failure>;

#[doc(hidden)]
pub fn run_typed<I: DeserializeOwned, O: Serialize>(
    ctx: &Context,
    input: &str,
    handler: impl FnOnce(&Context, I) -> Result<O, Failure>,
) -> Answer {
    log::panics();
    let answer = || {
        let input = serde_json::from_str(input)
            .map_err(|e| Failure::new("Step.InvalidInput", e.to_string()))?;
        let output = handler(ctx, input)?;
        serde_json::to_string(&output)
            .map_err(|e| Failure::new("Step.InvalidOutput", e.to_string()))
    };
    answer().map_err(Failure::into_guest)
}

#[doc(hidden)]
pub fn run_text(
    ctx: &Context,
    input: String,
    handler: impl FnOnce(&Context, String) -> Result<String, Failure>,
) -> Answer {
    log::panics();
    handler(ctx, input).map_err(Failure::into_guest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Input {
        n: u32,
    }

    fn double(_: &Context, input: Input) -> Result<u32, Failure> {
        if input.n == 13 {
            return Err(Failure::new("Test.Unlucky", "13"));
        }
        let text = format!("{}", input.n);
        let n: u8 = text.parse()?;
        Ok(u32::from(n) * 2)
    }

    fn check(input: &str, expected: Result<&str, &str>) {
        let answer = run_typed(&Context::for_test(), input, double);
        let answer = answer.as_deref().map_err(|f| f.error.as_str());
        assert_eq!(answer, expected, "{input}");
    }

    #[test]
    fn a_typed_handler_answers_or_fails_by_name() {
        check("{\"n\":21}", Ok("42"));
        check("{\"n\":13}", Err("Test.Unlucky"));
        check("{\"n\":300}", Err("Step.Failed"));
        check("{\"n\":\"x\"}", Err("Step.InvalidInput"));
        check("{", Err("Step.InvalidInput"));
    }
}
