use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn each_is_accepted_once_in_any_order_within_the_width() {
    let mut window = ReplayWindow::EMPTY;
    for piv in [70, 7, 69, 8, 40] {
        assert!(window.is_new(piv));
        window.accept(piv);
        assert!(!window.is_new(piv));
    }
    assert!(!window.is_new(6), "64 behind the newest");
    assert!(window.is_new(9));
    window.accept(71);
    assert!(!window.is_new(7) && !window.is_new(8));
    window.accept(71 + 64);
    assert!((0..=71).all(|piv| !window.is_new(piv)));
    assert!((72..71 + 64).all(|piv| window.is_new(piv)));
}

#[test]
fn a_far_jump_forgets_everything_behind() {
    let mut window = ReplayWindow::EMPTY;
    window.accept(0);
    window.accept((1 << 40) - 1);
    assert!(!window.is_new(0) && !window.is_new((1 << 40) - 1));
    assert!(window.is_new((1 << 40) - 2));
}

#[test]
fn a_nonce_is_free_once_and_only_for_a_received_request() {
    let mut window = ReplayWindow::EMPTY;
    assert!(!window.take_nonce(3));
    window.accept(3);
    window.accept(5);
    assert!(window.take_nonce(3) && !window.take_nonce(3));
    assert!(!window.take_nonce(4), "not received");
    window.accept(4);
    assert!(!window.take_nonce(4), "was refused before, so it stays refused");
    assert!(window.take_nonce(5) && !window.take_nonce(5));
    window.accept(100);
    assert!(!window.take_nonce(5), "out of the window");
}

#[test]
fn stored_windows_refuse_what_they_have_seen() {
    let mut window = ReplayWindow::EMPTY;
    window.accept(10);
    window.accept(12);
    let (edge, seen) = window.to_parts();
    let mut restored = ReplayWindow::from_parts(edge, seen);
    assert!(!restored.is_new(10) && restored.is_new(11) && !restored.is_new(12));
    assert!(!restored.take_nonce(12), "it may have been answered before");
    restored.accept(13);
    assert!(restored.take_nonce(13));
}

#[test]
fn a_window_that_starts_with_a_request_accepts_only_newer_ones() {
    let mut window = ReplayWindow::starting_with(1000);
    assert!((0..=1000).all(|piv| !window.is_new(piv)));
    assert!(window.is_new(1001));
    assert!(window.take_nonce(1000) && !window.take_nonce(1000));
    assert!(!window.take_nonce(999));
}

proptest! {
    /// The window against a set of all that was accepted.
    #[test]
    fn accepts_what_a_set_would(pivs in prop::collection::vec(0_u64..300, 0..200)) {
        let mut window = ReplayWindow::EMPTY;
        let mut accepted = BTreeSet::new();
        for piv in pivs {
            let newest = accepted.last().copied();
            let too_old = newest.is_some_and(|newest| piv + 64 <= newest);
            let expected = !too_old && !accepted.contains(&piv);
            prop_assert_eq!(window.is_new(piv), expected);
            if expected {
                window.accept(piv);
                accepted.insert(piv);
            }
        }
    }
}
