//! Everything a hub will not exceed, in one place, each with its reason.

use std::time::Duration;

/// A request's body; what the recorded hub takes too.
pub const BODY_BYTES: usize = 100 * 1024;
/// A request, its body included: longer than any disk hiccup, shorter than a client's patience.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it is believed that the database answers: everybody may ask that, as often as they like.
pub const HEALTH_LIFE: Duration = Duration::from_secs(1);
/// The head of the next request on a kept connection; below the 90 s after which common clients drop it themselves.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The head of a request: ours have some hundred bytes, and proxies add as many. A longer one is refused with 431.
pub const HEAD_BYTES: usize = 8 * 1024;
/// A head, from its first byte; the first one of a connection from its acceptance, a TLS handshake included. A peer that needs
/// longer is not one of ours.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What may come before a TLS session is established: a greeting and a few hundred bytes, with the largest keys 2 KB.
pub const HANDSHAKE_BYTES: usize = 8 * 1024;
/// How long a peer that we write an answer to may take to read [`WRITE_STEP`] of it, or the rest.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Less than this in [`WRITE_TIMEOUT`] is slower than any line that people work over.
pub const WRITE_STEP: usize = 16 * 1024;
/// A body from somebody who shows no key: a label, an id, a token.
pub const OPEN_BODY_BYTES: usize = 4 * 1024;
/// How long it may take.
pub const OPEN_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests without a key over one connection, the last of which closes it: their answers are small, and so together less
/// than 16 KiB, also if nobody reads them. For a proxy that keeps connections it is one more connection now and then.
pub const ANONYMOUS_REQUESTS: usize = 16;
/// Connections of those who have not proven who they are, all together. One that rests costs less than 16 KiB for as long as
/// [`KEEP_ALIVE`], one that asks for something or upgrades up to 32 KiB for ten seconds: 64 MiB at the very most.
pub const UNPROVEN_CONNECTIONS: usize = 2_048;
/// Those of one address (IPv6: one /64): an office whose people all join at once, and half of all.
pub const UNPROVEN_PER_ADDRESS: usize = 1_024;
/// Open TCP connections, all peers together: two for each of ten thousand idle streams and for each of as many agents.
pub const CONNECTIONS: usize = 40_960;
/// What a stop waits for open requests and sockets before it drops them.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// One websocket message; the recorded hub announces the same figure.
pub const MAX_PAYLOAD: usize = 1_000_000;
/// Recorded: the hub pings every 25 s ...
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// ... and gives the answer 20 s.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long changes of who is connected under one share are gathered before its maker is told: nobody misses two seconds,
/// and a joiner that comes and goes in a loop costs an event for each of them, not for each turn.
pub const PRESENCE_PAUSE: Duration = Duration::from_secs(2);
/// Ended shares that a joining agent is told of when it comes back: as many as anybody runs joins at a time, and more.
pub const ENDED_SHARES_TOLD: i64 = 32;
/// A websocket that has not proven who it is by then is closed, so that nobody parks unknown ones.
pub const UNPROVEN_SOCKET: Duration = Duration::from_secs(10);
/// What a websocket that has not proven who it is may send: some join packets.
pub const UNPROVEN_BYTES: usize = 8 * 1024;
/// How often one websocket may join the namespace: a client that is refused tries a few times, not for ever.
pub const JOINS_PER_SOCKET: usize = 16;
/// Read buffer of a websocket. All of it is memory in use from the first read on, also for sockets that rest and for those that
/// have proven nothing; the payload of a larger frame gets a buffer of its size.
pub const WEBSOCKET_READ_BUFFER: usize = 8 * 1024;
/// Packets queued in the Socket.IO library for one socket. A full queue would make its ping fail and the socket die, so
/// this lies above all that we ever put there: the window, and one close for every bridge.
pub const SOCKET_PACKETS: usize = 65_536;
/// Sockets of one agent of a workspace: the vendor's CLI opens one for each command. One more closes the oldest.
pub const SOCKETS_PER_AGENT: usize = 32;
/// Sockets of one guest, who joined by a code alone: a join has one, and another while it comes back.
pub const SOCKETS_PER_GUEST: usize = 4;
/// Sockets of all agents of one workspace: one for each of as many agents as it may have, and some of their second ones. So no
/// workspace takes the connections of all others.
pub const SOCKETS_PER_WORKSPACE: usize = 10_240;
/// Requests over one socket that wait for the database.
pub const CALLS_PER_SOCKET: usize = 256;

