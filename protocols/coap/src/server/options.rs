//! Which options a request may have, and what those that make it conditional say.

use super::refusal::Refusal;
use super::resource::Resource;
use crate::block::ETag;
use crate::message::{Code, Message};
use crate::option::OptionNumber;
use core::ops::RangeInclusive;

/// The critical options that the server understands: the lengths they may have and whether they may
/// be repeated (RFC 7252 table 4, RFC 7959 section 2.1).
fn known(number: OptionNumber) -> Option<(RangeInclusive<usize>, bool)> {
    Some(match number {
        OptionNumber::IF_MATCH => (0..=8, true),
        OptionNumber::URI_HOST => (1..=255, false),
        OptionNumber::IF_NONE_MATCH => (0..=0, false),
        OptionNumber::URI_PORT | OptionNumber::ACCEPT => (0..=2, false),
        OptionNumber::URI_PATH | OptionNumber::URI_QUERY => (0..=255, true),
        OptionNumber::BLOCK1 | OptionNumber::BLOCK2 => (0..=3, false),
        _ => return None,
    })
}

/// Checks that all critical options are understood, by the server or by the resource. One that is
/// repeated though it may not be, or whose value is not of its format, counts as not understood
/// (RFC 7252 sections 5.4.3 and 5.4.5).
///
/// # Errors
/// 4.02 (Bad Option), or 5.05 if this is a request to a proxy.
pub(super) fn check<P: Copy>(
    request: Message<'_>,
    resource: Option<&dyn Resource<P>>,
) -> Result<(), Refusal> {
    let mut previous = None;
    for (number, value) in request.options() {
        let repeated = previous.replace(number) == Some(number);
        if matches!(number, OptionNumber::PROXY_URI | OptionNumber::PROXY_SCHEME) {
            return Err(Refusal::new(Code::PROXYING_NOT_SUPPORTED));
        }
        if !number.is_critical() {
            continue;
        }
        let fits = known(number).is_some_and(|(lengths, repeatable)| {
            lengths.contains(&value.len())
                && (repeatable || !repeated)
                && (!is_text(number) || core::str::from_utf8(value).is_ok())
        });
        if !fits && !resource.is_some_and(|resource| resource.understands(number)) {
            return Err(Refusal::new(Code::BAD_OPTION).because("critical option not understood"));
        }
    }
    Ok(())
}

fn is_text(number: OptionNumber) -> bool {
    matches!(number, OptionNumber::URI_HOST | OptionNumber::URI_PATH | OptionNumber::URI_QUERY)
}

/// Whether the request depends on what the resource is now.
pub(super) fn is_conditional(request: Message<'_>) -> bool {
    request.option(OptionNumber::IF_MATCH).is_some()
        || request.option(OptionNumber::IF_NONE_MATCH).is_some()
}

/// Checks If-Match and If-None-Match (RFC 7252 section 5.10.8) against the entity-tag of the present
/// representation, if there is one.
///
/// # Errors
/// 4.12 (Precondition Failed).
pub(super) fn check_conditions(request: Message<'_>, present: Option<ETag>) -> Result<(), Refusal> {
    let mut wanted = request.option_values(OptionNumber::IF_MATCH).peekable();
    let matches = wanted.peek().is_none()
        || present
            .is_some_and(|tag| wanted.any(|wanted| wanted.is_empty() || wanted == tag.as_bytes()));
    let absent = request.option(OptionNumber::IF_NONE_MATCH).is_none() || present.is_none();
    if matches && absent { Ok(()) } else { Err(Refusal::new(Code::PRECONDITION_FAILED)) }
}

/// Whether one of the request's entity-tags is this one: the client has the representation already
/// (RFC 7252 section 5.10.6.2).
pub(super) fn is_valid(request: Message<'_>, tag: ETag) -> bool {
    request.option_values(OptionNumber::ETAG).any(|value| value == tag.as_bytes())
}
