//! OSCORE by itself: 64 bytes of payload protected and unprotected.

use capmesh_coap::{
    message::{Code, Kind, Message, MessageWriter, Token},
    option::OptionNumber,
};
use capmesh_oscore::{Context, Parameters};
use footprint::{fail, measure, must, report_cost, text};

/// A request and its response, each protected and unprotected.
pub fn measure_oscore() {
    let (mut client, mut server) = (context(&[1], &[2]), context(&[2], &[1]));
    let (mut plain, mut sealed, mut opened) = ([0; 256], [0; 256], [0; 256]);

    let request = must(message(&mut plain, Code::POST), text!("request"));
    let (result, cost) = measure(|| client.protect_request(request, &mut sealed).ok());
    report_cost(text!("protect_64"), cost);
    let (len, mut binding) = must(result, text!("protected request"));

    let outer = must(parse(&sealed, len), text!("outer request"));
    let (result, cost) = measure(|| server.unprotect_request(outer, &mut opened).ok());
    report_cost(text!("unprotect_64"), cost);
    let (inner, asked) = must(result, text!("unprotected request"));
    if inner.payload().len() != 64 {
        fail(text!("request's payload"));
    }

    let response = must(message(&mut plain, Code::CONTENT), text!("response"));
    let (result, cost) = measure(|| server.protect_response(&asked, response, &mut sealed).ok());
    report_cost(text!("protect_response_64"), cost);
    let len = must(result, text!("protected response"));

    let outer = must(parse(&sealed, len), text!("outer response"));
    let (result, cost) =
        measure(|| client.unprotect_response(&mut binding, outer, &mut opened).is_ok());
    report_cost(text!("unprotect_response_64"), cost);
    if !result {
        fail(text!("unprotected response"));
    }
}

fn context(sender_id: &[u8], recipient_id: &[u8]) -> Context {
    let parameters = Parameters {
        master_secret: &[3; 16],
        master_salt: &[4; 8],
        id_context: None,
        sender_id,
        recipient_id,
    };
    must(Context::derive(&parameters).ok(), text!("context"))
}

fn message(buf: &mut [u8], code: Code) -> Option<Message<'_>> {
    let mut writer = MessageWriter::new(buf, Kind::Confirmable, code, 1, Token::EMPTY).ok()?;
    if code.is_request() {
        writer.option(OptionNumber::URI_PATH, b"sensors").ok()?;
    }
    writer.payload(&[7; 64]).ok()?;
    Some(writer.into_message())
}

fn parse(datagram: &[u8], len: usize) -> Option<Message<'_>> {
    Message::parse(datagram.get(..len)?).ok()
}
