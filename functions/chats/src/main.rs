//! Runs [`chats`] as a Lambda function.

use std::process::ExitCode;

fn main() -> ExitCode {
    api::serve(chats::router)
}
