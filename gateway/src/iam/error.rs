//! Errors as IAM and STS say them.

use super::Api;
use crate::error::{Code, S3Error};
use crate::xml::Document;

/// The code that these services have for what S3 and the admin API call by another.
pub(super) fn code(code: Code) -> Code {
    match code {
        Code::InvalidAccessKeyId => Code::InvalidClientTokenId,
        Code::AuthorizationHeaderMalformed
        | Code::AuthorizationQueryParametersError
        | Code::RequestTimeTooSkewed
        | Code::XAmzContentSHA256Mismatch => Code::SignatureDoesNotMatch,
        Code::NoSuchUser => Code::NoSuchEntity,
        Code::UserAlreadyExists => Code::EntityAlreadyExists,
        Code::UserHasBuckets => Code::DeleteConflict,
        Code::InvalidArgument | Code::MaxMessageLengthExceeded => Code::ValidationError,
        Code::InternalError => Code::ServiceFailure,
        Code::SlowDown => Code::Throttling,
        code => code,
    }
}

/// The code, and the document that says it.
pub(crate) fn error(api: &Api, error: &S3Error, request_id: &str) -> (Code, Document) {
    let code = code(error.code);
    let kind = if code.status().is_server_error() { "Receiver" } else { "Sender" };
    let mut document = Document::within("ErrorResponse", api.namespace);
    document.open("Error").text("Type", kind).text("Code", code.as_str()).text("Message", error.message()).close();
    document.text("RequestId", request_id);
    (code, document)
}
