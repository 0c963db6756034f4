//! HTTP/1.1 (RFC 9112) over threads: a connection has one, and there are never more than so many.
//!
//! What is served here takes milliseconds to minutes of all processors, so that thousands of connections would only wait. A request
//! is read whole, within limits of size and time, before anybody looks at it.

mod connection;
mod listener;
pub mod multipart;
mod reply;
mod request;

pub use connection::{Client, Permit, Service};
pub use listener::Listener;
pub use reply::{Body, Reply};
pub use request::{Request, Trouble, Wire};
