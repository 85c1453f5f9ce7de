//! What a hub and its clients both need to carry bytes and to end shares on time: the frames of a data connection
//! ([`frame`]), the buffers that hold them ([`buffers`]), which share ends next ([`expirations`]), and what codes are written in
//! ([`letters`]).
//!
//! Nothing here does I/O, waits or reads a clock. Callers do, each in its own way: a client by its agent's permission, a
//! hub by its bridges.

pub mod buffers;
pub mod expirations;
pub mod frame;
pub mod letters;
