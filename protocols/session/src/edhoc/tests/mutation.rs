//! Ninety thousand mutated messages: none may panic, and none may be taken for the original.

use super::rfc9529::*;
use super::*;

/// xorshift64: the same mutations in every run.
struct Mutator(u64);

impl Mutator {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next(256)).unwrap()
    }

    /// Overwrites, cuts, extends; half of the time keeps the outer byte string consistent, so that
    /// the mutation gets past the framing.
    fn mutate(&mut self, message: &[u8], framed_from: Option<usize>) -> std::vec::Vec<u8> {
        let mut bytes = message.to_vec();
        if self.next(2) == 0 {
            for _ in 0..=self.next(3) {
                let at = self.next(bytes.len());
                bytes[at] = self.byte();
            }
        }
        if self.next(3) == 0 {
            bytes.truncate(self.next(bytes.len() + 1));
        }
        if self.next(2) == 0 {
            for _ in 0..self.next(60) {
                bytes.push(self.byte());
            }
        }
        match framed_from {
            Some(from) if self.next(2) == 0 && bytes.len() > from => {
                let content = bytes.split_off(from);
                let len = u8::try_from(content.len()).unwrap();
                let head = if len < 24 { std::vec![0x40 | len] } else { std::vec![0x58, len] };
                [head, content].concat()
            }
            _ => bytes,
        }
    }
}

const ROUNDS: usize = 30_000;

#[test]
fn mutated_message_1() {
    let mut mutator = Mutator(0x77777);
    let mut answered = 0;
    for _ in 0..ROUNDS {
        let message = mutator.mutate(&MESSAGE_1, None);
        let Ok(parsed) = Message1::parse(&message) else { continue };
        // The public-key operations are the slow part: one in eight shows enough of them.
        if mutator.next(8) != 0 {
            continue;
        }
        let c_r = ConnectionId::new(&C_R).unwrap();
        let mut out = [0; MAX_MESSAGE];
        let ephemeral = ephemeral(Y);
        answered += usize::from(
            parsed.answer(ephemeral, &responder(), c_r, Transfer::ByReference, &mut out).is_ok(),
        );
    }
    assert!(answered > 50, "the mutations stay too shallow: {answered}");
}

#[test]
fn mutated_message_2() {
    let mut mutator = Mutator(0x88888);
    let mut parsed = 0;
    let state = || {
        let c_i = ConnectionId::new(&C_I).unwrap();
        Initiator::start_with_suites(&ephemeral(X), &[6, 2], c_i, &mut [0; MAX_MESSAGE]).unwrap().0
    };
    for _ in 0..ROUNDS {
        let message = mutator.mutate(&MESSAGE_2, Some(2));
        if message::read_message_2(&message).is_err() || mutator.next(16) != 0 {
            continue;
        }
        let Ok(message_2) = state().receive(&message) else { continue };
        parsed += 1;
        if message == MESSAGE_2 {
            continue;
        }
        let cred = responder().credential().clone();
        let mut out = [0; MAX_MESSAGE];
        let verified = message_2.verify(&cred, &initiator(), Transfer::ByReference, &mut out);
        assert!(verified.is_err());
    }
    assert!(parsed > 10, "the mutations stay too shallow: {parsed}");
}

#[test]
fn mutated_message_3() {
    let mut mutator = Mutator(0x99999);
    let c_r = ConnectionId::new(&C_R).unwrap();
    let (wait, _) = Message1::parse(&MESSAGE_1)
        .unwrap()
        .answer(ephemeral(Y), &responder(), c_r, Transfer::ByReference, &mut [0; MAX_MESSAGE])
        .unwrap();
    let mut framed = 0;
    for _ in 0..ROUNDS {
        let message = mutator.mutate(&MESSAGE_3, Some(1));
        framed += usize::from(message::read_ciphertext(&message).is_ok());
        assert!(wait.receive(&message).is_err() || message == MESSAGE_3);
    }
    assert!(framed > 5_000, "the mutations stay too shallow: {framed}");
}

/// Plaintexts inside authentic encryption, which an attacker who takes part in the exchange can make.
#[test]
fn mutated_plaintexts() {
    let mut mutator = Mutator(0xaaaaa);
    let by_value = [&[0x27, 0xa1, 0x0e][..], &CRED_R, &[0x48], &[7; 8], &[0x01, 0x43, 1, 2, 3]];
    let by_value = by_value.concat();
    let by_kid = [&[0x27, 0x32, 0x48][..], &[7; 8], &[0x01, 0x43, 1, 2, 3]].concat();
    let mut read = 0;
    for round in 0..ROUNDS {
        let seed = if round % 2 == 0 { &by_value } else { &by_kid };
        let mut plaintext = mutator.mutate(seed, None);
        plaintext.truncate(150);
        let is_2 = message::Plaintext::read_2(&plaintext);
        read += usize::from(is_2.is_ok());
        let _ = message::Plaintext::read_3(&plaintext);
        if round % 64 != 0 || plaintext.is_empty() {
            continue;
        }
        let mut out = [0; MAX_MESSAGE];
        let c_i = ConnectionId::new(&C_I).unwrap();
        let (wait_2, len) = Initiator::start(ephemeral(X), c_i, &mut out).unwrap();
        let hostile = hostile::message_2(&out[..len], &plaintext);
        assert_eq!(wait_2.receive(&hostile).is_ok(), is_2.is_ok());
    }
    assert!(read > 1_000, "the mutations stay too shallow: {read}");
}
