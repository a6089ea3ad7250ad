//! What is changed, removed or added by hand is found, and named.

use super::{all, fill, fill_segments, open, sql};
use crate::{Head, StoreError, segments, verify};

/// Two hundred requests and two actions, tampered with by SQL in a segment; the row and the word of the finding.
fn check(statements: &str, seq: u64, word: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 200);
    store.close().unwrap();
    assert!(verify(dir.path(), &[], &|| true).unwrap().intact);
    sql(dir.path(), 0, statements);
    let verified = verify(dir.path(), &[], &|| true).unwrap();
    let broken = verified.broken.expect(statements);
    assert!(!verified.intact);
    assert!(broken.seq == seq && broken.reason.starts_with(word), "{statements}: {broken:?}");
    assert_eq!(broken.segment, "segment-00000000000000000001.sqlite");
}

#[test]
fn a_changed_row_is_named() {
    check("UPDATE requests SET status = 200 WHERE seq = 10", 10, "changed");
    check("UPDATE requests SET path = '/other' WHERE seq = 77", 77, "changed");
    check("UPDATE requests SET link = zeroblob(16) WHERE seq = 5", 5, "changed");
    check("UPDATE requests SET request_id = 'x' WHERE seq = 6", 6, "changed");
    check("UPDATE requests SET user_agent = 'x' WHERE seq = 8", 8, "changed");
    check("UPDATE texts SET text = 'wget' WHERE text = 'curl/8'", 1, "changed");
    check("UPDATE actions SET actor = 'nobody' WHERE seq = 101", 101, "changed");
    check("UPDATE actions SET actor = CAST(x'ff' AS TEXT) WHERE seq = 101", 101, "changed");
    check("UPDATE actions SET door = 'http' WHERE seq = 202", 202, "changed");
}

#[test]
fn no_column_of_a_request_can_be_changed_unnoticed() {
    let columns = crate::schema::REQUEST_COLUMNS.split(", ").filter(|column| *column != "seq");
    for column in columns {
        // Another of the same kind, of each other kind, and none at all.
        for value in
            ["'x'", "12345", "2.5", "x'00112233445566778899aabbccddeeff'", "x'ff'", "CAST(x'ff' AS TEXT)", "''"]
        {
            check(&format!("UPDATE requests SET {column} = {value} WHERE seq = 10"), 10, "");
        }
        let is_empty = matches!(column, "query" | "listener" | "principal" | "matched" | "tries" | "credential");
        if !is_empty {
            check(&format!("UPDATE requests SET {column} = NULL WHERE seq = 10"), 10, "");
        }
    }
}

#[test]
fn what_would_read_the_same_is_a_change_all_the_same() {
    // The same number after it is cut to the width of the field.
    check("UPDATE requests SET status = status + 65536 WHERE seq = 10", 10, "changed");
    check("UPDATE requests SET attempts = attempts + 4294967296 WHERE seq = 10", 10, "changed");
    // The same text, in the row instead of by its number, and by another number.
    check("UPDATE requests SET host = 'shop.example' WHERE seq = 10", 10, "changed");
    check(
        "INSERT INTO texts VALUES (900, 'shop.example'); UPDATE requests SET host = 900 WHERE seq = 10",
        10,
        "changed",
    );
    check("UPDATE requests SET request_id = lower(hex(request_id)) WHERE seq = 10", 10, "changed");
    // A number that was not given out, and none at all.
    check("UPDATE requests SET host = host + (1 << 61) WHERE seq = 10", 10, "changed");
    check("UPDATE requests SET host = -host WHERE seq = 10", 10, "changed");
    check("UPDATE requests SET query = x'' WHERE seq = 10", 10, "changed");
}

#[test]
fn a_text_is_proven_where_it_was_used_first() {
    check("UPDATE texts SET text = 'odder' WHERE text = 'odd'", 1, "changed");
    check("UPDATE texts SET text = 'evener' WHERE text = 'even'", 2, "changed");
    check("UPDATE texts SET text = '' WHERE text = 'even'", 2, "changed");
    check("DELETE FROM texts WHERE text = 'even'", 2, "changed");
    check("UPDATE texts SET id = id + 100 WHERE text = 'even'", 2, "changed");
    // Two texts exchanged, and the rows that use them with them: 3 is the first to differ.
    check(
        "UPDATE requests SET route = CASE route WHEN 4 THEN 9 ELSE 4 END WHERE seq > 2 AND route IN (4, 9)",
        3,
        "changed",
    );
}

