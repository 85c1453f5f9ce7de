//! Secrets that cannot be written: what status, Events and the plugin say, and that no share stays open at the hub under a code
//! that nobody has. Every kind of refusal is the API server's own, at a share's beginning, at a new code, and at a change.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{self, kind, reason};
use connect_crds::{EnvironmentShare, ROTATE_ANNOTATION};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::recording_proxy::RecordingProxy;
use connect_tests::vendor_hub::VendorHub;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::World;

/// Longest name that a share can have.
const LONG: usize = 253;

/// A policy that denies in the namespace what `expression` does not allow of what `rule` is about, with these words.
fn denying(world: &World, name: &str, rule: &Value, expression: &str, words: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": expression, "message": words}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace.name()}}}}}]})
}

/// A policy of the cluster, gone when this is dropped.
struct Policy<'a> {
    world: &'a World,
    name: String,
}

impl<'a> Policy<'a> {
    /// Denies what `allowed`, a CEL expression, does not allow of the Secrets of share codes, and waits until it does.
    async fn start(world: &'a World, name: &str, allowed: &str) -> Result<Self> {
        let name = format!("{}-{name}", world.namespace.name());
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]});
        let expression = format!(
            "(object.type != 'connect.privateconnect.co/share-code' && object.metadata.name != 'probe') || ({allowed})"
        );
        let policy = denying(world, &name, &rule, &expression, "no codes here");
        world.cluster.kubectl().apply(&policy.to_string()).await?;
        let policy = Self { world, name };
        eventually("the policy is in force", SOON, || async {
            let made = world.kubectl.run(["create", "secret", "generic", "probe"]).await?;
            if made.code == Some(0) {
                world.kubectl.run(["delete", "secret", "probe"]).await?.success()?;
            }
            made.fails_with(1)
        })
        .await?;
        Ok(policy)
    }

    async fn end(self) -> Result<()> {
        let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        self.world.cluster.kubectl().run(["delete", kinds, &self.name]).await?.success()?;
        Ok(())
    }
}

/// A world whose calls to its hub are seen.
async fn tapped(purpose: &str) -> Result<(World, Hub, RecordingProxy)> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder(purpose)?, &cluster.logs()).await?;
    let proxy = RecordingProxy::start(hub.url()).await?;
    let world = World::at_hub(purpose, proxy.url(), hub.key_file()).await?;
    Ok((world, hub, proxy))
}

/// How often a share was opened at the hub, and closed.
fn opened_and_closed(proxy: &RecordingProxy) -> (usize, usize) {
    let requests = proxy.requests();
    let count = |wanted: &str| requests.iter().filter(|request| *request == wanted).count();
    (count("POST /v1/env-shares"), count("DELETE /v1/env-shares/:id"))
}

/// A share says that its Secret cannot be written, with these words, and that nobody can join.
async fn says_so(world: &World, name: &str, words: &str) -> Result<EnvironmentShare> {
    world.share_says(name, kind::READY, "False", reason::SECRET_NOT_WRITABLE).await?;
    let share = world.share_says(name, kind::ACTIVE, "False", reason::SECRET_NOT_WRITABLE).await?;
    let status = share.status.clone().unwrap_or_default();
    ensure!(status.code_secret_name.is_none(), "{name} names a Secret: {status:?}");
    let stalled = condition::find(&status.conditions, kind::STALLED).context("a human is needed")?;
    ensure!(stalled.reason == reason::SECRET_NOT_WRITABLE, "{stalled:?}");
    ensure!(stalled.message.contains(words), "{name}: {words:?} is not in {:?}", stalled.message);
    Ok(share)
}

fn made(kind: &str, name: &str, more: &Value) -> String {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    object
        .as_object_mut()
        .into_iter()
        .for_each(|it| it.extend(more.as_object().cloned().unwrap_or_default()));
    object.to_string()
}

