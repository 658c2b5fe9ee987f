use super::*;

fn parts(uri: &str) -> Result<(&str, &str, &str), ProtectError> {
    let text = |bytes| core::str::from_utf8(bytes).unwrap();
    let uri = ProxyUri::parse(uri.as_bytes())?;
    Ok((text(uri.origin), text(uri.path), text(uri.query)))
}

#[test]
fn uris_split_into_origin_path_and_query() {
    assert_eq!(
        parts("coap://example.com/resource?q=1"),
        Ok(("coap://example.com", "/resource", "?q=1"))
    );
    assert_eq!(parts("coap://[::1]:5683"), Ok(("coap://[::1]:5683", "", "")));
    assert_eq!(parts("coaps+tcp://h?a/b"), Ok(("coaps+tcp://h", "", "?a/b")));
    assert_eq!(parts("coap://h//x//"), Ok(("coap://h", "//x//", "")));
}

#[test]
fn what_is_no_absolute_uri_is_refused() {
    for uri in ["", "coap", "/path", "://h/", "coap:///path", "coap://", "coap://?q", "coap://h/#f"]
    {
        assert_eq!(parts(uri), Err(ProtectError::ProxyUri), "{uri}");
    }
}
