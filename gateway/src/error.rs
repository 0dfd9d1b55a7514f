//! The one table of S3 errors: code, HTTP status, default message. Only this file knows S3's status codes.
//!
//! Clients compare the messages, too, so that they are those that S3 answers with, each with or without its full stop:
//! where S3's answers are known (in the documentation of its operations and SDKs) they go before the descriptions of the
//! API Reference, "Error responses", which has been written anew more than once.

use cairn_storage::client::ServiceError;
use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $status:literal $message:literal;)*) => {
        /// An S3 error code; its name on the wire is the name of the variant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// The code as S3 spells it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => stringify!($name),)* }
            }

            /// The HTTP status that goes with the code.
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Code::$name => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            /// What a person is told where the caller of the table has nothing better to say.
            pub fn message(self) -> &'static str {
                match self { $(Code::$name => $message,)* }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported 400 "The bucket does not allow ACLs";
    AccessDenied 403 "Access Denied";
    AuthorizationHeaderMalformed 400 "The authorization header that you provided is not valid.";
    AuthorizationQueryParametersError 400 "The query parameters of the signature are not valid.";
    BadDigest 400 "The Content-MD5 or checksum value that you specified did not match what the server received.";
    BadRequest 400 "The request is not valid.";
    BucketAlreadyExists 409 "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.";
    BucketAlreadyOwnedByYou 409 "Your previous request to create the named bucket succeeded and you already own it.";
    BucketNotEmpty 409 "The bucket you tried to delete is not empty.";
    ConditionalRequestConflict 409 "The conditional request cannot succeed due to a conflicting operation against this resource.";
    EntityTooLarge 400 "Your proposed upload exceeds the maximum allowed size";
    EntityTooSmall 400 "Your proposed upload is smaller than the minimum allowed size";
    IllegalLocationConstraintException 400 "The specified location constraint is incompatible for the region specific endpoint this request was sent to.";
    IncompleteBody 400 "You did not provide the number of bytes specified by the Content-Length HTTP header";
    InternalError 500 "We encountered an internal error. Please try again.";
    InvalidAccessKeyId 403 "The AWS Access Key Id you provided does not exist in our records.";
    InvalidArgument 400 "Invalid Argument";
    InvalidBucketAclWithObjectOwnership 400 "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
    InvalidBucketName 400 "The specified bucket is not valid.";
    InvalidDigest 400 "The Content-MD5 you specified was invalid.";
    InvalidLocationConstraint 400 "The specified location-constraint is not valid";
    InvalidPart 400 "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.";
    InvalidPartNumber 416 "The requested partnumber is not satisfiable";
    InvalidPartOrder 400 "The list of parts was not in ascending order. Parts must be ordered by part number.";
    InvalidRange 416 "The requested range is not satisfiable";
    InvalidRequest 400 "Invalid Request";
    InvalidStorageClass 400 "The storage class you specified is not valid";
    InvalidURI 400 "Couldn't parse the specified URI.";
    KeyTooLongError 400 "Your key is too long";
    MalformedACLError 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MalformedPolicy 400 "Policies must be valid JSON and the first byte must be '{'";
    MalformedTrailerError 400 "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    MalformedXML 400 "The XML you provided was not well-formed or did not validate against our published schema";
    MaxMessageLengthExceeded 400 "Your request was too big.";
    MetadataTooLarge 400 "Your metadata headers exceed the maximum allowed metadata size";
    MethodNotAllowed 405 "The specified method is not allowed against this resource.";
    MissingContentLength 411 "You must provide the Content-Length HTTP header.";
    MissingRequestBodyError 400 "Request Body is empty";
    MissingSecurityHeader 400 "Your request was missing a required header";
    NoSuchBucket 404 "The specified bucket does not exist";
    NoSuchBucketPolicy 404 "The bucket policy does not exist";
    NoSuchKey 404 "The specified key does not exist.";
    NoSuchPublicAccessBlockConfiguration 404 "The public access block configuration was not found";
    NoSuchUpload 404 "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    NoSuchVersion 404 "The specified version does not exist.";
    NotImplemented 501 "A header you provided implies functionality that is not implemented";
    NotModified 304 "Not Modified";
    OperationAborted 409 "A conflicting conditional operation is currently in progress against this resource. Please try again.";
    OwnershipControlsNotFoundError 404 "The bucket ownership controls were not found";
    PreconditionFailed 412 "At least one of the pre-conditions you specified did not hold";
    RequestHeaderSectionTooLarge 400 "Your request header section exceeds the maximum allowed size.";
    RequestTimeout 400 "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.";
    RequestTimeTooSkewed 403 "The difference between the request time and the current time is too large.";
    ServiceUnavailable 503 "Service is unable to handle request.";
    SignatureDoesNotMatch 403 "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    SlowDown 503 "Please reduce your request rate.";
    /// Ours: the disks have no room for new data. 503, so that clients try again.
    StorageFull 503 "The storage has no room for new data. Delete something, or add a disk.";
    UnexpectedContent 400 "This request contains unsupported content.";
    UnresolvableGrantByEmailAddress 400 "The e-mail address you provided does not match any account on record.";
    XAmzContentSHA256Mismatch 400 "The provided 'x-amz-content-sha256' header does not match what was computed.";
    /// Of the admin API.
    DeleteConflict 409 "It is in use: attached to somebody, or not empty.";
    /// Of the admin API.
    EntityAlreadyExists 409 "There is one of this name already.";
    /// Of the admin API.
    LimitExceeded 409 "There are too many of them, or it is too long.";
    /// Of the admin API.
    MalformedPolicyDocument 400 "The policy is not well formed.";
    /// Of the admin API.
    NoSuchEntity 404 "There is none of this name.";
    /// Of the admin API.
    NoSuchUser 404 "There is no user of this name.";
    /// Of the admin API.
    UserAlreadyExists 409 "There is a user of this name already.";
    /// Of the admin API.
    UserHasBuckets 409 "The user still owns buckets.";
    /// Of IAM and STS.
    InvalidAction 400 "There is no such action here.";
    /// Of IAM and STS.
    InvalidClientTokenId 403 "The security token included in the request is invalid.";
    /// Of IAM and STS.
    MissingAuthenticationToken 403 "Request is missing Authentication Token";
    /// Of IAM and STS.
    ServiceFailure 500 "The request processing has failed because of an unknown error. Please try again.";
    /// Of IAM and STS.
    Throttling 400 "Rate exceeded";
    /// Of IAM and STS.
    UnmodifiableEntity 400 "It cannot be changed.";
    /// Of IAM and STS.
    ValidationError 400 "A parameter is missing, or has a value that it cannot have.";
}

