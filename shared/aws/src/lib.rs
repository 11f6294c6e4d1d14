//! The configuration of AWS SDK clients: credentials, HTTP client, trusted roots; and descriptions of their errors.
//!
//! The crate depends on no service, and does not read the environment: it gets variables from the caller.

mod error;
mod http_client;
mod sdk;

pub use error::describe;
pub use http_client::http_client;
pub use sdk::{CredentialRefresh, REJECTED_CREDENTIALS, sdk_config};
