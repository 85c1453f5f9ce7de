//! The demo's parts that only a cluster of somebody else runs.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use connect_tests::demo::backends::DEPLOYMENTS;
use connect_tests::process::Process;
use connect_tests::scratch::Scratch;
use connect_tests::services::transfer::download;
use connect_tests::toolchain;
use connect_tests::wait::{PATIENTLY, eventually};
use serde_json::Value;

/// What the demo asks of its HTTP server, with the bytes that come.
const PATHS: [(&str, u64); 2] = [("/bytes/128", 128), ("/paced/128/2048", 128)];

/// Bytes of the files; the real ones are MiB.
const SIZE: usize = 128;

#[tokio::test]
async fn the_demo_s_nginx_starts_and_serves() -> Result<()> {
    let documents: Vec<Value> =
        DEPLOYMENTS.split("\n---\n").map(serde_saphyr::from_str).collect::<Result<_, _>>()?;
    let map = documents.iter().find(|it| it["kind"] == "ConfigMap").context("a ConfigMap")?;
    let site = map["data"]["default.conf"].as_str().context("its file")?;

    let scratch = Scratch::new("nginx")?;
    let folder = scratch.path().display().to_string();
    fs::write(scratch.path().join("128"), vec![7; SIZE])?;
    // A port that is free now; nginx cannot be asked for one of its choice.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let site =
        site.replace("listen 8080;", &format!("listen {address};")).replace("/data/", &format!("{folder}/"));
    ensure!(site.contains(&address.to_string()) && site.contains(&folder), "{site}");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .join(" ");
    let config = format!(
        "daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {temporary} {site} }}"
    );
    fs::write(scratch.path().join("nginx.conf"), config)?;

    let mut command = Command::new(toolchain::script_tool("nginx").await?);
    command.args(["-p", &folder, "-e", "stderr", "-c", &format!("{folder}/nginx.conf")]);
    let mut nginx = Process::start("nginx", command, scratch.path())?;
    for (path, bytes) in PATHS {
        let transfer = eventually("nginx serves", PATIENTLY, || {
            let running = nginx.must_run();
            async move {
                running?;
                let transfer = download(address, path, |_| {}).await?;
                transfer.checksum()?;
                Ok(transfer)
            }
        })
        .await?;
        ensure!(transfer.bytes == bytes, "{path}: {transfer:?}");
    }
    Ok(())
}