#[tokio::test]
async fn at_the_beginning_every_refusal_is_said_and_nothing_is_open_at_the_hub() -> Result<()> {
    let (world, _hub, proxy) = tapped("unwritable").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("first", json!({})).await?;
    world.share_says("first", kind::READY, "True", reason::SHARED).await?;
    let before = opened_and_closed(&proxy);

    world.kubectl.apply(&made("Secret", "taken-share-code", &json!({"stringData": {"mine": "1"}}))).await?;
    let code = json!({"type": "connect.privateconnect.co/share-code", "stringData": {"code": "abcdefghjk"}});
    world.kubectl.apply(&made("Secret", "alike-share-code", &code)).await?;
    let fixed = json!({"immutable": true, "stringData": {"mine": "1"}});
    world.kubectl.apply(&made("Secret", "fixed-share-code", &fixed)).await?;
    let policy = Policy::start(
        &world,
        "new",
        "!object.metadata.name.startsWith('denied') && object.metadata.name != 'probe'",
    );
    let policy = policy.await?;
    let long = "x".repeat(LONG);
    let mut rows = vec![
        ("taken", json!({}), "Secret taken-share-code exists already and does not belong to this share"),
        ("alike", json!({}), "Secret alike-share-code exists already and does not belong to this share"),
        ("fixed", json!({}), "Secret fixed-share-code exists already and does not belong to this share"),
        ("second", json!({"codeSecretName": "first-share-code"}), "first-share-code exists already"),
        ("denied", json!({}), "no codes here"),
        (long.as_str(), json!({}), "a name of 264 characters, and 253 are allowed"),
    ];
    for (name, spec, words) in &rows {
        world.apply_share(name, spec.clone()).await?;
        says_so(&world, name, words).await?;
    }
    world.kubectl.apply(&made("ResourceQuota", "none", &json!({"spec": {"hard": {"secrets": "0"}}}))).await?;
    eventually("the quota is in force", SOON, || async {
        let words = ["create", "secret", "generic", "one-more", "--dry-run=server"];
        world.kubectl.run(words).await?.fails_with(1)
    })
    .await?;
    world.apply_share("quota", json!({})).await?;
    says_so(&world, "quota", "exceeded quota: none").await?;
    rows.push(("quota", json!({}), ""));
    assert_eq!(
        opened_and_closed(&proxy),
        before,
        "the hub was asked for a share of which nobody has the code"
    );
    let told = world.events(reason::SECRET_NOT_WRITABLE).await?;
    assert_eq!(told.len(), rows.len(), "{told:?}");

    the_plugin_says_it_too(&world).await?;

    // What a human has put right is found without being told.
    policy.end().await?;
    world.kubectl.run(["delete", "resourcequota", "none"]).await?.success()?;
    world.kubectl.run(["delete", "secret", "taken-share-code", "fixed-share-code"]).await?.success()?;
    for name in ["denied", "quota", "taken", "fixed"] {
        joinable(&world, name).await?;
    }
    let mine =
        world.kubectl.run(["get", "secret", "alike-share-code", "--output=jsonpath={.data.code}"]).await?;
    assert_eq!(mine.success()?.stdout, "YWJjZGVmZ2hqaw==", "another's Secret was written");
    Ok(())
}

/// `share --wait` fails with the reason, and `status` shows it.
async fn the_plugin_says_it_too(world: &World) -> Result<()> {
    let failed = world.kubectl.run(["connect", "share", "--name", "mine"]).await?.fails_with(1)?;
    ensure!(
        failed.stderr.contains("SecretNotWritable") && failed.stderr.contains("quota"),
        "{}",
        failed.report()
    );
    let shown = world.kubectl.run(["connect", "status", "denied"]).await?.success()?;
    ensure!(shown.stdout.contains("no codes here"), "{}", shown.report());
    Ok(())
}

/// Waits, as long as the operator's own period takes, until a share can be joined.
async fn joinable(world: &World, name: &str) -> Result<String> {
    eventually(&format!("share {name} can be joined"), PATIENTLY, || async {
        world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await
    })
    .await?;
    let share = world.share_says(name, kind::READY, "True", reason::SHARED).await?;
    let conditions = share.status.unwrap_or_default().conditions;
    ensure!(condition::find(&conditions, kind::STALLED).is_none(), "{conditions:?}");
    world.code(name, "code").await
}

#[tokio::test]
async fn a_refusal_that_no_trial_shows_closes_at_the_hub_what_was_opened() -> Result<()> {
    let (world, _hub, proxy) = tapped("no-trial").await?;
    let _api = world.exposed_api().await?;
    let only_trials = "has(request.dryRun) && request.dryRun";
    let policy = Policy::start(&world, "real", only_trials).await?;
    world.apply_share("demo", json!({})).await?;
    says_so(&world, "demo", "no codes here").await?;
    // The first is made and closed; from then on the key stands for one that is closed, so each try asks twice and makes one.
    eventually("what was opened is closed", SOON, || async {
        let (asked, closed) = opened_and_closed(&proxy);
        ensure!(closed > 0 && asked == 2 * closed - 1, "asked {asked} times, closed {closed} times");
        Ok(())
    })
    .await?;
    policy.end().await?;
    joinable(&world, "demo").await.map(drop)
}

