//! Data connections: TCP connections beside an agent's socket that carry one stream of bytes at a time, as it is.
//!
//! Here is what one is made of: the frames that the hub itself reads ([`reader`]), the stream under them ([`stream`]),
//! and where an agent's connections wait ([`pool`]). How one comes about and what it is used for is in
//! [`crate::upgrade`].

pub mod pool;
pub mod reader;
pub mod stream;

pub use self::pool::DataPool;
use self::{reader::FrameReader, stream::DataStream};

/// A data connection and what came over it already.
pub struct Connection {
    pub reader: FrameReader,
    pub stream: DataStream,
}
