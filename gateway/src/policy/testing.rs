//! Callers and contexts for the tests, by short names.

use super::{Asked, Context, Identity, Kind, Policy, Principal, Session, Verdict};

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const OTHER_ACCOUNT: &str = "444455556666";

/// `anonymous`, `root`, `service:NAME`, `anna`, `role:ROLE/SESSION`, `federated:NAME`; of another account with `@ACCOUNT`
/// behind it. The canonical id of `anna` is `canonical-anna`, her unique id is `ID-anna`.
pub(super) fn caller(word: &str) -> Principal<'static> {
    let (name, account) = word.split_once('@').unwrap_or((word, ACCOUNT));
    let text = |text: String| -> &'static str { text.leak() };
    let (name, account) = (text(name.to_owned()), text(account.to_owned()));
    let identity = |arn: &str, name: &'static str| Identity {
        arn: text(format!("arn:aws:iam::{account}:{arn}")),
        account,
        canonical_id: text(format!("canonical-{name}")),
        name,
        id: text(format!("ID-{name}")),
    };
    match name.split_once(':') {
        None if name == "anonymous" => Principal::Anonymous,
        None if name == "root" => Principal::Root(identity("root", name)),
        None => Principal::User(identity(&format!("user/{name}"), name)),
        Some(("role", role)) => {
            let (role, _) = role.split_once('/').unwrap();
            Principal::Session(Session {
                arn: text(format!("arn:aws:sts::{account}:assumed-{}", name.replace(':', "/"))),
                id: text(format!("ID-{}", name.replace("role:", "").replace('/', ":"))),
                of: identity(&format!("role/{role}"), role),
            })
        }
        Some(("federated", user)) => Principal::Session(Session {
            arn: text(format!("arn:aws:sts::{account}:federated-user/{user}")),
            id: text(format!("{account}:{user}")),
            of: identity(&format!("user/{user}"), user),
        }),
        Some((_, service)) => Principal::Service(service),
    }
}

/// All values as texts, as they come with a request.
pub(super) fn context(values: &[(&'static str, &'static str)]) -> Context<'static> {
    let mut context = Context::new();
    for (key, value) in values {
        context.push(*key, *value);
    }
    context
}

/// A policy that is well written.
pub(super) fn policy(json: &str, kind: Kind) -> Policy {
    Policy::parse(json.as_bytes(), kind).unwrap_or_else(|fault| panic!("{fault}\n{json}"))
}

/// `Allow`, `Deny` or `Silent`.
pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow(_) => "Allow",
        Verdict::Deny(_) => "Deny",
        Verdict::Silent => "Silent",
    }
}

/// The ARN of a bucket or of a key in it; what is an ARN stays it.
pub(super) fn arn(resource: &str) -> String {
    if resource.starts_with("arn:") { resource.to_owned() } else { format!("arn:aws:s3:::{resource}") }
}

/// What the policy says to `who`, in one word.
pub(super) fn ask(
    policy: &Policy,
    who: &str,
    action: &str,
    resource: &str,
    values: &[(&'static str, &'static str)],
) -> &'static str {
    let (principal, context, resource) = (caller(who), context(values), arn(resource));
    word(policy.evaluate(&Asked { principal: &principal, action, resource: &resource, context: &context }))
}
