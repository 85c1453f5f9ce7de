//! One agent socket from its opening to the hub's welcome, and the question that keeps it honest.
//!
//! The exposing and the joining side open their sockets alike: join the namespace with the identity, then wait for the
//! event `connected`. The namespace's own reply proves nothing, because hubs send it before they look at credentials.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::data::Connector;
use crate::identity::Identity;
use crate::protocol::{self, About, Answer, Connected, DATA_CONNECTIONS, NAMESPACE, Said, ShareEnded};
use crate::sentences;
use crate::socketio::{self, EmitError, Emitter, Events, Incoming, SocketError, Target};
use crate::url::HubUrl;

/// How long the hub may take to look at credentials after the namespace was joined.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the hub is asked whether it still knows us: twice within the silence after which it counts as gone.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(4);

/// How long the answer to a heartbeat may take; silence is noticed elsewhere, this only bounds the wait.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a leaving agent may take to close its connections at the hub.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Characters of a hub's message that are logged.
const MAX_MESSAGE_CHARS: usize = 200;

/// An opened agent socket.
pub(crate) struct Socket {
    pub(crate) emitter: Emitter,
    pub(crate) events: Events,
    pub(crate) welcome: Connected,
    /// The hub's warning that the token ends soon.
    pub(crate) token_warning: Option<Timestamp>,
    /// Opens data connections that belong to this socket, on a hub that has them.
    pub(crate) data: Option<Connector>,
}

/// Why no agent socket could be opened, or why it is over.
#[derive(Debug, Error)]
pub(crate) enum AgentError {
    /// The hub does not know these credentials: asking again with the same ones will not help.
    #[error("the hub refused the agent's credentials: {message}")]
    InvalidToken { message: String, ended: Vec<ShareEnded> },
    /// The token has ended: it must be rotated.
    #[error("the agent's token has expired: {message}")]
    TokenExpired { message: String },
    /// The hub said something else is wrong.
    #[error("the hub refused the agent: {message}")]
    Refused { message: String },
    /// The hub did not say whether it accepts us.
    #[error("the hub did not confirm the agent within {} seconds", after.as_secs())]
    NoWelcome { after: Duration },
    /// The hub forgot us, or another socket took our place.
    #[error(
        "the hub no longer knows this agent's socket: another process may use the same identity, which only one may"
    )]
    Forgotten,
    /// We are to be another agent now.
    #[error("the agent has another identity now")]
    NewIdentity,
    /// The connection failed.
    #[error("{0}")]
    Socket(#[source] SocketError),
}

/// Opens a socket for `identity` and waits until the hub has registered it.
pub(crate) async fn open(
    url: &HubUrl,
    tls: Arc<rustls::ClientConfig>,
    identity: &Identity,
) -> Result<Socket, AgentError> {
    let auth = protocol::auth(identity);
    let target = Target { url, namespace: NAMESPACE, auth: &auth, tls: Arc::clone(&tls) };
    let (emitter, mut events) = socketio::connect(target).await.map_err(AgentError::Socket)?;
    let after = WELCOME_TIMEOUT;
    let (welcome, token_warning) =
        timeout(after, welcome(&mut events)).await.map_err(|_| AgentError::NoWelcome { after })??;
    let ticket = welcome.data_ticket.clone().filter(|_| welcome.features.has(DATA_CONNECTIONS));
    let data = ticket.map(|ticket| Connector::new(url, tls, identity.agent_id, ticket));
    Ok(Socket { emitter, events, welcome, token_warning, data })
}

async fn welcome(events: &mut Events) -> Result<(Connected, Option<Timestamp>), AgentError> {
    let mut warning = None;
    loop {
        let Incoming::Event(event) = events.next().await.map_err(AgentError::Socket)? else { continue };
        match Said::read(&event) {
            Ok(Said::Connected(welcome)) => return Ok((welcome, warning)),
            Ok(Said::TokenWarning(token)) => warning = Some(token.expires_at),
            Ok(Said::Error(rejected)) => return Err(rejected.into()),
            _ => {} // notices, and whatever a hub may say before it knows us
        }
    }
}

/// Asks the hub again and again whether it knows this socket; returns when it does not.
pub(crate) async fn heartbeat(emitter: Emitter) -> AgentError {
    let mut ticks = interval(HEARTBEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match emitter.call::<Answer>("heartbeat", None::<&()>, HEARTBEAT_TIMEOUT).await {
            Ok(Answer { success: false, .. }) => return AgentError::Forgotten,
            Err(EmitError::Gone) => return AgentError::Socket(SocketError::Closed),
            // A hub that is slow to answer but not silent is alive; one that answers in its own words, too.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Closes the connections at the hub and leaves; bounded in time.
///
/// Some hubs keep a connection open when its agent leaves without a word, and drop words that arrive together with the
/// farewell. So a last question is asked first, and its answer shows that everything before it was heard.
pub(crate) async fn leave(emitter: &Emitter, mut events: Events, close: &str, connection_ids: &[String]) {
    if !connection_ids.is_empty() {
        let last_words = last_words(emitter, &mut events, close, connection_ids);
        let _ = timeout(LAST_WORDS_TIMEOUT, last_words).await; // a hub that does not answer goes without
    }
    events.leave().await;
}

async fn last_words(emitter: &Emitter, events: &mut Events, close: &str, connection_ids: &[String]) {
    let talking = async {
        for connection_id in connection_ids {
            emitter.emit(close, &About { connection_id }).await?;
        }
        emitter.call::<Answer>("heartbeat", None::<&()>, LAST_WORDS_TIMEOUT).await.map(drop)
    };
    let listening = async { while events.next().await.is_ok() {} };
    tokio::select! {
        _ = talking => {} // a connection that broke has nothing left to say
        () = listening => {}
    }
}

// === impl AgentError ===

impl AgentError {
    /// A bounded PascalCase name.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::InvalidToken { .. } => "InvalidCredentials",
            Self::TokenExpired { .. } => "TokenExpired",
            Self::Refused { .. } => "HubRejected",
            Self::Forgotten => "Replaced",
            Self::NewIdentity => "IdentityChanged",
            Self::NoWelcome { .. } | Self::Socket(_) => "HubUnreachable",
        }
    }
}

impl From<protocol::Rejected> for AgentError {
    fn from(rejected: protocol::Rejected) -> Self {
        let protocol::Rejected { code, message, ended } = rejected;
        let said: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
        debug!(code, said, "the hub refuses the agent");
        let message = sentences::known(&said).unwrap_or("in words of its own").to_owned();
        match code.as_str() {
            "INVALID_TOKEN" => Self::InvalidToken { message, ended },
            "TOKEN_EXPIRED" => Self::TokenExpired { message },
            "REPLACED" => Self::Forgotten,
            _ => Self::Refused { message },
        }
    }
}
