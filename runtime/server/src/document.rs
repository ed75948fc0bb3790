//! The OpenAPI document: what holds for many operations is said here once.
//!
//! Refuses to tell what a single route does: that stands beside its handler.

use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, Header, Object, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder, Type,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Stepwell",
        description = "Runs flows of steps. Keys are in snake_case, times are RFC 3339 in UTC. \
            Every answer has the header `x-request-id`. \
            Every refusal is problem+json with a stable `code`, but for what cannot be read as HTTP: \
            400, 414 and 431 (more than 100 headers, or a head above 64 KiB) without a body, \
            after which the connection ends.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "modules", description = "Uploaded Wasm components: what steps run"),
        (name = "flows", description = "Definitions, versions and their endpoints"),
        (name = "endpoints", description = "What flows are triggered by: paths of their own"),
        (name = "executions", description = "Runs of flows"),
        (name = "tasks", description = "Answers of outside programs, by task token"),
        (name = "objects", description = "Large data in buckets: what a distributed Map reads and writes"),
        (name = "state", description = "What steps keep in namespaces"),
        (name = "secrets", description = "Values that steps and calls use by name; they are never read back"),
        (name = "operations", description = "Health, metrics, usage")
    ),
    security(("token" = [])),
    paths(crate::routes::triggers::fire),
    components(schemas(crate::wire::problem::Problem))
)]
struct Document;

/// The path of all endpoints of flows.
const ENDPOINTS: &str = "/t/{path}";

/// What the document says before the routes are added.
pub(crate) fn begin() -> OpenApi {
    let mut document = Document::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "Needed for everything but health, readiness and the pages of errors, when the server has a token.",
        ))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(scheme));
    document
}

/// Adds to the routes' own words what holds for many of them.
pub(crate) fn complete(document: &mut OpenApi) {
    // The router's mark for "the rest of the path" means nothing in OpenAPI.
    let paths = std::mem::take(&mut document.paths.paths);
    let named = |(path, item): (String, _)| (path.replace("{*", "{"), item);
    document.paths.paths = paths.into_iter().map(named).collect();

    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let traits = Traits::of(path, method, operation);
            for refusal in REFUSALS.iter().filter(|r| (r.when)(&traits)) {
                refusal.add(operation);
            }
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response {
                    add_headers(status, response);
                }
            }
        }
        if path == ENDPOINTS {
            every_method(item);
        }
    }
    let components = document.components.get_or_insert_default();
    for refusal in REFUSALS.iter().filter(|r| r.is_alone()) {
        let mut response = refusal.response();
        add_headers(refusal.status, &mut response);
        let response = RefOr::T(response);
        components
            .responses
            .insert(refusal.code.to_owned(), response);
    }
}

/// What decides which refusals an operation shares.
struct Traits {
    /// It is of the API: it reads its query strictly.
    api: bool,
    /// Its path has parameters.
    named: bool,
    /// It needs the token.
    guarded: bool,
    /// It reads a body.
    body: bool,
    /// The body is held in memory, and not streamed to disk.
    held: bool,
    /// It asks the engine, which may be stopping.
    asks: bool,
}

impl Traits {
    fn of(path: &str, method: &str, operation: &Operation) -> Traits {
        let tags = operation.tags.as_deref().unwrap_or_default();
        let is = |tag: &str| tags.iter().any(|t| t == tag);
        let body = operation.request_body.is_some();
        let streamed = method == "put" && (is("modules") || is("objects"));
        Traits {
            api: path.starts_with("/v1/"),
            named: path.contains('{'),
            guarded: operation.security.is_none(),
            body,
            held: body && !streamed,
            asks: !is("objects") && (method != "get" || is("executions") || is("tasks")),
        }
    }
}

/// A refusal that many operations share.
struct Refusal {
    status: &'static str,
    code: &'static str,
    text: &'static str,
    when: fn(&Traits) -> bool,
}

