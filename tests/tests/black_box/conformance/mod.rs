//! HTTP/1.1 and HTTP/2 by the letter: tables of what a client or an upstream sends, byte for byte, and of what must be seen on both
//! sides. Each case names its clause. One daemon serves a whole table, and all cases that fail are
//! told at once.
//!
//! What needs a dialogue, a wait or a limit of its own stands in the other modules.

mod case;
mod run;
mod witness;

mod answers;
mod bodies;
mod connection;
mod fields;
mod framing;
mod host;
mod path;
mod request_line;
mod targets;
mod twins;

mod http2_case;

mod http2_answers;
mod http2_fields;
mod http2_floods;
mod http2_frames;
mod http2_hpack;
mod http2_requests;
mod http2_streams;
mod http2_times;
mod http2_upstream;
mod http2_upstream_answers;
mod http2_upstream_life;
