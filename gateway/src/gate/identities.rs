//! Who may see and change users, groups and policies by way of IAM: root, by a key that nothing narrows, and whom the
//! policies of the user, of the groups and of the key allow it. Nobody owns anything here.

use super::circumstances::Circumstances;
use super::{Identity, Pass, admit_to_admin};
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::operation::Version;
use crate::policy::{Asked, Because, Context, Decision, Grounds, decide};
use crate::request::Request;

/// What a request may do to users, groups and policies.
///
/// # Errors
/// `AccessDenied`.
pub fn admit_to_identities(
    gateway: &Gateway,
    request: &Request,
    caller: &Identity,
    action: &str,
    resource: &str,
) -> Result<Pass, S3Error> {
    if caller.is_root() {
        return admit_to_admin(caller);
    }
    let circumstances = Circumstances::of(request, Version::Current);
    circumstances.check_lengths()?;
    let context = circumstances.context(&gateway.settings().trusted_proxies);
    if would(caller, action, resource, &context) == Said::Allowed {
        return Ok(Pass(()));
    }
    let who = caller.arn();
    let problem = format!("User: {who} is not authorized to perform: {action} on resource: {resource}");
    Err(S3Error::with(Code::AccessDenied, problem))
}

/// What the policies of a caller say by themselves, of whatever is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Allowed,
    /// A statement denies it.
    Denied,
    /// None is about it.
    Nothing,
}

/// Asks them.
pub fn would(caller: &Identity, action: &str, resource: &str, context: &Context<'_>) -> Said {
    let rights = caller.rights();
    let layer = rights.narrowing.as_deref();
    let grounds =
        Grounds { user: &rights.user, groups: &rights.groups, narrowing: layer.as_slice(), bucket: None, owner: None };
    let asked = Asked { principal: &caller.principal(), action, resource, context };
    match decide(&asked, &grounds, || false) {
        Decision { allowed: true, .. } => Said::Allowed,
        Decision { because: Because::Denies(..), .. } => Said::Denied,
        Decision { .. } => Said::Nothing,
    }
}
