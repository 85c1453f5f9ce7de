//! What is told of a running join: everything once, nothing as a flood.
//!
//! A hub that comes and goes every other second, or a program that tries a dead route again and again, would otherwise fill
//! the screen with the same few sentences.

use std::collections::VecDeque;
use std::time::Duration;

use connect_hub::join::JoinEvent;
use jiff::Timestamp;
use tokio::time::Instant;

use super::view;

/// For how long the same is not said again.
const ONCE_IN: Duration = Duration::from_secs(60);

/// Sentences said at most in that time, whatever they say: as many as fill a small screen.
const MOST: usize = 20;

/// What was told lately.
#[derive(Debug, Default)]
pub struct Notices {
    told: VecDeque<(Instant, String)>,
    /// Whether the loss of the hub was told, so that its return is news.
    lost: bool,
}

// === impl Notices ===

impl Notices {
    /// The line to print for an event; nothing for one that was told lately.
    pub fn line(&mut self, event: &JoinEvent, today: Timestamp) -> Option<String> {
        let line = view::event(event, today);
        match event {
            // Once for each loss that was told, so that what was said last is always true.
            JoinEvent::Reconnected => std::mem::take(&mut self.lost).then_some(line),
            // Why it was lost may differ each time, and is not new then.
            JoinEvent::Reconnecting { .. } => {
                let is_new = self.is_new("lost".to_owned());
                self.lost |= is_new;
                is_new.then_some(line)
            }
            JoinEvent::Moved { .. } => Some(line), // somebody did that, and the end is always worth a line
            _ => self.is_new(line.clone()).then_some(line),
        }
    }

    fn is_new(&mut self, what: String) -> bool {
        let now = Instant::now();
        while self.told.front().is_some_and(|(at, _)| now - *at >= ONCE_IN) {
            self.told.pop_front();
        }
        let is_new = self.told.len() < MOST && !self.told.iter().any(|(_, told)| *told == what);
        if is_new {
            self.told.push_back((now, what));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str) -> JoinEvent {
        JoinEvent::RouteFailed { name: "api".into(), reason: reason.into() }
    }

    fn lost(reason: &str) -> JoinEvent {
        JoinEvent::Reconnecting { reason: reason.into() }
    }

    fn told(notices: &mut Notices, events: &[JoinEvent]) -> Vec<String> {
        let told = events.iter().filter_map(|event| notices.line(event, Timestamp::UNIX_EPOCH));
        told.map(|line| line.trim_end().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_comes_and_goes_is_told_once_a_minute_and_never_ends_in_a_loss_that_is_over() {
        let mut notices = Notices::default();
        let flapping: Vec<_> =
            (0..100).flat_map(|number| [lost(&format!("reason {number}")), JoinEvent::Reconnected]).collect();
        let once = ["[!] Connection to the hub lost, reconnecting: reason 0", "[ok] Reconnected"];
        assert_eq!(told(&mut notices, &flapping), once);
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(told(&mut notices, &flapping), once);
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(told(&mut notices, &[lost("gone"), lost("still gone")]).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn two_failures_in_turns_are_two_lines() {
        let mut notices = Notices::default();
        let turns: Vec<_> = (0..100).flat_map(|_| [failed("refused"), failed("timed out")]).collect();
        assert_eq!(told(&mut notices, &turns), ["[!] api: refused", "[!] api: timed out"]);
        tokio::time::advance(ONCE_IN).await;
        assert_eq!(told(&mut notices, &turns).len(), 2, "it still fails, which is worth a line a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn sentences_that_are_never_the_same_are_bounded_and_an_end_that_moves_is_not() {
        let mut notices = Notices::default();
        let floods: Vec<_> = (0..1000).map(|number| failed(&number.to_string())).collect();
        assert_eq!(told(&mut notices, &floods).len(), MOST);
        let moved = JoinEvent::Moved { ends_at: Timestamp::from_second(3600).expect("a time") };
        assert_eq!(told(&mut notices, &[moved.clone(), moved]).len(), 2);
    }
}
