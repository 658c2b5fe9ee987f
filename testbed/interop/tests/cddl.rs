//! The golden bytes of `capmesh-wire` against its CDDL and against `cbor2`: other people's readers
//! of both, in the Python environment that aiocoap lives in.

use capmesh_interop::peers::{Aiocoap, root};
use std::collections::BTreeSet;

/// Which rule describes which of the golden bytes.
const RULES: &[(&str, &[&str])] = &[
    ("-", &["bundle", "said_ask", "said_part"]),
    ("ack", &["ack"]),
    ("announce", &["announce", "announce_new"]),
    ("batch", &["batch_full", "batch_one"]),
    ("blob-ref", &["blob_ref"]),
    ("capsule", &["capsule_full", "capsule_small"]),
    ("capsule-status", &["capsule_status_full", "capsule_status_small"]),
    ("clock", &["clock"]),
    (
        "command",
        &[
            "adopt",
            "adopt_claimed",
            "checkpoint",
            "install",
            "prepare",
            "quiesce",
            "reboot",
            "release",
            "remove",
            "renew",
            "renew_since",
            "restore",
            "resume",
            "run",
            "start",
            "stop",
        ],
    ),
    ("credential", &["credential"]),
    ("have", &["have"]),
    ("inventory", &["inventory_full", "inventory_small"]),
    ("log-line", &["log_line"]),
    ("manifest", &["manifest"]),
    ("payload", &["payload"]),
    ("piece-request", &["piece_request"]),
    ("plan", &["plan_full", "plan_small"]),
    ("problem", &["problem_full", "problem_small"]),
    ("reply", &["reply_accepted", "reply_done", "reply_renewed", "reply_result", "reply_snapshot"]),
    ("resolved", &["resolved"]),
    ("roster", &["roster", "roster_2"]),
    ("roster-delta", &["roster_delta"]),
    ("roster-head", &["roster_head"]),
    ("schema", &["schema"]),
    ("signed-plan", &["signed_plan"]),
    ("snapshot-header", &["snapshot_full", "snapshot_small"]),
    ("status", &["status_full", "status_small"]),
    ("time-reply", &["time_reply"]),
    ("time-request", &["time_request"]),
    ("timestamp", &["timestamp", "timestamp_unsynchronised"]),
];

#[test]
fn every_golden_file_has_its_rule() {
    let directory = root().join("protocols/wire/tests/golden/v1");
    let files: BTreeSet<String> = std::fs::read_dir(directory)
        .expect("the directory is there")
        .map(|file| file.expect("it is readable").path())
        .map(|path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let named = RULES.iter().flat_map(|(_, names)| *names).map(|name| (*name).to_owned()).collect();
    assert_eq!(files, named);
}

#[test]
fn golden_bytes_are_what_the_cddl_says_and_canonical() {
    let Some(python) = Aiocoap::find() else { return };
    let wire = root().join("protocols/wire");
    let pairs = RULES
        .iter()
        .flat_map(|(rule, names)| names.iter().map(move |name| format!("{name}={rule}")));
    let output = python
        .command(&root().join("testbed/interop/peers/cddl_check.py"))
        .args([wire.join("wire.cddl"), wire.join("tests/golden/v1")])
        .args(pairs)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
