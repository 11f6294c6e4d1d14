//! The local stack's program; `--help` says what it does.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    local::Cli::parse().run().await
}
