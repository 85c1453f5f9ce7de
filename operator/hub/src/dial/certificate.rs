//! Certificates that only a clock makes wrong: theirs, or this machine's.

use std::io;

use jiff::Timestamp;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::Obstacle;

/// What a failed TLS handshake says about clocks, if anything.
pub(super) fn clock_trouble(error: &io::Error) -> Option<Obstacle> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
            Some(Obstacle::NotYetValid { from: instant(*not_before)?, now: instant(*time)? })
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            Some(Obstacle::Expired { at: instant(*not_after)?, now: instant(*time)? })
        }
        _ => None,
    }
}

fn instant(time: UnixTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok()
}
