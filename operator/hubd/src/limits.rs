//! Everything a hub will not exceed, in one place.

/// What one agent, workspace or address may use. `Limits::default()` is what a small team needs.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// How many proxies in front of us append to `X-Forwarded-For`; 0: the header is not read.
    pub trusted_proxies: usize,
}
