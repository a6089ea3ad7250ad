//! Which fields may stand behind a body.

use super::head::{Headers, Name, name};

/// Fields that frame a message, route it, change how it is handled, or belong to one hop (RFC 9110 sections 6.5.1, 7.6.1).
static REFUSED: [&Name; 22] = [
    &name::AUTHORIZATION,
    &name::CACHE_CONTROL,
    &name::CONNECTION,
    &name::CONTENT_ENCODING,
    &name::CONTENT_LENGTH,
    &name::CONTENT_TYPE,
    &name::COOKIE,
    &name::EXPECT,
    &name::FORWARDED,
    &name::HOST,
    &name::KEEP_ALIVE,
    &name::PROXY_AUTHENTICATE,
    &name::PROXY_AUTHORIZATION,
    &name::PROXY_CONNECTION,
    &name::SET_COOKIE,
    &name::TE,
    &name::TRAILER,
    &name::TRANSFER_ENCODING,
    &name::UPGRADE,
    &name::VIA,
    &name::X_REAL_IP,
    &name::X_REQUEST_ID,
];

/// Takes off a trailer section what may not stand in one.
pub fn clean(fields: &mut Headers) {
    for name in REFUSED {
        fields.remove(name);
    }
    fields.remove_forwarded();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Value;

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
