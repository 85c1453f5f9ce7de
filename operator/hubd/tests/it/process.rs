//! The binary: keys, addresses, signals, and what a kill leaves behind.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use connect_hubd::Limits;
use serde_json::{Value, json};

use crate::support::{Agent, KEY, TestHub, bridge, http, start};

/// A hub's process. Killed when dropped.
pub struct Process {
    child: Child,
    pub url: String,
}

impl Process {
    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn serve(data: &Path, extra: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_connect-hubd"))
            .args(["serve", "--listen", "127.0.0.1:0", "--print-addresses", "--data"])
            .arg(data)
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("prints its address");
        let addresses: Value = serde_json::from_str(&line).expect("JSON");
        Self { child, url: addresses["hub"].as_str().expect("a URL").to_owned() }
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("runs");
        assert!(sent.success());
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn key(data: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_connect-hubd"))
        .arg("key")
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .expect("runs");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_answered() {
    let data = tempfile::tempdir().expect("a folder");
    let (made, printed) = key(data.path(), &["create", "--workspace", "team", "--name", "ci"]);
    assert!(made);
    let api_key = printed.trim().to_owned();
    assert!(api_key.starts_with("pc_") && api_key.len() == 51);

    let mut process = Process::serve(data.path(), &[]);
    let post = async |path: &str, agent: Option<&str>, body: Value| {
        let mut request =
            http().post(format!("{}{path}", process.url)).header("content-type", "application/json");
        if let Some(agent) = agent {
            request = request.header("x-api-key", &api_key).header("x-agent-id", agent);
        }
        let response = request.body(body.to_string()).send().await.expect("an answer");
        assert_eq!(response.status(), 201, "{path}");
        serde_json::from_str::<Value>(&response.text().await.expect("a body")).expect("JSON")
    };
    let maker = Agent { id: uuid::Uuid::new_v4(), token: "t".repeat(64), key: KEY };
    let id = maker.id.to_string();
    post("/v1/agents/register", Some(&id), json!({"agentId": id, "token": maker.token})).await;
    let service = json!({"agentId": id, "name": "db", "targetHost": "h", "targetPort": 1, "reach": "shared"});
    let service = post("/v1/services/register", Some(&id), service).await["service"]["id"].clone();
    let route = json!([{"serviceName": "db", "serviceId": service, "targetHost": "h", "targetPort": 1}]);
    let share = post("/v1/env-shares", Some(&id), json!({"routes": route})).await["share"].clone();
    let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
    let guest = post(&format!("{path}/join"), None, json!({})).await["agent"].clone();
    assert_eq!(process.signal("-KILL"), None, "killed, not ended");

    let hub = TestHub::over(data, Limits::default()).await;
    assert_eq!(hub.ask("GET", &path, &[], None).await.body["routeCount"], 1);
    let listed =
        hub.ask("GET", "/v1/env-shares", &[("x-api-key", &api_key), ("x-agent-id", &id)], None).await.body;
    assert_eq!(
        (&listed["shares"][0]["code"], &listed["shares"][0]["joinCount"]),
        (&share["code"], &json!(1))
    );
    let guest = Agent {
        id: guest["agentId"].as_str().expect("an id").parse().expect("a UUID"),
        token: guest["token"].as_str().expect("a token").to_owned(),
        key: "",
    };
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&guest).await);
    bridge(&mut joiner, &mut exposer, service.as_str().expect("an id").parse().expect("a UUID")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_revoked_while_the_hub_runs_and_it_stops_when_told() {
    let data = tempfile::tempdir().expect("a folder");
    let (_, printed) = key(data.path(), &["create", "--workspace", "team"]);
    let api_key = printed.trim();
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::serve(data.path(), &["--log", "debug", "--log-format", "json"]);
        let status = async || {
            let request = http().get(format!("{}/v1/workspace", process.url)).header("x-api-key", api_key);
            request.send().await.expect("an answer").status().as_u16()
        };
        let (_, listed) = key(data.path(), &["list"]);
        assert!(listed.contains(&api_key[..11]) && !listed.contains(&api_key[..12]), "{listed}");
        if signal == "-TERM" {
            assert_eq!(status().await, 200);
            assert!(key(data.path(), &["revoke", &api_key[..11]]).0);
            assert!(!key(data.path(), &["revoke", &api_key[..11]]).0, "there is none left");
        }
        assert_eq!(status().await, 401);
        assert_eq!(process.signal(signal), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_hub_speaks_tls_alone() {
    let _ = http(); // installs the provider
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("makes a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("writes");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
    let (certificate, key) = (certificate.to_str().expect("text"), key.to_str().expect("text"));
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("makes a folder");
    let process = Process::serve(&data, &["--tls-cert", certificate, "--tls-key", key]);
    let port = process.url.strip_prefix("https://127.0.0.1:").expect("an https URL");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("adds");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client =
        reqwest::Client::builder().no_proxy().tls_backend_preconfigured(config).build().expect("a client");
    let health = client.get(format!("https://localhost:{port}/health")).send().await.expect("an answer");
    assert_eq!(health.status(), 200);
    let plain = http().get(format!("http://localhost:{port}/health")).send().await;
    assert!(plain.is_err(), "nothing is said in clear");

    let output = Command::new(env!("CARGO_BIN_EXE_connect-hubd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--tls-cert", "/no/such/file", "--tls-key", key, "--data"])
        .arg(folder.path())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("preparing TLS: reading /no/such/file"));
}

#[test]
fn a_typing_error_in_the_folder_begins_no_hub() {
    let root = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], data: &Path| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_connect-hubd")).args(arguments).arg("--data").arg(data).output();
        let output = command.expect("runs");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (missing, other) = (root.path().join("typo"), root.path().join("other"));
    std::fs::create_dir(&other).expect("makes a folder");
    std::fs::write(other.join("letter.txt"), "dear hub").expect("writes");
    let serve: &[&str] = &["serve", "--listen", "127.0.0.1:0"];
    let create: &[&str] = &["key", "create", "--workspace", "team"];
    for arguments in [serve, create, &["key", "list"], &["key", "revoke", "pc_01234567"]] {
        for (data, why) in [(&missing, "does not exist"), (&other, "holds other files, but no hub")] {
            let (code, said) = run(arguments, data);
            assert_eq!(code, Some(1), "{arguments:?} {}", data.display());
            let line = said.lines().last().unwrap_or_default();
            assert!(line.contains(why) && line.contains("connect-hubd init"), "{said}");
            assert!(line.contains(&data.display().to_string()), "{said}");
        }
    }
    assert!(
        !missing.exists() && std::fs::read_dir(&other).expect("readable").count() == 1,
        "nothing was made"
    );
    // On purpose it is made, and then it is a hub like any other.
    for data in [&missing, &other] {
        assert_eq!(run(&["init"], data).0, Some(0));
        assert_eq!(run(&["init"], data).0, Some(0), "and again");
        assert_eq!(run(create, data).0, Some(0));
        assert_eq!(run(&["key", "list"], data).0, Some(0));
    }
    // A new volume has an owner, and nothing in it.
    let volume = root.path().join("volume");
    std::fs::create_dir_all(volume.join("lost+found")).expect("makes a folder");
    let mut process = Process::serve(&volume, &["--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(process.signal("-TERM"), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_in_the_database_in_clear() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let share = hub.share(&agent, &[], json!({"expiresAt": "2999-01-01T00:00:00Z"})).await;
    let guest = hub.join_as_guest(&share["code"]).await;
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(hub.data.path()).expect("readable") {
        bytes.extend(std::fs::read(entry.expect("readable").path()).expect("readable"));
    }
    let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(holds(&agent.id.to_string()), "this is the database");
    for secret in [KEY, &agent.token, &guest.token] {
        assert!(!holds(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_said_so() {
    let (first, data) = (TestHub::start().await, tempfile::tempdir().expect("a folder"));
    let output = Command::new(env!("CARGO_BIN_EXE_connect-hubd"))
        .args(["serve", "--listen", &first.hub.address().to_string(), "--data"])
        .arg(data.path())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains(&format!("error: listening on {}", first.hub.address())), "{said}");
    let hub = start(data.path(), Limits::default(), None).await;
    hub.stop().await;
}
