//! What time it is, where this machine's clock and the cluster's shares cannot both be right.

use connect_crds::EnvironmentShare;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::failure::{Call, Kind};
use super::{Cluster, shares};

/// How far two clocks may differ without a word: the server's date has whole seconds, and its answer takes a while.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// The time by which these shares are judged: this machine's, unless that makes a share older than its end although nobody has
/// ended it, or made in the future. Then the API server is asked.
pub async fn now(cluster: &Cluster, shares: &[EnvironmentShare]) -> Timestamp {
    let now = Timestamp::now();
    if !shares.iter().any(|share| is_doubtful(share, now)) {
        return now;
    }
    match of_server(cluster).await {
        Some(server) if server.duration_since(now).abs() > TOLERANCE => server,
        _ => now,
    }
}

fn is_doubtful(share: &EnvironmentShare, now: Timestamp) -> bool {
    let made = share.creation_timestamp().map(|Time(made)| made);
    let is_of_the_future = made.is_some_and(|made| made.duration_since(now) > TOLERANCE);
    let has_passed = !shares::is_over(share) && share.ends_at(now).is_ok_and(|end| end <= now);
    is_of_the_future || has_passed
}

/// The API server's clock, to the second.
pub async fn of_server(cluster: &Cluster) -> Option<Timestamp> {
    let request = http::Request::get("/version").body(Vec::new().into()).ok()?;
    let call = Call { verb: "get", kind: Kind::Version, name: None, namespace: None };
    let answer = cluster.ask(&call, cluster.client().send(request)).await.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(date).ok()
}
