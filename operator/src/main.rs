//! The operator's process.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    connect_operator::process::main().await
}
