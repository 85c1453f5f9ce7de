//! Completion by real kubectl with the real plugin and the script that the plugin prints, on `PATH`.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane::Kubectl;
use connect_tests::plugin;

use crate::world::World;

/// What Tab gives: words, and what they mean.
async fn tab(kubectl: &Kubectl, words: &[&str]) -> Result<Vec<String>> {
    let output = kubectl.run(["__complete", "connect"].iter().chain(words)).await?.success()?;
    // kubectl tells whom it asks and how it ended; of the plugin there is nothing.
    let is_kubectl = |line: &str| line.starts_with("[Debug] ") || line.starts_with("Completion ended ");
    ensure!(output.stderr.lines().all(is_kubectl), "{}", output.report());
    let lines = output.stdout.lines().filter(|line| !line.starts_with(':'));
    Ok(lines.filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
}

/// The kubeconfig of somebody who may read shares but no Secrets.
async fn may_read_shares(world: &World, user: &str) -> Result<std::path::PathBuf> {
    let kubectl = world.namespace.kubectl();
    let resource = "--resource=environmentshares.connect.privateconnect.co";
    kubectl.run(["create", "role", user, "--verb=get,list", resource]).await?.success()?;
    let bind = ["create", "rolebinding", user, "--role", user, "--user", user];
    kubectl.run(bind).await?.success()?;
    world.cluster.kubeconfig_for(user, &[])
}

#[tokio::test]
async fn kubectl_offers_verbs_flags_and_the_names_of_the_right_namespace() -> Result<()> {
    let world = World::start("completion").await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let namespace = world.namespace.name();
    let scripts = world.cluster.folder("completion-script")?;
    let script = world.kubectl.run(["connect", "completion", "kubectl"]).await?.success()?.stdout;
    let path = scripts.join("kubectl_complete-connect");
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    // Without a namespace of its own: kubectl completes what was typed, and the namespace is typed.
    let kubectl = plugin::with_plugin(&world.cluster.kubectl()).await?.with_plugins(&scripts);

    let verbs = tab(&kubectl, &[""]).await?;
    ensure!(
        ["share", "join", "unexpose"].iter().all(|verb| verbs.iter().any(|word| word == verb)),
        "{verbs:?}"
    );
    assert_eq!(tab(&kubectl, &["unexp"]).await?, ["unexpose"]);
    assert_eq!(tab(&kubectl, &["join", "--print"]).await?, ["--print-env"]);
    let namespaces = tab(&kubectl, &["share", "-n", &namespace[..namespace.len() - 1]]).await?;
    ensure!(namespaces.iter().any(|name| name == namespace), "{namespaces:?}");
    assert_eq!(tab(&kubectl, &["unexpose", "-n", namespace, ""]).await?, ["api"]);
    assert_eq!(tab(&kubectl, &["expose", "-n", namespace, "ap"]).await?, ["api:8080"]);
    let token = shared.join[2].trim_matches('\'');
    assert_eq!(tab(&kubectl, &["join", "-n", namespace, ""]).await?, [token]);
    let revocable = tab(&kubectl, &["share", "-n", namespace, "--revoke", ""]).await?;
    let share = world.only_share().await?.metadata.name.unwrap_or_default();
    // To revoke a code nobody needs what no hub is told.
    let (handle, _) = shared.code.split_once('+').context("the code has a secret")?;
    assert_eq!(revocable, [share.as_str(), handle]);
    assert_eq!(tab(&kubectl, &["unexpose", "-n", "default", ""]).await?, [""; 0]);
    assert_eq!(tab(&kubectl, &["revoke", "-n", namespace, ""]).await?, revocable);
    for verb in ["status", "extend", "rotate"] {
        assert_eq!(tab(&kubectl, &[verb, "-n", namespace, ""]).await?, [share.as_str()], "{verb}");
        assert_eq!(tab(&kubectl, &[verb, "-n", "default", ""]).await?, [""; 0], "{verb}");
    }

    let blind = may_read_shares(&world, "completion-blind").await?;
    let kubectl = kubectl.as_user(blind);
    assert_eq!(tab(&kubectl, &["share", "-n", namespace, "--revoke", ""]).await?, [share.as_str()]);
    assert_eq!(tab(&kubectl, &["join", "-n", namespace, ""]).await?, [""; 0]);

    let nowhere = kubectl.as_user(world.cluster.folder("completion-nowhere")?.join("missing"));
    assert_eq!(tab(&nowhere, &["unexpose", ""]).await?, [""; 0]);
    Ok(())
}
