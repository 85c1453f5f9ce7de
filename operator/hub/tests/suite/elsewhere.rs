//! The exposing side as a process of its own, to be frozen or weighed.

use std::io::BufRead;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use connect_hub::identity::Identity;
use connect_hub::tunnel::{Limits, Memory, Route, Routes, ShareKey, SystemClock, Tunnel, TunnelConfig};
use jiff::{Timestamp, ToSpan};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::support::{fixed, tls, url};

/// What the process is told: hub, service id, target and bytes of memory.
const INSTRUCTIONS: [&str; 4] =
    ["ELSEWHERE_HUB", "ELSEWHERE_SERVICE", "ELSEWHERE_TARGET", "ELSEWHERE_MEMORY"];

fn share() -> ShareKey {
    ShareKey("elsewhere".into())
}

/// Not a test: what [`start`] starts. Its share lives for an hour, or ends when a line of its input says.
#[tokio::test]
#[ignore = "a part of other tests"]
async fn exposing_process() {
    let told = INSTRUCTIONS.map(|name| std::env::var(name).ok());
    let [Some(hub), Some(service), Some(target), Some(memory)] = told else { return }; // somebody runs all ignored tests
    let target: SocketAddr = target.parse().expect("an address");
    let routes = Routes::new(Arc::new(SystemClock));
    routes.set_end(&share(), Timestamp::now() + 1.hour());
    let (name, protocol, targets) = ("api".into(), "tcp".into(), vec![target]);
    let route = Route { share: Some(share()), name, tunnel_port: None, protocol, targets };
    routes.set(service.parse().expect("an id"), route);
    let memory = Memory::new(memory.parse().expect("a number"));
    let config = TunnelConfig { url: url(&hub), tls: tls(), limits: Limits::default(), memory };
    let _tunnel = Tunnel::start(config, fixed(Identity::generate()), routes.clone());
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            routes.set_end(&share(), line.expect("read").parse().expect("an instant"));
            println!("set");
        }
    })
    .await
    .expect("told");
}

/// Starts the process; it goes with the value.
pub fn start(hub: &str, service_id: Uuid, target: SocketAddr, memory: &Memory) -> Child {
    let values = [hub.to_owned(), service_id.to_string(), target.to_string(), memory.bytes().to_string()];
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "elsewhere::exposing_process", "--ignored", "--nocapture"])
        .envs(INSTRUCTIONS.into_iter().zip(values))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("another process")
}

/// The most memory that the process has had so far, in bytes, as the kernel counts it.
pub fn most_memory(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().expect("it runs")));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