#[test]
fn a_removed_row_is_named() {
    check("DELETE FROM requests WHERE seq = 1", 1, "missing: the row");
    check("DELETE FROM requests WHERE seq BETWEEN 20 AND 30", 20, "missing: the rows 20 to 30");
    check("DELETE FROM actions WHERE seq = 101", 101, "missing");
    check("DELETE FROM requests; DELETE FROM actions", 1, "cut off");
}

#[test]
fn a_removed_row_whose_numbers_were_closed_up_is_named() {
    check(
        "DELETE FROM requests WHERE seq = 50; UPDATE requests SET seq = seq - 1 WHERE seq BETWEEN 51 AND 100; \
         UPDATE actions SET seq = 100 WHERE seq = 101; UPDATE requests SET seq = seq - 1 WHERE seq > 101; \
         UPDATE actions SET seq = 201 WHERE seq = 202",
        50,
        "changed",
    );
}

#[test]
fn an_added_row_is_named() {
    let copy = |seq: i64| {
        format!(
            "INSERT INTO requests SELECT {seq}, time_us, status, method, path, query, client, request_id, scheme, \
                 listener, host, protocol, route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, \
                 bytes_out, duration_us, upstream_us, attempts, generation, link, tries, credential FROM requests WHERE seq = 7"
        )
    };
    check(&copy(101), 101, "added");
    check(&copy(203), 203, "changed");
    check(&copy(400), 203, "missing");
    check(&copy(-4), 1, "added");
    check("INSERT INTO gaps VALUES (203, 0, NULL, NULL, NULL, 'shed', x'00')", 203, "added: the row has no link");
}

#[test]
fn a_cut_tail_is_found_by_what_the_clean_end_noted_and_by_a_head() {
    check("DELETE FROM requests WHERE seq > 150; DELETE FROM actions WHERE seq > 150", 151, "cut off");
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 200);
    let head = store.head();
    store.close().unwrap();
    let cut = "DELETE FROM requests WHERE seq > 150; DELETE FROM actions WHERE seq > 150";
    sql(dir.path(), 0, &format!("{cut}; DELETE FROM meta WHERE name IN ('last_seq', 'last_link')"));
    assert!(verify(dir.path(), &[], &|| true).unwrap().intact, "nothing kept elsewhere: nobody can know");
    let broken = verify(dir.path(), &[head], &|| true).unwrap().broken.unwrap();
    assert!(broken.seq == 151 && broken.reason.starts_with("cut off"), "{broken:?}");
}

#[test]
fn a_head_of_another_chain_does_not_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 100);
    let head = Head { seq: 40, link: [7; 16] };
    assert_eq!(verify(dir.path(), &[head], &|| true).unwrap().broken.unwrap().seq, 40);
    assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
    for wrong in ["", "1", "1:", "x:07070707070707070707070707070707", "1:0707", "1:zz070707070707070707070707070707"] {
        assert!(matches!(wrong.parse::<Head>(), Err(StoreError::Head(_))), "{wrong}");
    }
}

#[test]
fn a_removed_or_foreign_segment_is_found() {
    let dir = tempfile::tempdir().unwrap();
    fill_segments(dir.path(), 300);
    assert!(verify(dir.path(), &[], &|| true).unwrap().intact);
    let files = segments(dir.path()).unwrap();
    let aside = dir.path().join("aside");
    for (removed, seq, range) in [(0, 1, "1 to 300"), (1, 301, "301 to 600")] {
        std::fs::rename(&files[removed].path, &aside).unwrap();
        let broken = verify(dir.path(), &[], &|| true).unwrap().broken.unwrap();
        assert!(broken.seq == seq && broken.reason.contains(range), "{broken:?}");
        std::fs::rename(&aside, &files[removed].path).unwrap();
    }
    sql(dir.path(), 2, "UPDATE meta SET value = zeroblob(16) WHERE name = 'previous_link'");
    assert_eq!(verify(dir.path(), &[], &|| true).unwrap().broken.unwrap().seq, 601);
}

#[test]
fn a_cut_tail_does_not_keep_the_store_from_starting_and_is_not_healed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 200);
    store.close().unwrap();
    sql(dir.path(), 0, "DELETE FROM requests WHERE seq > 150; DELETE FROM actions WHERE seq > 150");
    let store = open(dir.path());
    assert_eq!(store.head().seq, 203);
    store.close().unwrap();
    assert!(matches!(all(dir.path()).last(), Some(shared::audit::Row::Gap(gap)) if gap.gap.reason == "rows_removed"));
    assert_eq!(verify(dir.path(), &[], &|| true).unwrap().broken.unwrap().seq, 151);
}

#[test]
fn a_proof_that_nobody_waits_for_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    assert!(matches!(verify(dir.path(), &[], &|| false), Err(StoreError::Cancelled)));
}
