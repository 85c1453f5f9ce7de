//! The hub's clock: by it a share ends, whatever this machine's clock says.
//!
//! What the hub's answers tell of their difference is added to this machine's clock, for countdowns and for the end of the
//! join. A clock that is wrong by more than a little is named, as it spoils more than this.

use std::time::{Duration, Instant};

use connect_hub::Error;
use connect_hub::client::{Client, ClientOptions, ClockOffset};
use connect_hub::clock::{Clock, SystemClock};
use connect_hub::tls;
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;
use crate::output::counted;
use crate::settings::join::JoinSettings;

/// By how much clocks may differ without a word: those that are set from a network are closer, and a share's end is told in
/// minutes.
const TOLERANCE: Duration = Duration::from_secs(120);

/// From this difference on the hub's time is used: below it, it is hardly more than what a `Date` leaves open.
const SMALL: Duration = Duration::from_secs(1);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// From so many hours on a difference is told in days.
const DAYS_FROM: u64 = 48 * HOUR;

/// Tells the hub's time.
#[derive(Debug)]
pub struct HubClock {
    /// What to add to this machine's clock; nothing when both agree.
    offset: Option<ClockOffset>,
    /// The same instant by this machine's clock, and by one that nobody can set.
    since: (Timestamp, Instant),
}

// === impl HubClock ===

impl HubClock {
    /// The clock of a hub whose answers told this.
    pub fn new(offset: Option<ClockOffset>) -> Self {
        let offset = offset.filter(|offset| offset.exceeds(SMALL));
        Self { offset, since: (SystemClock.now(), Instant::now()) }
    }

    /// That this machine's clock is wrong, if it is.
    pub fn warning(&self) -> Option<String> {
        let offset = self.offset.filter(|offset| offset.exceeds(TOLERANCE))?;
        Some(format!(
            "[!] This machine's clock is {} the hub's. Times shown here are the hub's; check the date and time of this machine.\n",
            difference(offset)
        ))
    }

    /// The hub's time when this machine's clock says `local`, and `passed` has passed.
    fn at(&self, local: Timestamp, passed: Duration) -> Timestamp {
        let Some(offset) = self.offset else { return local };
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        let stepped = local.duration_since(self.since.0).saturating_sub(passed);
        let is_close = |difference: SignedDuration| difference.unsigned_abs() <= TOLERANCE;
        // Somebody has set this machine's clock right meanwhile.
        if !is_close(stepped) && is_close(stepped.saturating_sub(offset.offset)) {
            local
        } else {
            offset.hub_time(local)
        }
    }
}

impl Clock for HubClock {
    fn now(&self) -> Timestamp {
        self.at(SystemClock.now(), self.since.1.elapsed())
    }
}

/// The failure of a hub whose certificate is not valid at this machine's time; nothing when its time is not what is wrong.
///
/// The hub is asked for its time over a connection that is proven at a time within the certificate's own: that sends nothing
/// and is believed for nothing but this sentence.
pub async fn behind_certificate(error: &Error, client: &Client, settings: &JoinSettings) -> Option<Failure> {
    let valid_at = error.certificate_valid_at()?;
    let url = client.url();
    let offset = async {
        let tls = tls::client_config_at(settings.extra_ca.as_deref(), valid_at).ok()?;
        let asking = Client::new(url.clone(), ClientOptions { api_key: None, tls }).ok()?;
        let _ = asking.health().await; // a refusal tells the time, too
        asking.clock_offset().filter(|offset| offset.exceeds(TOLERANCE))
    };
    let offset = offset.await?; // without it, the certificate's own dates and this machine's are told
    Some(
        Failure::new(format!(
            "Cannot trust the hub at {url}: its certificate is not valid at the time of this machine's clock, which is {} the hub's",
            difference(offset)
        ))
        .hint("Set the date and time of this machine, and join again."),
    )
}

/// `25 hours ahead of`, `3 days behind`: how this machine's clock stands to the hub's.
fn difference(offset: ClockOffset) -> String {
    let seconds = offset.offset.unsigned_abs().as_secs();
    let rounded = |unit: u64| i64::try_from((seconds + unit / 2) / unit).unwrap_or(i64::MAX);
    let length = match seconds {
        _ if seconds < HOUR => counted(rounded(MINUTE), "minute"),
        _ if seconds < DAYS_FROM => counted(rounded(HOUR), "hour"),
        _ => counted(rounded(DAY), "day"),
    };
    let side = if offset.offset.is_negative() { "ahead of" } else { "behind" };
    format!("{length} {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(seconds: i64) -> ClockOffset {
        ClockOffset { offset: SignedDuration::from_secs(seconds), uncertainty: Duration::from_millis(500) }
    }

    #[test]
    fn a_clock_that_is_wrong_by_more_than_a_little_is_named() {
        for (seconds, words) in [
            (0, None),
            (-119, None),
            (120, None),
            (-180, Some("3 minutes ahead of")),
            (-25 * 3600, Some("25 hours ahead of")),
            (25 * 3600, Some("25 hours behind")),
            (-3 * 86_400, Some("3 days ahead of")),
            (400 * 86_400, Some("400 days behind")),
        ] {
            let warning = HubClock::new(Some(offset(seconds))).warning();
            let expected = words.map(|words| format!("[!] This machine's clock is {words} the hub's. "));
            assert_eq!(warning.is_some(), expected.is_some(), "{seconds}");
            assert!(warning.unwrap_or_default().starts_with(&expected.unwrap_or_default()), "{seconds}");
        }
        assert!(HubClock::new(None).warning().is_none());
    }

    #[test]
    fn the_time_is_the_hub_s_until_this_machine_s_clock_is_set_right() {
        const HOUR: i64 = 3600;
        for (hours, passed, stepped, ahead) in [
            (25, 10, 0, 25),   // as it was
            (25, 10, 25, 0),   // set right
            (-25, 10, -25, 0), // set right
            (25, 10, 3, 25),   // a machine that slept
            (25, 3600, 0, 25),
        ] {
            let clock = HubClock::new(Some(offset(hours * HOUR)));
            let start = clock.since.0;
            let local = start + SignedDuration::from_secs(passed + stepped * HOUR);
            let told = clock.at(local, Duration::from_secs(passed.unsigned_abs()));
            assert_eq!(told.duration_since(local).as_secs(), ahead * HOUR, "{hours} {stepped}");
        }
        let same = HubClock::new(Some(offset(1)));
        assert_eq!(same.at(Timestamp::UNIX_EPOCH, Duration::ZERO), Timestamp::UNIX_EPOCH);
    }
}
