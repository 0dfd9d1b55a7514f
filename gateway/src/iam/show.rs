//! What there is, as IAM shows it.

use cairn_storage::meta::record::{Group, UserRecord};
use sha2::{Digest, Sha256};

use super::ask::policy_arn_of;
use crate::auth::sign::uri_encode;
use crate::gate::{ACCOUNT, Identity};
use crate::xml::Document;

/// The elements of a user. Root has no name, and the account's number for an id.
pub(super) fn user(document: &mut Document, user: &UserRecord) {
    document.text("Path", "/");
    match user.root {
        true => document.text("UserId", ACCOUNT),
        false => document.text("UserName", &user.name).display("UserId", user.id),
    };
    document.text("Arn", Identity::from(user).arn()).time("CreateDate", user.created_ms);
}

/// The elements of a group.
pub(super) fn group(document: &mut Document, group: &Group) {
    let Group { name, created_ms, .. } = group;
    document.text("Path", "/").text("GroupName", name).text("GroupId", &id("group", name));
    document.text("Arn", &format!("arn:aws:iam::{ACCOUNT}:group/{name}")).time("CreateDate", *created_ms);
}

/// A policy that can be attached.
#[derive(Clone, Copy)]
pub(super) struct Managed<'a> {
    pub name: &'a str,
    pub text: &'a str,
    pub created_ms: u64,
    pub updated_ms: u64,
}

/// The elements of such a policy, which is attached to so many.
pub(super) fn policy(document: &mut Document, policy: &Managed<'_>, attached: usize) {
    let Managed { name, created_ms, updated_ms, .. } = *policy;
    document.text("PolicyName", name).text("PolicyId", &id("policy", name));
    document.text("Arn", &policy_arn_of(name)).text("Path", "/").text("DefaultVersionId", "v1");
    document.display("AttachmentCount", attached).text("PermissionsBoundaryUsageCount", "0");
    document.text("IsAttachable", "true").time("CreateDate", created_ms).time("UpdateDate", updated_ms);
}

/// The elements of its version.
pub(super) fn version(document: &mut Document, policy: &Managed<'_>, with_text: bool) {
    if with_text {
        text(document, "Document", policy.text);
    }
    document.text("VersionId", "v1").text("IsDefaultVersion", "true").time("CreateDate", policy.updated_ms);
}

/// The text of a policy, percent-encoded as IAM has it (RFC 3986).
pub(super) fn text(document: &mut Document, name: &'static str, text: &str) {
    document.text(name, &uri_encode(text));
}

/// Of what has no id in Cairn: its name's.
fn id(kind: &str, name: &str) -> String {
    let mut id = hex::encode_upper(Sha256::digest(format!("{kind}/{name}")));
    id.truncate(21);
    id
}