#[tokio::test]
async fn a_new_code_that_cannot_be_written_leaves_no_old_one_to_be_taken_for_good() -> Result<()> {
    let (world, hub, _tap) = tapped("unrotated").await?;
    let _api = world.exposed_api().await?;
    for name in ["denied", "fixed"] {
        world.apply_share(name, json!({})).await?;
    }
    let old = [joinable(&world, "denied").await?, joinable(&world, "fixed").await?];
    let policy = Policy::start(
        &world,
        "again",
        "!object.metadata.name.startsWith('denied') && object.metadata.name != 'probe'",
    );
    let policy = policy.await?;
    let patch = r#"{"immutable": true}"#;
    world.kubectl.run(["patch", "secret", "fixed-share-code", "--patch", patch]).await?.success()?;
    for name in ["denied", "fixed"] {
        let wish = format!("{ROTATE_ANNOTATION}=please");
        world.kubectl.run(["annotate", "environmentshare", name, &wish]).await?.success()?;
    }
    let denied = says_so(&world, "denied", "no codes here").await?;
    assert_eq!(denied.status.unwrap_or_default().joins, None, "joins of the old code");
    for code in &old {
        eventually("the hub refuses the old code", SOON, || async {
            let said = reqwest::get(format!("{}/v1/env-shares/{code}", hub.url())).await?.status();
            ensure!(said == StatusCode::NOT_FOUND, "the hub answers {said}");
            Ok(())
        })
        .await?;
    }
    world.code("denied", "code").await.expect_err("the dead code is gone");
    // A Secret that may not be changed is made anew.
    assert_ne!(changed(&world, "fixed", &old[1]).await?, old[1]);
    policy.end().await?;
    assert_ne!(changed(&world, "denied", &old[0]).await?, old[0]);
    Ok(())
}

/// The code of a share once it is another than this one.
async fn changed(world: &World, name: &str, old: &str) -> Result<String> {
    eventually(&format!("share {name} has a new code"), PATIENTLY, || async {
        let code = world.code(name, "code").await?;
        ensure!(code != old, "it has the old one");
        Ok(())
    })
    .await?;
    joinable(world, name).await
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_said_while_the_code_still_works() -> Result<()> {
    let world = World::start("unchanged").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({"expires": "1h"})).await?;
    let code = joinable(&world, "demo").await?;
    let policy = Policy::start(&world, "change", "false").await?;
    world.apply_share("demo", json!({"expires": "2h"})).await?;
    world.share_says("demo", kind::READY, "False", reason::SECRET_NOT_WRITABLE).await?;
    world.share_says("demo", kind::STALLED, "True", reason::SECRET_NOT_WRITABLE).await?;
    let share = world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await?;
    assert_eq!(share.status.unwrap_or_default().code_secret_name.as_deref(), Some("demo-share-code"));
    policy.end().await?;
    assert_eq!(joinable(&world, "demo").await?, code);
    Ok(())
}

#[tokio::test]
async fn a_renewal_that_cannot_be_written_is_joinable_until_the_old_code_ends() -> Result<()> {
    let folder = control_plane::shared().await?.folder("unrenewed-hub")?;
    let hub = VendorHub::start(&folder, &[("HUB_LONGEST_SECONDS", "30")]).await?;
    let world = World::at_hub("unrenewed", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({"expires": "1h"})).await?;
    let code = joinable(&world, "demo").await?;
    let policy = Policy::start(&world, "renewal", "false").await?;
    eventually("the renewal is refused", PATIENTLY, || async {
        world.share_says("demo", kind::READY, "False", reason::SECRET_NOT_WRITABLE).await
    })
    .await?;
    eventually("the old code has ended, and status says so", PATIENTLY, || async {
        world.share_says("demo", kind::ACTIVE, "False", reason::SECRET_NOT_WRITABLE).await
    })
    .await?;
    let said = reqwest::get(format!("{}/v1/env-shares/{code}", hub.url())).await?.status();
    assert_eq!(said, StatusCode::NOT_FOUND);
    policy.end().await?;
    assert_ne!(changed(&world, "demo", &code).await?, code);
    Ok(())
}

#[tokio::test]
async fn an_operator_that_may_not_add_its_finalizer_says_so_and_tells_the_hub_nothing() -> Result<()> {
    let (world, _hub, proxy) = tapped("no-finalizer").await?;
    let name = world.namespace.name();
    let rule = json!({"apiGroups": ["connect.privateconnect.co"], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["environmentshares", "serviceexposes"]});
    let policy = denying(&world, name, &rule, "!has(object.metadata.finalizers)", "no finalizers here");
    world.cluster.kubectl().apply(&policy.to_string()).await?;
    let _api = world.exposed_api().await?;
    eventually("the policy is in force", SOON, || async {
        let patch = r#"{"metadata": {"finalizers": ["example.com/probe"]}}"#;
        let words = ["patch", "serviceexpose", "api", "--type=merge", "--dry-run=server", "--patch", patch];
        world.kubectl.run(words).await?.fails_with(1)
    })
    .await?;
    world.apply_share("demo", json!({})).await?;
    let said = world.share_says("demo", kind::STALLED, "True", reason::OBJECT_NOT_WRITABLE).await;
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    world.cluster.kubectl().run(["delete", kinds, name]).await?.success()?;
    let conditions = said?.status.unwrap_or_default().conditions;
    let ready = condition::find(&conditions, kind::READY).context("it says whether it is ready")?;
    ensure!(
        ready.reason == reason::OBJECT_NOT_WRITABLE && ready.message.contains("no finalizers here"),
        "{ready:?}"
    );
    ensure!(!condition::is_true(&conditions, kind::ACTIVE), "{conditions:?}");
    assert_eq!(opened_and_closed(&proxy), (0, 0));
    joinable(&world, "demo").await.map(drop)
}