/// By status; where a status has several, every operation lists its own.
const REFUSALS: [Refusal; 12] = [
    Refusal {
        status: "400",
        code: "API0004",
        text: "a query parameter is unknown, doubled or has a bad value",
        when: |t| t.api,
    },
    Refusal {
        status: "400",
        code: "API0007",
        text: "the body broke off",
        when: |t| t.body,
    },
    Refusal {
        status: "400",
        code: "API0104",
        text: "the path or the query is not percent-encoded UTF-8",
        when: |t| t.api || t.named,
    },
    Refusal {
        status: "401",
        code: "API0003",
        text: "the server has a token, and the request has none or another",
        when: |t| t.guarded,
    },
    Refusal {
        status: "403",
        code: "API0013",
        text: "the server has no token, and the request does not name this machine or comes from another web site",
        when: |t| t.guarded,
    },
    Refusal {
        status: "408",
        code: "API0014",
        text: "the body came too slowly",
        when: |t| t.body,
    },
    Refusal {
        status: "413",
        code: "API0006",
        text: "the body is too large",
        when: |t| t.body,
    },
    Refusal {
        status: "415",
        code: "API0021",
        text: "the body is packed",
        when: |t| t.body,
    },
    Refusal {
        status: "500",
        code: "API0009",
        text: "the server failed, as with any other code of this status; its log has the details under the request's id",
        when: |_| true,
    },
    Refusal {
        status: "503",
        code: "RUN0007",
        text: "the server is stopping",
        when: |t| t.asks,
    },
    Refusal {
        status: "503",
        code: "API0018",
        text: "as many large bodies are on their way as may be",
        when: |t| t.held,
    },
    Refusal {
        status: "503",
        code: "API0020",
        text: "as many large answers wait for their readers as may",
        when: |t| t.asks,
    },
];

impl Refusal {
    /// Whether no other of these has its status.
    fn is_alone(&self) -> bool {
        let same = REFUSALS.iter().filter(|r| r.status == self.status);
        same.count() == 1
    }

    fn words(&self) -> String {
        format!("`{}`: {}", self.code, self.text)
    }

    fn response(&self) -> Response {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        ResponseBuilder::new()
            .description(self.words())
            .content("application/problem+json", problem)
            .build()
    }

    /// Adds it to what an operation says itself of this status.
    fn add(&self, operation: &mut Operation) {
        let responses = &mut operation.responses.responses;
        match responses.get_mut(self.status) {
            Some(RefOr::T(own)) if !own.description.contains(self.code) => {
                own.description = format!("{}; {}", own.description, self.words());
            }
            Some(_) => {}
            None => {
                let response = match self.is_alone() {
                    true => RefOr::Ref(Ref::from_response_name(self.code)),
                    false => RefOr::T(self.response()),
                };
                responses.insert(self.status.to_owned(), response);
            }
        }
    }
}

/// The headers that come with a status, whatever the operation.
fn add_headers(status: &str, response: &mut Response) {
    let (name, header) = match status {
        "401" => ("WWW-Authenticate", header(Type::String, "`Bearer`")),
        "415" => ("Accept-Encoding", header(Type::String, "`identity`")),
        "429" | "503" => (
            "Retry-After",
            header(Type::Integer, "Seconds after which another try makes sense"),
        ),
        _ => return,
    };
    response.headers.insert(name.to_owned(), RefOr::T(header));
}

fn header(kind: Type, text: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(Object::with_type(kind)))
        .description(Some(text))
        .build()
}

/// A flow's endpoint has the methods that its flow gives it: each is an operation.
fn every_method(item: &mut PathItem) {
    let Some(post) = item.post.clone() else {
        return;
    };
    let by = |method: &str, body: bool| {
        let mut operation = post.clone();
        operation.operation_id = Some(format!("fire_endpoint_by_{method}"));
        if !body {
            operation.request_body = None;
        }
        Some(operation)
    };
    item.get = by("get", false);
    item.put = by("put", true);
    item.delete = by("delete", false);
    item.patch = by("patch", true);
}

/// The operations of a path, with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