/// Bytes handed to one socket and not yet taken by its TCP connection. Small, because what is in here can no longer be
/// taken back when a share ends; large enough to keep a TCP send buffer filled.
pub const WINDOW_BYTES: usize = 256 * 1024;
/// What one event weighs beside its text, so that many tiny ones fill the window too.
pub const EVENT_OVERHEAD: usize = 512;
/// Bytes that came from one socket and wait for their receivers; above, we stop reading that socket ...
pub const FEED_HIGH: usize = 4 * 1024 * 1024;
/// ... and below this we read on. Half, so that pausing does not flutter.
pub const FEED_LOW: usize = FEED_HIGH / 2;
/// Bytes that wait for their receivers in the whole hub, or are handed to sockets and not taken; above, every sender is held up at
/// [`FEED_UNDER_PRESSURE`] and every receiver has one event at a time. As much as 32 senders may have at once, and half of a
/// small container.
pub const HUB_QUEUE: usize = 128 * 1024 * 1024;
/// What one sender may have waiting while the hub as a whole has too much: a chunk or two.
pub const FEED_UNDER_PRESSURE: usize = 128 * 1024;
/// What one direction of one bridge may hold: all of its sender's budget and the frame that was being read when
/// reading was paused. More means that pausing does not work, and costs the bridge its life.
pub const QUEUE_BYTES: usize = FEED_HIGH + 2 * MAX_PAYLOAD;
/// Bridges in which one agent is the joining side, over all its sockets: ten thousand idle connections and some.
pub const BRIDGES_JOINED: usize = 12_288;
/// Bridges under one share, for anybody with its code may join it as often as they like.
pub const BRIDGES_SHARED: usize = BRIDGES_JOINED;
/// Bridges in which one agent's socket is the exposing side; above the former, so that neither one joiner nor one share takes
/// the room of all others.
pub const BRIDGES_EXPOSED: usize = 16_384;
/// How long the exposing agent may take to reach its service; recorded.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a check dials; recorded.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Data connections of one socket that carry nothing: what an exposing agent leaves here, and a joining one's burst.
pub const DATA_WAITING_PER_SOCKET: usize = 256;
/// How often connections that wait are looked after: some of the pings that agents say every 20 s.
pub const DATA_SWEEP: Duration = Duration::from_secs(60);
/// When a stream that has not begun by then is still being begun, its joining agent is told that somebody is at it.
pub const DATA_SIGN_AFTER: Duration = Duration::from_secs(1);
/// How long a stream waits for its exposing agent to open one more data connection.
pub const DATA_WANTED_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a joining agent may take to hear that it gets no stream.
pub const DATA_REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an agent may take to receive the answer to an upgrade.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// An id for a bridge is a UUID or, from newer clients, a UUID with a short prefix.
pub const CONNECTION_ID_BYTES: usize = 64;

