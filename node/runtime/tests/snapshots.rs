//! A restored instance goes on as if nothing had happened.

mod common;

use capmesh_runtime::{Event, Limits, Progress, RestoreError, SnapshotError};
use common::{COUNTER, instance, instance_of, run, send, wasm};
use proptest::prelude::*;

fn snapshot(instance: &capmesh_runtime::Instance, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    instance.snapshot(&wasm(text), &mut bytes, 100_000).expect("quiescent");
    bytes
}

fn started() -> capmesh_runtime::Instance {
    let mut counter = instance(COUNTER);
    assert_eq!(run(&mut counter, &Event::Start), Progress::Idle);
    counter
}

#[test]
fn ten_thousand_messages_with_moves_give_what_they_give_without() {
    let (mut stays, mut moves) = (started(), started());
    for i in 0..10_000 {
        assert_eq!(send(&mut stays, i), send(&mut moves, i));
        if i % 1_000 == 500 {
            let state = snapshot(&moves, COUNTER);
            moves = instance(COUNTER);
            moves.restore(&state).expect("it is this module's");
            assert_eq!(snapshot(&moves, COUNTER), state);
        }
    }
}

#[test]
fn the_snapshot_of_a_small_state_is_small() {
    let mut counter = started();
    send(&mut counter, 1);
    let bytes = snapshot(&counter, COUNTER);
    assert!(bytes.len() <= 60, "{} bytes", bytes.len());
    let fresh = snapshot(&instance(COUNTER), COUNTER);
    assert_eq!(fresh.len(), 18, "version, generator, request, memory size and one global");
}

#[test]
fn grown_memory_and_overwritten_data_come_back() {
    let text = r#"(module (memory (export "memory") 16 (pagesize 1)) (data (i32.const 4) "data")
        (global (mut f64) (f64.const 1.5)) (export "$g0" (global 0))
        (global (mut i64) (i64.const 7)) (export "$g1" (global 1))
        (func (export "timer") (param i32)
            (drop (memory.grow (i32.const 1000)))
            (i32.store (i32.const 4) (i32.const 0))
            (i32.store8 (i32.const 1015) (i32.const 255))
            (global.set 0 (f64.const -0.25)) (global.set 1 (i64.const -1))))"#;
    let mut before = instance(text);
    assert_eq!(run(&mut before, &Event::Timer { timer: 0 }), Progress::Idle);
    let state = snapshot(&before, text);
    let mut after = instance(text);
    after.restore(&state).unwrap();
    assert_eq!(after.memory_size(), 1_016);
    assert_eq!(snapshot(&after, text), state);
}

#[test]
fn a_snapshot_longer_than_allowed_is_refused() {
    let mut counter = started();
    send(&mut counter, 1);
    let module = wasm(COUNTER);
    assert_eq!(counter.snapshot(&module, &mut Vec::new(), 30), Err(SnapshotError::TooLarge));
}

#[test]
fn a_snapshot_of_another_module_is_refused() {
    let state = snapshot(&started(), COUNTER);
    let other = r#"(module (memory (export "memory") 600 (pagesize 1))
        (func (export "timer") (param i32)))"#;
    assert_eq!(instance(other).restore(&state), Err(RestoreError::OtherModule));
    let limits = Limits { memory: 600, ..Limits::default() };
    let mut bytes = state.clone();
    bytes[10..12].copy_from_slice(&[0xd9, 0x04]);
    let restored = instance_of(&wasm(COUNTER), &limits).restore(&bytes);
    assert_eq!(restored, Err(RestoreError::OtherModule), "601 bytes of memory");
}

#[test]
fn an_unknown_version_and_a_cut_snapshot_are_refused() {
    let mut counter = started();
    send(&mut counter, 1);
    let state = snapshot(&counter, COUNTER);
    let mut newer = state.clone();
    newer[0] = 2;
    assert_eq!(instance(COUNTER).restore(&newer), Err(RestoreError::Version));
    let runs_at = 18;
    for cut in 0..runs_at {
        assert!(instance(COUNTER).restore(&state[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = instance(COUNTER).restore(&bytes);
    }

    #[test]
    fn mutated_snapshots_never_panic(at in 0_usize..50, byte in any::<u8>(), cut in 0_usize..60) {
        let mut counter = started();
        send(&mut counter, 1);
        let mut state = snapshot(&counter, COUNTER);
        if let Some(place) = state.get_mut(at) {
            *place = byte;
        }
        state.truncate(cut);
        let _ = instance(COUNTER).restore(&state);
    }
}
