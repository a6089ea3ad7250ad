//! Frames of a client (RFC 9113 sections 3 to 6): their sizes, their streams, their order.

use tests::http2::{
    PREFACE, block, code, flag, frame, get_fields, goaway, headers, kind, post_fields, reset, setting, settings,
    window_update,
};

use super::http2_case::Expects::{Ends, Error, Ignored, Malformed, Reset};
use super::http2_case::{case, passes, run};

/// A GET on stream 1.
fn get() -> Vec<u8> {
    headers(1, &get_fields("/"), true)
}

/// The head of a POST on stream 1.
fn post() -> Vec<u8> {
    headers(1, &post_fields("/"), false)
}

fn and(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn settings_and_pings() {
    let with = |id, value| settings(&[(id, value)]);
    run(&[
        case(
            "RFC 9113 3.4",
            "a frame before SETTINGS",
            and(&[PREFACE, &frame(kind::PING, 0, 0, [0; 8])]),
            Ends(code::PROTOCOL_ERROR),
        )
        .bare(),
        case("RFC 9113 3.4", "a request before SETTINGS", and(&[PREFACE, &get()]), Ends(code::PROTOCOL_ERROR)).bare(),
        case(
            "RFC 9113 3.4",
            "ACK before SETTINGS",
            and(&[PREFACE, &frame(kind::SETTINGS, flag::ACK, 0, [])]),
            Ends(code::PROTOCOL_ERROR),
        )
        .bare(),
        case("RFC 9113 3.4", "a request right behind SETTINGS", get(), passes(&["GET / HTTP/1.1\r\n"])),
        case("RFC 9113 6.5", "on a stream", frame(kind::SETTINGS, 0, 1, []), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.5", "half a setting", frame(kind::SETTINGS, 0, 0, [0; 7]), Ends(code::FRAME_SIZE_ERROR))
            .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 6.5",
            "ACK with a payload",
            frame(kind::SETTINGS, flag::ACK, 0, [0; 6]),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case("RFC 9113 6.5.2", "ENABLE_PUSH of 2", with(setting::ENABLE_PUSH, 2), Ends(code::PROTOCOL_ERROR)),
        case(
            "RFC 9113 6.5.2",
            "a window of 2^31",
            with(setting::INITIAL_WINDOW_SIZE, 1 << 31),
            Ends(code::FLOW_CONTROL_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case("RFC 9113 6.5.2", "frames of 16,383", with(setting::MAX_FRAME_SIZE, 16_383), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.5.2", "frames of 2^24", with(setting::MAX_FRAME_SIZE, 1 << 24), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.5.2", "an unknown setting", with(0xbeef, 7), Ignored),
        case("RFC 9113 6.5.2", "no room for kept fields", with(setting::HEADER_TABLE_SIZE, 0), Ignored),
        case("RFC 9113 6.5.2", "all room for kept fields", with(setting::HEADER_TABLE_SIZE, u32::MAX), Ignored),
        case(
            "house",
            "ACK of nothing",
            and(&[&frame(kind::SETTINGS, flag::ACK, 0, []), &frame(kind::SETTINGS, flag::ACK, 0, [])]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case("RFC 9113 6.7", "PING of seven bytes", frame(kind::PING, 0, 0, [0; 7]), Ends(code::FRAME_SIZE_ERROR))
            .says(code::PROTOCOL_ERROR),
        case("RFC 9113 6.7", "PING of nine bytes", frame(kind::PING, 0, 0, [0; 9]), Ends(code::FRAME_SIZE_ERROR))
            .says(code::PROTOCOL_ERROR),
        case("RFC 9113 6.7", "PING on a stream", frame(kind::PING, 0, 1, [0; 8]), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.7", "an answer to no PING", frame(kind::PING, flag::ACK, 0, [7; 8]), Ignored),
        case("RFC 9113 6.8", "GOAWAY on a stream", frame(kind::GOAWAY, 0, 1, [0; 8]), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.8", "GOAWAY of seven bytes", frame(kind::GOAWAY, 0, 0, [0; 7]), Ends(code::FRAME_SIZE_ERROR))
            .says(code::PROTOCOL_ERROR),
    ]);
}

#[test]
fn sizes_and_streams() {
    let large = vec![0; 16_385];
    let named = |stream: u32| headers(stream, &get_fields("/"), true);
    run(&[
        case(
            "RFC 9113 4.2",
            "DATA over 16,384",
            and(&[&post(), &frame(kind::DATA, 1, 1, &large)]),
            Error(code::FRAME_SIZE_ERROR),
        )
        .overtaken(),
        case(
            "RFC 9113 4.2",
            "HEADERS over 16,384",
            frame(kind::HEADERS, flag::WHOLE, 1, &large),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .overtaken(),
        case("RFC 9113 4.2", "an unknown frame over 16,384", frame(0x77, 0, 0, &large), Ends(code::FRAME_SIZE_ERROR))
            .overtaken(),
        case(
            "RFC 9113 6.4",
            "RST_STREAM of three bytes",
            and(&[&post(), &frame(kind::RST_STREAM, 0, 1, [0; 3])]),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 6.3",
            "PRIORITY of four bytes",
            and(&[&post(), &frame(kind::PRIORITY, 0, 1, [0; 4])]),
            Error(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 6.9",
            "WINDOW_UPDATE of three bytes",
            frame(kind::WINDOW_UPDATE, 0, 0, [0; 3]),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case("RFC 9113 6.2", "HEADERS on stream 0", named(0), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 5.1.1", "an even stream", named(2), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.1", "DATA on stream 0", frame(kind::DATA, 0, 0, "x"), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 5.1", "DATA on a stream not begun", frame(kind::DATA, 0, 1, "x"), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.4", "RST_STREAM on a stream not begun", reset(1, code::CANCEL), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.4", "RST_STREAM on stream 0", reset(0, code::CANCEL), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 5.1", "WINDOW_UPDATE on a stream not begun", window_update(1, 1), Ends(code::PROTOCOL_ERROR)),
        case("RFC 9113 6.3", "PRIORITY on stream 0", frame(kind::PRIORITY, 0, 0, [0; 5]), Ends(code::PROTOCOL_ERROR)),
        case(
            "RFC 9113 8.4",
            "PUSH_PROMISE",
            frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.6",
            "PUSH_PROMISE on an open stream",
            and(&[&post(), &frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2])]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 4.1",
            "the reserved bit of a stream",
            {
                let mut bytes = get();
                bytes[5] |= 0x80;
                bytes
            },
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 4.1",
            "flags that nobody knows",
            {
                let mut bytes = get();
                bytes[4] |= 0xc2 & !flag::PRIORITY & !flag::PADDED;
                bytes
            },
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 5.5",
            "frames that nobody knows",
            and(&[&frame(0xee, 0xff, 0, [9; 40]), &frame(0xef, 0, 3, "x"), &get()]),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 5.3.2",
            "PRIORITY before the stream",
            and(&[&frame(kind::PRIORITY, 0, 1, [0, 0, 0, 3, 9]), &get()]),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 5.3.2",
            "PRIORITY that nobody reads",
            frame(kind::PRIORITY, 0, 5, [0x80, 0, 0, 3, 255]),
            Ignored,
        ),
        // RFC 7540 section 5.3.1 made it an error of the stream; since RFC 9113 nobody looks at it.
        case(
            "RFC 9113 5.3.2",
            "PRIORITY of a stream over itself",
            frame(kind::PRIORITY, 0, 5, [0, 0, 0, 5, 9]),
            Ignored,
        ),
        case(
            "RFC 9113 5.3.2",
            "a head that depends on itself",
            frame(
                kind::HEADERS,
                flag::WHOLE | flag::PRIORITY,
                1,
                [&[0, 0, 0, 1, 9][..], &block(&get_fields("/"))].concat(),
            ),
            Malformed,
        ),
        case(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE",
            and(&[&frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=0"), &get()]),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9218 5",
            "the field priority",
            headers(1, &[&get_fields("/")[..], &[("priority", "u=1, i")]].concat(), true),
            passes(&["priority: u=1, i\r\n"]),
        ),
    ]);
}

#[test]
fn order() {
    let begun = || frame(kind::HEADERS, flag::END_STREAM, 1, block(&get_fields("/")));
    let half = block(&get_fields("/"));
    let (first, second) = half.split_at(half.len() / 2);
    run(&[
        case(
            "RFC 9113 6.10",
            "CONTINUATION",
            and(&[&frame(kind::HEADERS, 1, 1, first), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, second)]),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 6.10",
            "an empty CONTINUATION",
            and(&[&begun(), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, [])]),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 6.10",
            "CONTINUATION of nothing",
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, first),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.10",
            "CONTINUATION behind a whole head",
            and(&[&post(), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, second)]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.10",
            "CONTINUATION on stream 0",
            and(&[&begun(), &frame(kind::CONTINUATION, flag::END_HEADERS, 0, [])]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.2",
            "PING within a head",
            and(&[&begun(), &frame(kind::PING, 0, 0, [0; 8])]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.2",
            "DATA within a head",
            and(&[&begun(), &frame(kind::DATA, 1, 1, "x")]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.2",
            "another head within a head",
            and(&[&begun(), &headers(3, &get_fields("/"), true)]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.10",
            "another stream's CONTINUATION",
            and(&[&begun(), &frame(kind::CONTINUATION, flag::END_HEADERS, 3, [])]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 5.5",
            "an unknown frame within a head",
            and(&[&begun(), &frame(0xee, 0, 1, "x")]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.1",
            "padded DATA",
            and(&[&post(), &frame(kind::DATA, flag::PADDED | 1, 1, b"\x03body\0\0\0")]),
            passes(&["\r\n\r\nbody["]),
        ),
        case(
            "RFC 9113 6.1",
            "more padding than DATA",
            and(&[&post(), &frame(kind::DATA, flag::PADDED | 1, 1, b"\x09body")]),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.1",
            "padded DATA without its length",
            and(&[&post(), &frame(kind::DATA, flag::PADDED | 1, 1, b"")]),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 6.2",
            "padded HEADERS",
            frame(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, [&[2][..], &half, &[0, 0]].concat()),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 6.2",
            "more padding than HEADERS",
            frame(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, [&[250][..], &half].concat()),
            Ends(code::PROTOCOL_ERROR),
        ),
        case(
            "RFC 9113 6.2",
            "HEADERS with a priority",
            frame(kind::HEADERS, flag::WHOLE | flag::PRIORITY, 1, [&[0, 0, 0, 0, 9][..], &half].concat()),
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 6.2",
            "a priority without room for it",
            frame(kind::HEADERS, flag::WHOLE | flag::PRIORITY, 1, [0; 4]),
            Ends(code::FRAME_SIZE_ERROR),
        )
        .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 5.1",
            "DATA behind the end",
            and(&[&get(), &frame(kind::DATA, 1, 1, "x")]),
            Error(code::STREAM_CLOSED),
        )
        .says(code::PROTOCOL_ERROR),
        case("RFC 9113 5.1", "a head behind the end", and(&[&get(), &get()]), Error(code::STREAM_CLOSED))
            .says(code::PROTOCOL_ERROR),
        case(
            "RFC 9113 8.1",
            "trailer fields that do not end",
            and(&[&post(), &headers(1, &[("x-t", "1")], false)]),
            Malformed,
        ),
        case(
            "RFC 9113 5.1.1",
            "a stream below the last",
            and(&[&headers(3, &get_fields("/probe"), true), &get()]),
            Error(code::PROTOCOL_ERROR),
        ),
        case("RFC 9113 6.9", "WINDOW_UPDATE of 0", window_update(0, 0), Ends(code::PROTOCOL_ERROR)),
        case(
            "RFC 9113 6.9",
            "WINDOW_UPDATE of 0 on a stream",
            and(&[&post(), &window_update(1, 0)]),
            Error(code::PROTOCOL_ERROR),
        ),
        case("RFC 9113 6.9.1", "a window over 2^31-1", window_update(0, 0x7fff_ffff), Ends(code::FLOW_CONTROL_ERROR)),
        case(
            "RFC 9113 6.9.1",
            "a stream's window over 2^31-1",
            and(&[&post(), &window_update(1, 0x7fff_ffff)]),
            Reset(code::FLOW_CONTROL_ERROR),
        ),
        case(
            "RFC 9113 6.9.2",
            "SETTINGS that let a window overflow",
            and(&[&post(), &window_update(1, 0x7fff_0000), &settings(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)])]),
            Ends(code::FLOW_CONTROL_ERROR),
        ),
        case("RFC 9113 6.8", "GOAWAY of a client that is done", and(&[&goaway(0, 0)]), Ends(code::NO_ERROR)),
    ]);
}
