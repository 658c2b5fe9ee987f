//! The message format: the checked view, its options, block values, and writing what was read.

use capmesh_coap::block::BlockValue;
use capmesh_coap::message::{Message, MessageWriter};
use capmesh_coap::option::OptionNumber;

/// Reads the input as a message; one that is well formed is written again, its options in reverse
/// order, and has to read the same.
pub fn run(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    for number in [OptionNumber::BLOCK1, OptionNumber::BLOCK2] {
        let _ = BlockValue::find(&message, number);
    }
    let _ = format!("{message:?}");
    // Each option may need two bytes more than where delta and length were not in the shortest form.
    let mut buf = vec![0; data.len() + 2];
    let header = (message.kind(), message.code(), message.id(), message.token());
    let mut writer = MessageWriter::new(&mut buf, header.0, header.1, header.2, header.3)
        .expect("the header fits");
    let options: Vec<_> = message.options().collect();
    for (i, (number, value)) in options.iter().enumerate().rev() {
        // Options of one number keep their order only when they are written in it.
        if i > 0 && options[i - 1].0 == *number {
            continue;
        }
        for (_, value) in options[i..].iter().take_while(|(n, _)| n == number) {
            writer.option(*number, value).expect("options fit where they came from");
        }
        let _ = value;
    }
    writer.payload(message.payload()).expect("the payload fits where it came from");
    let len = writer.finish();
    let again = Message::parse(&buf[..len]).expect("what was written is well formed");
    assert_eq!((again.kind(), again.code(), again.id(), again.token()), header);
    assert!(again.options().eq(options));
    assert_eq!(again.payload(), message.payload());
    assert!(len <= data.len(), "the shortest form is not longer");
}
