//! From a decoded request to its handler and back. The connection stands before it, one handler file per API behind it.
//! One table says which APIs and versions exist: what ApiVersions advertises and what is routed cannot differ.

mod apis;
mod outcome;
mod route;

pub use apis::{APIS, Api, find as find_api};
pub use outcome::{
    Chunk, Closing, ConnectionEvent, FileRange, Outcome, RequestContext, RequestSample, Service,
};
