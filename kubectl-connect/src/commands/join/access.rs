//! How a hub lets us in: without an account where it offers that, else as an agent of the workspace of an API key.

use connect_hub::Error;
use connect_hub::client::{Client, JoinedShare};
use connect_hub::identity::Identity;

use super::{clock, refusal};
use crate::failure::{Failure, Outcome};
use crate::settings::join::JoinSettings;

/// Feature of hubs that let anybody in who has the code.
const ANONYMOUS_JOIN: &str = "anonymous-join";

/// We are in.
pub struct Admission {
    /// What was joined.
    pub share: JoinedShare,
    /// Who we are to the hub.
    pub identity: Identity,
    /// Whether this hub tells nobody about the end of a share.
    pub ends_silently: bool,
}

/// Joins the share. Nothing counts as a join before the code and the names of routes are known to be right, and a websocket is
/// known to get through.
pub async fn admit(client: &Client, settings: &JoinSettings) -> Outcome<Admission> {
    let elsewhere =
        |failure| if settings.hub_is_assumed { refusal::perhaps_elsewhere(failure) } else { failure };
    let refused = |error: Error| elsewhere(refusal::of_hub(&error, client.url()));
    let health = match client.health().await {
        Ok(health) => health,
        // Every hub answers this to everybody; what refuses it is something else.
        Err(Error::Rejected(rejection)) if matches!(rejection.status, 400 | 404 | 405) => {
            return Err(elsewhere(no_hub(client)));
        }
        Err(error) => {
            let clock = clock::behind_certificate(&error, client, settings).await;
            return Err(clock.unwrap_or_else(|| refused(error)));
        }
    };
    let is_open = health.features.has(ANONYMOUS_JOIN);
    if !is_open && settings.api_key.is_none() {
        return Err(elsewhere(needs_account(client)));
    }
    let preview = client.preview(&settings.code).await.map_err(refused)?;
    let known: Vec<&str> = preview.routes.iter().map(|route| route.service_name.as_str()).collect();
    check_names(settings, &known)?;
    client.check_way().await.map_err(refused)?;
    let (joined, own) = if is_open {
        (client.join(&settings.code, &settings.label, None).await, None)
    } else {
        let identity = Identity::generate();
        client.register_agent(&identity, &settings.label, None).await.map_err(refused)?;
        (client.join(&settings.code, &settings.label, Some(identity.agent_id)).await, Some(identity))
    };
    let joined = joined.map_err(refused)?;
    let routes: Vec<&str> = joined.share.routes.iter().map(|route| route.service_name.as_str()).collect();
    check_names(settings, &routes)?;
    let given = joined.agent.map(|agent| agent.identity);
    let identity = given.or(own).ok_or_else(|| {
        Failure::fault(
            "The hub let this machine in without credentials for it: it is not a hub that this version knows",
        )
    })?;
    Ok(Admission { share: joined.share, identity, ends_silently: health.features.is_empty() })
}

fn no_hub(client: &Client) -> Failure {
    Failure::new(format!("What answers at {} is not a hub", client.url()))
        .hint("Check the URL given by --hub.")
}

fn needs_account(client: &Client) -> Failure {
    Failure::new(format!("The hub at {} requires an account to join", client.url()))
        .hint(format!(
            "Log in once: kubectl connect login --hub {}; or give an API key: --api-key-file FILE, or CONNECT_API_KEY",
            client.url().in_shell()
        ))
}

/// Whether every route that is named is one.
fn check_names(settings: &JoinSettings, known: &[&str]) -> Outcome<()> {
    // Some hubs name no routes before one has joined.
    if known.is_empty() {
        return Ok(());
    }
    let in_ports = settings.ports.keys().map(|name| ("--port", name));
    let in_only = settings.only.iter().map(|name| ("--only", name));
    match in_ports.chain(in_only).find(|(_, name)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((flag, unknown)) => {
            Err(Failure::new(format!("{flag} names {unknown}, but the share has {}", known.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::join::Purpose;
    use connect_hub::url::{HubUrl, InsecureHttp};
    use std::collections::BTreeMap;

    fn settings(ports: &[&str], only: &[&str]) -> JoinSettings {
        JoinSettings {
            code: "abc123".into(),
            code_key: None,
            hub: HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("valid"),
            hub_is_assumed: false,
            api_key: None,
            extra_ca: None,
            label: "mia@laptop".into(),
            bind: Vec::new(),
            ports: ports.iter().map(|name| ((*name).to_owned(), 1)).collect::<BTreeMap<_, _>>(),
            only: only.iter().map(|name| (*name).to_owned()).collect(),
            through: None,
            purpose: Purpose::Stay,
            warning: None,
        }
    }

    #[test]
    fn a_route_that_is_not_there_is_refused_before_joining() {
        assert_eq!(check_names(&settings(&["api"], &["redis"]), &["api", "redis"]), Ok(()));
        assert_eq!(check_names(&settings(&["api"], &["db"]), &[]), Ok(()));
        for (settings, flag) in [(settings(&["db"], &[]), "--port"), (settings(&[], &["db"]), "--only")] {
            assert_eq!(
                check_names(&settings, &["api", "redis"]).expect_err("unknown").render(),
                format!("[x] {flag} names db, but the share has api, redis\n")
            );
        }
    }
}
