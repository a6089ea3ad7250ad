//! Which fields may stand behind a body.

use http1::NameSet;

use super::Headers;

/// Fields that frame a message, route it, change how it is handled, or belong to one hop (RFC 9110 sections 6.5.1, 7.6.1).
const REFUSED: NameSet = NameSet::of(&[
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
]);

/// Takes off a trailer section what may not stand in one.
pub fn clean(fields: &mut Headers) {
    fields.remove_all(REFUSED);
    fields.remove_forwarded();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Name, Value};

    #[test]
    fn what_frames_or_routes_is_taken_off() {
        let mut fields = Headers::new();
        for field in ["grpc-status", "Content-Length", "transfer-encoding", "host", "x-forwarded-port", "x-checksum"] {
            fields.add(&Name::parse(field).unwrap(), Value::known("0"));
        }
        clean(&mut fields);
        let left: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
