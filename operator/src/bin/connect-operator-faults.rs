//! The operator's process with fail points, for tests. Under another name, so that nobody takes one for the other.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    connect_operator::process::main().await
}