/// The names of the services that the hub has.
async fn services_at(hub: &Hub) -> Result<Vec<String>> {
    let key = std::fs::read_to_string(hub.key_file())?;
    let asked =
        reqwest::Client::new().get(format!("{}/v1/services", hub.url())).header("x-api-key", key.trim());
    let rows: Value = asked.send().await?.error_for_status()?.json().await?;
    let rows = rows.as_array().or(rows["services"].as_array()).context("a list")?.clone();
    Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// Waits until the hub has services of exactly these names.
async fn hub_has(hub: &Hub, what: &str, expected: &[&str]) -> Result<()> {
    eventually(what, PATIENTLY, || async {
        let mut names = services_at(hub).await?;
        names.retain(|name| !name.contains('@'));
        names.sort();
        ensure!(names == expected, "{names:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_status_that_cannot_be_written_is_told_and_what_it_would_name_is_taken_from_the_hub() -> Result<()>
{
    let (world, hub, proxy) = tapped("no-status").await?;
    world.service("api", 8080).await?;
    let expose = |name: &str| {
        let spec =
            json!({"serviceRef": {"name": "api", "port": 8080}, "routeName": name, "reach": "Workspace"});
        json!({"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "ServiceExpose", "metadata": {"name": name},
            "spec": spec})
        .to_string()
    };
    world.kubectl.apply(&expose("kept")).await?;
    hub_has(&hub, "the first route is at the hub", &["kept"]).await?;
    let name = format!("{}-status", world.namespace.name());
    let rule = json!({"apiGroups": ["connect.privateconnect.co"], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["environmentshares/status", "serviceexposes/status"]});
    let others = "object.metadata.name == 'kept'";
    world
        .cluster
        .kubectl()
        .apply(&denying(&world, &name, &rule, others, "no status here").to_string())
        .await?;
    world.apply_share("probe", json!({"revoked": true})).await?;
    eventually("the policy is in force", SOON, || async {
        let patch = r#"{"status": {"codeSecretName": "x"}}"#;
        let words =
            ["patch", "environmentshare", "probe", "--subresource=status", "--type=merge", "--patch", patch];
        world.kubectl.run(words.into_iter().chain(["--dry-run=server"])).await?.fails_with(1)
    })
    .await?;

    for row in ["gone", "forgotten"] {
        world.kubectl.apply(&expose(row)).await?;
    }
    world.apply_share("demo", json!({})).await?;
    hub_has(&hub, "both routes are at the hub", &["forgotten", "gone", "kept"]).await?;
    eventually("the Events say why status is silent", PATIENTLY, || async {
        let told = world.kubectl.run(["get", "events", "--output", "json"]).await?.success()?.stdout;
        let events: Value = serde_json::from_str(&told)?;
        for (kind, name) in
            [("ServiceExpose", "gone"), ("ServiceExpose", "forgotten"), ("EnvironmentShare", "demo")]
        {
            let found = events["items"].as_array().into_iter().flatten().find(|event| {
                event["reason"] == "StatusNotWritable"
                    && event["involvedObject"]["kind"] == kind
                    && event["involvedObject"]["name"] == name
            });
            let said = found.and_then(|event| event["message"].as_str()).unwrap_or_default();
            let begins = "the API server does not let the operator write this object's status: ";
            ensure!(said.starts_with(begins) && said.contains("denied request: "), "{kind} {name}: {said}");
        }
        Ok(())
    })
    .await?;

    // What an operator remembers, and what one that is new finds at the hub.
    world.kubectl.run(["delete", "serviceexpose", "gone", "--timeout=60s"]).await?.success()?;
    hub_has(&hub, "the route is gone", &["forgotten", "kept"]).await?;
    let world = world.kill_and_restart_the_operator().await?;
    world.kubectl.run(["delete", "serviceexpose", "forgotten", "--timeout=60s"]).await?.success()?;
    hub_has(&hub, "the other route is gone, too", &["kept"]).await?;
    world.delete_share("demo").await?;
    let (_, closed) = opened_and_closed(&proxy);
    ensure!(closed > 0, "the share is open at the hub");
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    world.cluster.kubectl().run(["delete", kinds, &name]).await?.success().map(drop)
}
