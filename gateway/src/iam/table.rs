//! The contents page: a row for every action that is there.

use cairn_storage::meta::RootCommand;

use super::ask::Ask;
use super::{Api, IAM, STS, groups, held, keys, policies, simulate, users};
use crate::error::S3Error;
use crate::xml::Document;

/// What an action is about, and so of which ARN policies are asked whether the caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The caller alone, who always may.
    Caller,
    /// The user in `UserName`; the caller where it is absent.
    User,
    /// The user in `PolicySourceArn`.
    Source,
    Users,
    Group,
    Groups,
    /// The policy in `PolicyArn`.
    Policy,
    /// The one in `PolicyName`.
    NewPolicy,
    Policies,
}

/// How an action is answered.
#[derive(Clone, Copy)]
pub(super) enum Handle {
    /// Writes a result; where it makes something, with the command that does.
    Shows(fn(&Ask<'_>, &mut Document) -> Result<Option<RootCommand>, S3Error>),
    /// Has no result but that it is done.
    Does(fn(&Ask<'_>) -> Result<RootCommand, S3Error>),
}

pub(super) struct Row {
    pub api: &'static Api,
    pub name: &'static str,
    /// The root of the answer, and the element of the result.
    pub response: &'static str,
    pub result: &'static str,
    pub about: About,
    /// The parameters that are heeded; of a list, what stands before the first dot.
    pub takes: &'static [&'static str],
    pub handle: Handle,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! rows {
    ($($api:ident $name:ident $about:ident ($($takes:literal)*) $handle:expr;)*) => {
        /// Every action that is there.
        pub(super) static ROWS: &[Row] = &[$(Row {
            api: &$api,
            name: stringify!($name),
            response: concat!(stringify!($name), "Response"),
            result: concat!(stringify!($name), "Result"),
            about: About::$about,
            takes: &[$($takes),*],
            handle: $handle,
        },)*];
    };
}

use Handle::{Does, Shows};

rows! {
    STS GetCallerIdentity Caller () Shows(users::caller);

    IAM CreateUser User ("UserName" "Path") Shows(users::create);
    IAM GetUser User ("UserName") Shows(users::get);
    IAM ListUsers Users ("PathPrefix" "Marker" "MaxItems") Shows(users::list);
    IAM DeleteUser User ("UserName") Does(users::delete);

    IAM CreateAccessKey User ("UserName") Shows(keys::create);
    IAM ListAccessKeys User ("UserName" "Marker" "MaxItems") Shows(keys::list);
    IAM UpdateAccessKey User ("UserName" "AccessKeyId" "Status") Does(keys::update);
    IAM DeleteAccessKey User ("UserName" "AccessKeyId") Does(keys::delete);

    IAM PutUserPolicy User ("UserName" "PolicyName" "PolicyDocument") Does(held::put);
    IAM GetUserPolicy User ("UserName" "PolicyName") Shows(held::get);
    IAM ListUserPolicies User ("UserName" "Marker" "MaxItems") Shows(held::list);
    IAM DeleteUserPolicy User ("UserName" "PolicyName") Does(held::delete);
    IAM AttachUserPolicy User ("UserName" "PolicyArn") Does(held::attach);
    IAM DetachUserPolicy User ("UserName" "PolicyArn") Does(held::detach);
    IAM ListAttachedUserPolicies User ("UserName" "PathPrefix" "Marker" "MaxItems") Shows(held::list_attached);

    IAM CreateGroup Group ("GroupName" "Path") Shows(groups::create);
    IAM GetGroup Group ("GroupName" "Marker" "MaxItems") Shows(groups::get);
    IAM ListGroups Groups ("PathPrefix" "Marker" "MaxItems") Shows(groups::list);
    IAM DeleteGroup Group ("GroupName") Does(groups::delete);
    IAM AddUserToGroup Group ("GroupName" "UserName") Does(groups::add);
    IAM RemoveUserFromGroup Group ("GroupName" "UserName") Does(groups::remove);
    IAM ListGroupsForUser User ("UserName" "Marker" "MaxItems") Shows(groups::list_for_user);

    IAM PutGroupPolicy Group ("GroupName" "PolicyName" "PolicyDocument") Does(held::put);
    IAM GetGroupPolicy Group ("GroupName" "PolicyName") Shows(held::get);
    IAM ListGroupPolicies Group ("GroupName" "Marker" "MaxItems") Shows(held::list);
    IAM DeleteGroupPolicy Group ("GroupName" "PolicyName") Does(held::delete);
    IAM AttachGroupPolicy Group ("GroupName" "PolicyArn") Does(held::attach);
    IAM DetachGroupPolicy Group ("GroupName" "PolicyArn") Does(held::detach);
    IAM ListAttachedGroupPolicies Group ("GroupName" "PathPrefix" "Marker" "MaxItems") Shows(held::list_attached);

    IAM CreatePolicy NewPolicy ("PolicyName" "PolicyDocument" "Path") Shows(policies::create);
    IAM GetPolicy Policy ("PolicyArn") Shows(policies::get);
    IAM ListPolicies Policies ("Scope" "OnlyAttached" "PathPrefix" "Marker" "MaxItems") Shows(policies::list);
    IAM DeletePolicy Policy ("PolicyArn") Does(policies::delete);
    IAM CreatePolicyVersion Policy ("PolicyArn" "PolicyDocument" "SetAsDefault") Shows(policies::create_version);
    IAM GetPolicyVersion Policy ("PolicyArn" "VersionId") Shows(policies::get_version);
    IAM ListPolicyVersions Policy ("PolicyArn" "Marker" "MaxItems") Shows(policies::list_versions);
    IAM SimulatePrincipalPolicy Source ("PolicySourceArn" "ActionNames" "ResourceArns") Shows(simulate::simulate);

    // What no user has any of; clients that remove a user ask.
    IAM ListMFADevices User ("UserName" "Marker" "MaxItems") Shows(|ask, out| users::none(ask, out, "MFADevices"));
    IAM ListSSHPublicKeys User ("UserName" "Marker" "MaxItems")
        Shows(|ask, out| users::none(ask, out, "SSHPublicKeys"));
    IAM ListSigningCertificates User ("UserName" "Marker" "MaxItems")
        Shows(|ask, out| users::none(ask, out, "Certificates"));
    IAM ListUserTags User ("UserName" "Marker" "MaxItems") Shows(|ask, out| users::none(ask, out, "Tags"));
    IAM GetLoginProfile User ("UserName") Does(users::no_password);
    IAM DeleteLoginProfile User ("UserName") Does(users::no_password);
}

/// The other actions of both services, so that what is not built is told from what there is not.
pub(super) const UNBUILT: &[&str] = &[
    "AddClientIDToOpenIDConnectProvider",
    "AddRoleToInstanceProfile",
    "AssumeRole",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "AttachRolePolicy",
    "ChangePassword",
    "CreateAccountAlias",
    "CreateInstanceProfile",
    "CreateLoginProfile",
    "CreateOpenIDConnectProvider",
    "CreateRole",
    "CreateSAMLProvider",
    "CreateServiceLinkedRole",
    "CreateServiceSpecificCredential",
    "CreateVirtualMFADevice",
    "DeactivateMFADevice",
    "DecodeAuthorizationMessage",
    "DeleteAccountAlias",
    "DeleteAccountPasswordPolicy",
    "DeleteInstanceProfile",
    "DeleteOpenIDConnectProvider",
    "DeletePolicyVersion",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DeleteSAMLProvider",
    "DeleteSSHPublicKey",
    "DeleteServerCertificate",
    "DeleteServiceLinkedRole",
    "DeleteServiceSpecificCredential",
    "DeleteSigningCertificate",
    "DeleteUserPermissionsBoundary",
    "DeleteVirtualMFADevice",
    "DetachRolePolicy",
    "EnableMFADevice",
    "GenerateCredentialReport",
    "GenerateServiceLastAccessedDetails",
    "GetAccessKeyInfo",
    "GetAccessKeyLastUsed",
    "GetAccountAuthorizationDetails",
    "GetAccountPasswordPolicy",
    "GetAccountSummary",
    "GetContextKeysForCustomPolicy",
    "GetContextKeysForPrincipalPolicy",
    "GetCredentialReport",
    "GetFederationToken",
    "GetInstanceProfile",
    "GetMFADevice",
    "GetOpenIDConnectProvider",
    "GetRole",
    "GetRolePolicy",
    "GetSAMLProvider",
    "GetSSHPublicKey",
    "GetServerCertificate",
    "GetServiceLastAccessedDetails",
    "GetServiceLinkedRoleDeletionStatus",
    "GetSessionToken",
    "ListAccountAliases",
    "ListAttachedRolePolicies",
    "ListEntitiesForPolicy",
    "ListInstanceProfiles",
    "ListInstanceProfilesForRole",
    "ListOpenIDConnectProviders",
    "ListPoliciesGrantingServiceAccess",
    "ListPolicyTags",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "ListSAMLProviders",
    "ListServerCertificates",
    "ListServiceSpecificCredentials",
    "ListVirtualMFADevices",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "PutUserPermissionsBoundary",
    "RemoveClientIDFromOpenIDConnectProvider",
    "RemoveRoleFromInstanceProfile",
    "ResetServiceSpecificCredential",
    "ResyncMFADevice",
    "SetDefaultPolicyVersion",
    "SetSecurityTokenServicePreferences",
    "SimulateCustomPolicy",
    "TagPolicy",
    "TagRole",
    "TagUser",
    "UntagPolicy",
    "UntagRole",
    "UntagUser",
    "UpdateAccountPasswordPolicy",
    "UpdateAssumeRolePolicy",
    "UpdateGroup",
    "UpdateLoginProfile",
    "UpdateOpenIDConnectProviderThumbprint",
    "UpdateRole",
    "UpdateRoleDescription",
    "UpdateSAMLProvider",
    "UpdateSSHPublicKey",
    "UpdateServerCertificate",
    "UpdateServiceSpecificCredential",
    "UpdateSigningCertificate",
    "UpdateUser",
    "UploadSSHPublicKey",
    "UploadServerCertificate",
    "UploadSigningCertificate",
];