/// How long an agent's token lives unless the hub is started with another life; recorded.
pub const TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// From when on an agent is told that its token runs out; recorded.
pub const TOKEN_WARNING: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after its end a token still opens a socket; recorded.
pub const TOKEN_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The range of tunnel ports; recorded. They are names here, nothing listens on them, and each workspace has its own: a
/// service for which none is left has none.
pub const TUNNEL_PORTS: std::ops::RangeInclusive<i64> = 23_000..=23_999;
/// Agents of one workspace.
pub const AGENTS_PER_WORKSPACE: i64 = 10_000;
/// Live shares of one workspace.
pub const SHARES_PER_WORKSPACE: i64 = 10_000;
/// Routes of one share; as many as a body of 100 KiB carries.
pub const ROUTES_PER_SHARE: usize = 500;
/// The most that `maxJoins` may ask for; what the custom resource allows.
pub const MAX_JOINS: i64 = 1_000_000;
/// Agents that may join one share. When there are as many, a newcomer takes the
/// place of the guest who has been away for longest.
pub const AGENTS_PER_SHARE: i64 = 10_000;
/// Joins of one share that are remembered, the newest, so that a code in many hands does not fill the disk; they are counted
/// for ever.
pub const JOINS_KEPT: i64 = 500;
/// The longest share: a hundred years, to keep dates within four digits of a year.
pub const SHARE_HOURS: i64 = 876_000;
/// Diagnostics kept for each service; recorded.
pub const DIAGNOSTICS_PER_SERVICE: i64 = 20;
/// Ended shares of one workspace that are remembered, the newest: making and revoking does not fill the disk.
pub const ENDED_SHARES_PER_WORKSPACE: i64 = 1_000;
/// How long a guest is remembered whose shares have all ended: what is told and asked at the end is over by then.
pub const ENDED_GUEST_LIFE: Duration = Duration::from_secs(3600);
/// How long an ended share is remembered; the recorded hub's own figure.
pub const ENDED_SHARE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Failed previews and joins from one address (IPv6: one /64) in [`ATTEMPT_WINDOW`]. A person mistypes a few times;
/// a guesser needs 10^14.
pub const FAILURES_PER_ADDRESS: u32 = 20;
/// Failed previews and joins of one code in [`ATTEMPT_WINDOW`], from anywhere.
pub const FAILURES_PER_CODE: u32 = 10;
/// Codes looked up each second for those who have failed too often, all together: a right code among theirs is let in, and a
/// guesser needs decades. See `attempts`.
pub const LOOKUPS_BEYOND: u32 = 1_000;
/// New agents from one address (IPv6: one /64) that join in [`ATTEMPT_WINDOW`]: a CI farm behind one address, but not one
/// holder of a code who wants to use it up.
pub const JOINS_PER_ADDRESS: u32 = 600;
/// The time over which failures and joins are counted, and so the longest that anybody is kept out.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(600);
/// Addresses and codes that are remembered; 10,000 entries are about 1 MiB. The oldest makes room.
pub const ATTEMPT_ENTRIES: usize = 10_000;

/// What one agent, workspace or address may use. `Limits::default()` is what a small team needs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many proxies in front of us append to `X-Forwarded-For`; 0: the header is not read.
    pub trusted_proxies: usize,
    /// Services of one workspace; the vendor's larger plan.
    pub services_per_workspace: u32,
    /// Proven sockets of all agents of one workspace.
    pub sockets_per_workspace: usize,
    /// How long an agent's token lives; agents rotate theirs before.
    pub token_life: Duration,
    /// Whether agents may have data connections. Without them every connection goes by the recorded protocol.
    pub data_connections: bool,
    /// How long a receiver may take nothing while it holds up its sender, before its bridge is reset.
    pub stall: Duration,
    /// Failed previews and joins from one address in ten minutes.
    pub failures_per_address: u32,
    /// Failed previews and joins of one code in ten minutes.
    pub failures_per_code: u32,
    /// New agents that join from one address in ten minutes.
    pub joins_per_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            trusted_proxies: 0,
            services_per_workspace: 1000,
            sockets_per_workspace: SOCKETS_PER_WORKSPACE,
            token_life: TOKEN_LIFE,
            data_connections: true,
            // Half of the ping timeout: a stalled reader is gone before it can cost its sender the session.
            stall: Duration::from_secs(10),
            failures_per_address: FAILURES_PER_ADDRESS,
            failures_per_code: FAILURES_PER_CODE,
            joins_per_address: JOINS_PER_ADDRESS,
        }
    }
}
