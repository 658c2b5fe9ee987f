//! Message codes (RFC 7252 section 12.1 and the registry that grew from it).

use core::fmt;

/// The code of a message: `class.detail`, for instance 0.01 (GET) or 2.05 (Content).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $class:literal . $detail:literal, $text:literal;)*) => {
        impl Code {
            $($(#[$doc])* #[doc = concat!(" ", $text, ".")] pub const $name: Self = Self(($class << 5) | $detail);)*

            /// The registered name of the code, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    EMPTY = 0 . 0, "Empty";
    GET = 0 . 1, "GET";
    POST = 0 . 2, "POST";
    PUT = 0 . 3, "PUT";
    DELETE = 0 . 4, "DELETE";
    /// RFC 8132.
    FETCH = 0 . 5, "FETCH";
    /// RFC 8132.
    PATCH = 0 . 6, "PATCH";
    /// RFC 8132.
    IPATCH = 0 . 7, "iPATCH";
    CREATED = 2 . 1, "Created";
    DELETED = 2 . 2, "Deleted";
    VALID = 2 . 3, "Valid";
    CHANGED = 2 . 4, "Changed";
    CONTENT = 2 . 5, "Content";
    /// RFC 7959.
    CONTINUE = 2 . 31, "Continue";
    BAD_REQUEST = 4 . 0, "Bad Request";
    UNAUTHORIZED = 4 . 1, "Unauthorized";
    BAD_OPTION = 4 . 2, "Bad Option";
    FORBIDDEN = 4 . 3, "Forbidden";
    NOT_FOUND = 4 . 4, "Not Found";
    METHOD_NOT_ALLOWED = 4 . 5, "Method Not Allowed";
    NOT_ACCEPTABLE = 4 . 6, "Not Acceptable";
    /// RFC 7959.
    REQUEST_ENTITY_INCOMPLETE = 4 . 8, "Request Entity Incomplete";
    /// RFC 8132.
    CONFLICT = 4 . 9, "Conflict";
    GONE = 4 . 10, "Gone";
    PRECONDITION_FAILED = 4 . 12, "Precondition Failed";
    REQUEST_ENTITY_TOO_LARGE = 4 . 13, "Request Entity Too Large";
    UNSUPPORTED_CONTENT_FORMAT = 4 . 15, "Unsupported Content-Format";
    /// RFC 8132.
    UNPROCESSABLE_ENTITY = 4 . 22, "Unprocessable Entity";
    /// RFC 8516.
    TOO_MANY_REQUESTS = 4 . 29, "Too Many Requests";
    INTERNAL_SERVER_ERROR = 5 . 0, "Internal Server Error";
    NOT_IMPLEMENTED = 5 . 1, "Not Implemented";
    BAD_GATEWAY = 5 . 2, "Bad Gateway";
    SERVICE_UNAVAILABLE = 5 . 3, "Service Unavailable";
    GATEWAY_TIMEOUT = 5 . 4, "Gateway Timeout";
    PROXYING_NOT_SUPPORTED = 5 . 5, "Proxying Not Supported";
    /// RFC 8768.
    HOP_LIMIT_REACHED = 5 . 8, "Hop Limit Reached";
}

impl Code {
    /// The class: 0 for requests (and the empty message), 2, 4 and 5 for responses.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail within the class.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// Whether this is a request's code, known or not (0.01 to 0.31).
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.detail() != 0
    }

    /// Whether this is a response's code, known or not (classes 2, 4 and 5).
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Whether this is a successful response's code (class 2).
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())?;
        match self.name() {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({self})")
    }
}
