//! Components as text, for behaviours that no Rust guest has.

/// Assembles a component.
pub fn compile(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A whole step whose core module `$main` has these lines, memory and `run` to be defined by
/// them; `outside` stands before it in the component, `with` are its core imports.
///
/// `run` gets 15 core parameters (context, then input pointer and length as the last
/// two) and returns the address of the result: a tag, then pointer and length.
pub fn step(outside: &str, with: &str, core: &str) -> String {
    format!(
        r#"(component
  {outside}
  (core module $main
    {core}
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))))
  (core instance $i (instantiate $main {with}))
  (type $context (record (field "execution-id" string) (field "execution-name" string)
    (field "flow" string) (field "state" string) (field "attempt" u32)
    (field "idempotency-key" string) (field "deadline-ms" (option u64))))
  (type $failure (record (field "error" string) (field "cause" string)))
  (func $run (param "ctx" $context) (param "input" string) (result (result string (error $failure)))
    (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (component $shim
    (type $c (record (field "execution-id" string) (field "execution-name" string)
      (field "flow" string) (field "state" string) (field "attempt" u32)
      (field "idempotency-key" string) (field "deadline-ms" (option u64))))
    (import "c" (type $cc (eq $c)))
    (type $f (record (field "error" string) (field "cause" string)))
    (import "f" (type $ff (eq $f)))
    (import "run" (func $run (param "ctx" $cc) (param "input" string) (result (result string (error $ff)))))
    (export $ce "context" (type $cc))
    (export $fe "failure" (type $ff))
    (export "run" (func $run) (func (param "ctx" $ce) (param "input" string) (result (result string (error $fe))))))
  (instance $handler (instantiate $shim (with "c" (type $context)) (with "f" (type $failure)) (with "run" (func $run))))
  (export "stepwell:step/handler@1.0.0" (instance $handler)))"#
    )
}

const PARAMS: &str =
    "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)";

/// An echo with something of its own beside it.
pub fn with_import(outside: &str) -> String {
    step(
        outside,
        "",
        &format!(r#"(memory (export "memory") 2) {}"#, echo()),
    )
}

/// `run` that gives back its input.
pub fn echo() -> String {
    run("", "")
}

/// `run` that does `work` and then gives back its input.
pub fn run(locals: &str, work: &str) -> String {
    format!(
        r#"(func (export "run") {PARAMS} {locals}
      {work}
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get 13))
      (i32.store (i32.const 24) (local.get 14))
      (i32.const 16))"#
    )
}

/// `run` that gives back the text at address 1024 of the length that `work` leaves.
pub fn answer(locals: &str, work: &str) -> String {
    format!(
        r#"(func (export "run") {PARAMS} {locals}
      (i32.store (i32.const 24) {work})
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 1024))
      (i32.const 16))"#
    )
}