/// What a client is told went wrong. Internal causes are logged where they are handled and never put in here.
#[derive(Debug, Clone)]
pub struct S3Error {
    pub code: Code,
    /// In place of the table's message.
    pub message: Option<String>,
    /// Further elements of the XML answer, such as `ArgumentName`.
    pub details: Vec<(&'static str, String)>,
    /// Further headers of the answer, such as `Content-Range` with a 416, `ETag` with a 304.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl S3Error {
    pub fn new(code: Code) -> Self {
        Self { code, message: None, details: Vec::new(), headers: Vec::new() }
    }

    /// With a message of its own.
    pub fn with(code: Code, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(code) }
    }

    /// With one more XML element.
    pub fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// With one more header.
    pub fn header(mut self, name: http::HeaderName, value: http::HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What the client reads.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| self.code.message())
    }
}

impl From<Code> for S3Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<ServiceError> for S3Error {
    /// What is known of a call to a group that gave no answer. Whether a command took effect is unknown then.
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Unavailable => Code::ServiceUnavailable.into(),
            ServiceError::Busy => Code::SlowDown.into(),
            ServiceError::Full => Code::StorageFull.into(),
            ServiceError::Refused(reason) => {
                tracing::error!(reason, "a group refused a request");
                Code::InternalError.into()
            }
        }
    }
}

impl std::fmt::Display for S3Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message())
    }
}

impl std::error::Error for S3Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_spelling_and_the_status_of_s3() {
        assert_eq!((Code::NoSuchKey.as_str(), Code::NoSuchKey.status()), ("NoSuchKey", StatusCode::NOT_FOUND));
        assert_eq!(Code::SlowDown.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(Code::NotModified.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(Code::InvalidRange.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(Code::MissingContentLength.status(), StatusCode::LENGTH_REQUIRED);
        assert_eq!(Code::NotImplemented.status(), StatusCode::NOT_IMPLEMENTED);
    }

    /// The texts that S3 ends without a full stop are these, of those that clients are known to look at.
    #[test]
    fn texts_have_the_wording_and_the_full_stops_of_s3() {
        for (code, text) in [
            (Code::AccessDenied, "Access Denied"),
            (Code::BucketNotEmpty, "The bucket you tried to delete is not empty."),
            (Code::NoSuchBucket, "The specified bucket does not exist"),
            (Code::NoSuchKey, "The specified key does not exist."),
            (Code::NoSuchVersion, "The specified version does not exist."),
            (Code::InvalidBucketName, "The specified bucket is not valid."),
            (Code::InternalError, "We encountered an internal error. Please try again."),
            (Code::SlowDown, "Please reduce your request rate."),
            (Code::InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."),
            (Code::MissingContentLength, "You must provide the Content-Length HTTP header."),
            (Code::MethodNotAllowed, "The specified method is not allowed against this resource."),
            (Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold"),
        ] {
            assert_eq!(code.message(), text);
        }
        for code in [
            Code::EntityTooLarge,
            Code::EntityTooSmall,
            Code::IncompleteBody,
            Code::InvalidLocationConstraint,
            Code::InvalidPartNumber,
            Code::InvalidRange,
            Code::InvalidStorageClass,
            Code::KeyTooLongError,
            Code::MalformedXML,
            Code::MetadataTooLarge,
            Code::NotImplemented,
        ] {
            assert!(!code.message().ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn what_a_group_refused_is_not_told_to_the_client() {
        let error = S3Error::from(ServiceError::Refused("the secret inside".to_owned()));
        assert_eq!(error.code, Code::InternalError);
        assert!(!error.to_string().contains("secret"));
        assert_eq!(S3Error::from(ServiceError::Unavailable).code, Code::ServiceUnavailable);
        assert_eq!(S3Error::from(ServiceError::Busy).code, Code::SlowDown);
        assert_eq!(S3Error::from(ServiceError::Full).code, Code::StorageFull);
    }
}
