use super::*;

#[test]
fn nothing_is_taken_beyond_what_is_durable() {
    let mut sequence = SequenceReservation::stored(0, 4);
    assert_eq!(sequence.take(), Err(ProtectError::NotReserved));
    assert_eq!(sequence.wanted(), Some(4));
    sequence.confirm(4);
    assert_eq!(sequence.wanted(), None);
    assert_eq!([sequence.take(), sequence.take()], [Ok(0), Ok(1)]);
    assert_eq!(sequence.wanted(), Some(8), "half of the step is left: time to store the next");
    assert_eq!([sequence.take(), sequence.take()], [Ok(2), Ok(3)]);
    assert_eq!(sequence.take(), Err(ProtectError::NotReserved));
    sequence.confirm(8);
    assert_eq!(sequence.take(), Ok(4));
    sequence.confirm(3);
    assert_eq!(sequence.take(), Ok(5), "an older bound takes nothing back");
}

#[test]
fn a_restart_begins_at_the_stored_bound() {
    let mut sequence = SequenceReservation::stored(8, 4);
    assert_eq!(sequence.take(), Err(ProtectError::NotReserved));
    sequence.confirm(sequence.wanted().unwrap());
    assert_eq!(sequence.take(), Ok(8));
}

#[test]
fn numbers_end_at_2_to_the_40th() {
    let mut sequence = SequenceReservation::stored(MAX_PARTIAL_IV - 1, 100);
    assert_eq!(sequence.wanted(), Some(MAX_PARTIAL_IV + 1));
    sequence.confirm(u64::MAX);
    assert_eq!(sequence.wanted(), None);
    assert_eq!([sequence.take(), sequence.take()], [Ok(MAX_PARTIAL_IV - 1), Ok(MAX_PARTIAL_IV)]);
    assert_eq!(sequence.take(), Err(ProtectError::Exhausted));
    assert_eq!(sequence.wanted(), None);

    let mut corrupt = SequenceReservation::stored(u64::MAX, 1);
    assert_eq!(corrupt.take(), Err(ProtectError::Exhausted));
    assert_eq!(corrupt.wanted(), None);
}

#[test]
fn volatile_numbers_need_no_storage() {
    let mut sequence = SequenceReservation::volatile();
    assert_eq!(sequence.wanted(), None);
    assert_eq!(sequence.take(), Ok(0));
}

#[test]
fn a_step_of_one_stores_before_each_message() {
    let mut sequence = SequenceReservation::stored(0, 0);
    for number in 0..3 {
        assert_eq!(sequence.take(), Err(ProtectError::NotReserved));
        sequence.confirm(sequence.wanted().unwrap());
        assert_eq!(sequence.take(), Ok(number));
    }
}
