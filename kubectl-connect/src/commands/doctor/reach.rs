//! Whether the cluster answers, which version it is, and whether its clock and ours agree.

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use super::Check;
use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};

/// From this difference on, ends of shares are shown wrong enough to be noticed. The server's date has whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let client = cluster.client();
    let call = Call { verb: "get", kind: Kind::Version, name: None, namespace: None };
    let version = match cluster.ask(&call, client.apiserver_version()).await {
        Ok(version) => version.git_version,
        Err(failure) => return vec![Check::of(&failure)],
    };
    let mut checks = vec![Check::ok(format!("the API server at {} answers: {version}", cluster.url()))];
    let asked_at = Timestamp::now();
    if let Some(server) = date(cluster).await {
        let now = asked_at + Timestamp::now().duration_since(asked_at) / 2;
        checks.push(clocks(now.duration_since(server)));
    }
    checks
}

/// The API server's clock, to the second.
async fn date(cluster: &Cluster) -> Option<Timestamp> {
    let request = http::Request::get("/version").body(Vec::new().into()).ok()?;
    let call = Call { verb: "get", kind: Kind::Version, name: None, namespace: None };
    let answer = cluster.ask(&call, cluster.client().send(request)).await.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    DateTimeParser::new().parse_timestamp(date).ok()
}

fn clocks(ahead: SignedDuration) -> Check {
    let seconds = ahead.abs().as_secs();
    if ahead.abs() < SKEW {
        return Check::ok("the clocks of this machine and of the API server agree");
    }
    let side = if ahead.is_positive() { "ahead of" } else { "behind" };
    Check::warning(
        format!("the clock of this machine is {seconds} s {side} the API server's"),
        "What is left of a share is shown wrong by as much; its end is not, it is the operator's.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_said_with_its_side() {
        let said = |seconds| clocks(SignedDuration::from_secs(seconds)).description.to_string();
        assert_eq!(said(2), "the clocks of this machine and of the API server agree");
        assert_eq!(said(60), "the clock of this machine is 60 s ahead of the API server's");
        assert_eq!(said(-7), "the clock of this machine is 7 s behind the API server's");
    }
}
