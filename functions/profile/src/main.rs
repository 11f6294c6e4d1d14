//! Runs [`profile`] as a Lambda function.

use std::process::ExitCode;

fn main() -> ExitCode {
    api::serve(profile::router)
}
