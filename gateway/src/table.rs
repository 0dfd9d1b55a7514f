//! The table of operations, a row for each that S3 has: how a request names it, what it needs to be allowed, how much of
//! a body it reads, and what answers it. The router, the gate, the names in metrics and the tests' walks go by it.
//!
//! Source: botocore's model of S3's API; the Service Authorization Reference, "Actions, resources, and condition keys for
//! Amazon S3".

use futures::future::BoxFuture;

use crate::gate::{Access, Pass};
use crate::gateway::Gateway;
use crate::middleware::late::patiently;
use crate::operation::{Operation, Version};
use crate::ops::{bucket, multipart, object};
use crate::policy;
use crate::request::{Reply, Request};
use crate::xml::MAX_DOCUMENT_LEN;

use self::Level::{Bucket, Object, Service};
use crate::operation::Operation as O;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Service,
    Bucket,
    Object,
}

/// What tells an operation from others of the same method, level and subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Nothing,
    Header(&'static str),
    Parameter(&'static str),
    Value(&'static str, &'static str),
}

/// What answers.
pub enum Handler {
    /// For what is about no bucket, or about one that is yet to be made.
    Service(for<'a> fn(&'a Gateway, Pass, Request) -> BoxFuture<'a, Reply>),
    /// For what is about a bucket, and has the way to it.
    Bucket(fn(Access, Request) -> BoxFuture<'static, Reply>),
    NotBuilt,
}

pub struct Row {
    pub operation: Operation,
    pub method: &'static str,
    pub level: Level,
    /// The parameter that makes an operation of its own; empty where there is none.
    pub subresource: &'static str,
    pub mark: Mark,
    /// A parameter without which it is none.
    pub required: Option<&'static str>,
    /// The actions of IAM that all must be allowed; those for a request that names a version behind them.
    actions: (&'static [&'static str], &'static [&'static str]),
    /// Takes the parameter `versionId`.
    pub versioned: bool,
    /// How many bytes of a document are read at most; 0 where the body is no document.
    pub document_len: usize,
    pub handler: Handler,
}

impl Row {
    /// A row of what is not built.
    const fn new(operation: Operation, method: &'static str, level: Level, subresource: &'static str) -> Self {
        Self {
            operation,
            method,
            level,
            subresource,
            mark: Mark::Nothing,
            required: None,
            actions: (&[], &[]),
            versioned: false,
            document_len: 0,
            handler: Handler::NotBuilt,
        }
    }

    const fn told_by(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    const fn requires(self, parameter: &'static str) -> Self {
        Self { required: Some(parameter), ..self }
    }

    const fn needs(self, actions: &'static [&'static str]) -> Self {
        Self { actions: (actions, actions), ..self }
    }

    /// With a version these in their place.
    const fn of_version(self, actions: &'static [&'static str]) -> Self {
        Self { actions: (self.actions.0, actions), versioned: true, ..self }
    }

    const fn reads(self, document_len: usize) -> Self {
        Self { document_len, ..self }
    }

    const fn by(self, handler: Handler) -> Self {
        Self { handler, ..self }
    }

    /// All of them must be allowed.
    pub fn actions(&self, version: &Version) -> &'static [&'static str] {
        match version {
            Version::Current => self.actions.0,
            Version::Null | Version::Id(_) => self.actions.1,
        }
    }

    pub fn is_built(&self) -> bool {
        !matches!(self.handler, Handler::NotBuilt)
    }
}

macro_rules! service {
    ($($handle:ident)::*) => {
        Handler::Service(|gateway, pass, request| Box::pin($($handle)::*(gateway, pass, request)))
    };
}

macro_rules! bucket {
    ($($handle:ident)::*) => {
        Handler::Bucket(|access, request| Box::pin($($handle)::*(access, request)))
    };
}

/// For what may take long.
macro_rules! patient {
    ($($handle:ident)::*) => {
        Handler::Bucket(|access, request| Box::pin(patiently(Box::pin($($handle)::*(access, request)))))
    };
}

const COPY: Mark = Mark::Header("x-amz-copy-source");

const PUT_OBJECT: &[&str] = &["s3:PutObject"];
const GET_OBJECT: &[&str] = &["s3:GetObject"];
const GET_VERSION: &[&str] = &["s3:GetObjectVersion"];
const LIST_BUCKET: &[&str] = &["s3:ListBucket"];

/// Of rows that differ in their mark only, the one without comes last.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    Row::new(O::ListBuckets, "GET", Service, "").needs(&["s3:ListAllMyBuckets"])
        .by(service!(bucket::list_buckets::handle)),

    Row::new(O::CreateBucket, "PUT", Bucket, "").needs(&["s3:CreateBucket"]).reads(64 << 10)
        .by(service!(bucket::create_bucket::handle)),
    Row::new(O::HeadBucket, "HEAD", Bucket, "").needs(LIST_BUCKET).by(bucket!(bucket::head_bucket::handle)),
    Row::new(O::DeleteBucket, "DELETE", Bucket, "").needs(&["s3:DeleteBucket"])
        .by(bucket!(bucket::delete_bucket::handle)),
    Row::new(O::GetBucketLocation, "GET", Bucket, "location").needs(&["s3:GetBucketLocation"])
        .by(bucket!(bucket::get_bucket_location::handle)),
    Row::new(O::GetBucketVersioning, "GET", Bucket, "versioning").needs(&["s3:GetBucketVersioning"])
        .by(bucket!(bucket::get_bucket_versioning::handle)),
    Row::new(O::GetBucketAcl, "GET", Bucket, "acl").needs(&["s3:GetBucketAcl"])
        .by(bucket!(bucket::get_bucket_acl::handle)),
    Row::new(O::PutBucketAcl, "PUT", Bucket, "acl").needs(&["s3:PutBucketAcl"]).reads(64 << 10)
        .by(bucket!(bucket::put_bucket_acl::handle)),
    Row::new(O::GetBucketOwnershipControls, "GET", Bucket, "ownershipControls")
        .needs(&["s3:GetBucketOwnershipControls"]).by(bucket!(bucket::get_bucket_ownership_controls::handle)),
    Row::new(O::PutBucketOwnershipControls, "PUT", Bucket, "ownershipControls")
        .needs(&["s3:PutBucketOwnershipControls"]).reads(16 << 10)
        .by(bucket!(bucket::put_bucket_ownership_controls::handle)),
    Row::new(O::DeleteBucketOwnershipControls, "DELETE", Bucket, "ownershipControls")
        .needs(&["s3:PutBucketOwnershipControls"]).by(bucket!(bucket::delete_bucket_ownership_controls::handle)),
    Row::new(O::ListObjectsV2, "GET", Bucket, "").told_by(Mark::Value("list-type", "2")).needs(LIST_BUCKET)
        .by(bucket!(bucket::list_objects_v2::handle)),
    Row::new(O::ListObjects, "GET", Bucket, "").needs(LIST_BUCKET).by(bucket!(bucket::list_objects::handle)),
    Row::new(O::ListObjectVersions, "GET", Bucket, "versions").needs(&["s3:ListBucketVersions"])
        .by(bucket!(bucket::list_object_versions::handle)),
    Row::new(O::ListMultipartUploads, "GET", Bucket, "uploads").needs(&["s3:ListBucketMultipartUploads"])
        .by(bucket!(multipart::list_uploads::handle)),
    Row::new(O::GetBucketPolicy, "GET", Bucket, "policy").needs(&["s3:GetBucketPolicy"])
        .by(bucket!(bucket::get_bucket_policy::handle)),
    Row::new(O::PutBucketPolicy, "PUT", Bucket, "policy").needs(&["s3:PutBucketPolicy"]).reads(policy::MAX_LEN)
        .by(bucket!(bucket::put_bucket_policy::handle)),
    Row::new(O::DeleteBucketPolicy, "DELETE", Bucket, "policy").needs(&["s3:DeleteBucketPolicy"])
        .by(bucket!(bucket::delete_bucket_policy::handle)),
    Row::new(O::GetBucketPolicyStatus, "GET", Bucket, "policyStatus").needs(&["s3:GetBucketPolicyStatus"])
        .by(bucket!(bucket::get_bucket_policy_status::handle)),
    Row::new(O::GetPublicAccessBlock, "GET", Bucket, "publicAccessBlock").needs(&["s3:GetBucketPublicAccessBlock"])
        .by(bucket!(bucket::get_public_access_block::handle)),
    Row::new(O::PutPublicAccessBlock, "PUT", Bucket, "publicAccessBlock").needs(&["s3:PutBucketPublicAccessBlock"])
        .reads(16 << 10).by(bucket!(bucket::put_public_access_block::handle)),
    Row::new(O::DeletePublicAccessBlock, "DELETE", Bucket, "publicAccessBlock")
        .needs(&["s3:PutBucketPublicAccessBlock"]).by(bucket!(bucket::delete_public_access_block::handle)),
    // Each key of the document is judged by itself.
    Row::new(O::DeleteObjects, "POST", Bucket, "delete").needs(&["s3:DeleteObject"]).reads(object::delete_objects::MAX_BODY_LEN)
        .by(bucket!(object::delete_objects::handle)),

    Row::new(O::GetObject, "GET", Object, "").needs(GET_OBJECT).of_version(GET_VERSION)
        .by(bucket!(object::get_object::handle)),
    Row::new(O::HeadObject, "HEAD", Object, "").needs(GET_OBJECT).of_version(GET_VERSION)
        .by(bucket!(object::head_object::handle)),
    Row::new(O::GetObjectAttributes, "GET", Object, "attributes").needs(&["s3:GetObject", "s3:GetObjectAttributes"])
        .of_version(&["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"])
        .by(bucket!(object::get_object_attributes::handle)),
    Row::new(O::GetObjectAcl, "GET", Object, "acl").needs(&["s3:GetObjectAcl"]).of_version(&["s3:GetObjectVersionAcl"])
        .by(bucket!(object::get_object_acl::handle)),
    Row::new(O::PutObjectAcl, "PUT", Object, "acl").needs(&["s3:PutObjectAcl"]).of_version(&["s3:PutObjectVersionAcl"])
        .reads(64 << 10).by(bucket!(object::put_object_acl::handle)),
    Row::new(O::CopyObject, "PUT", Object, "").told_by(COPY).needs(PUT_OBJECT)
        .by(patient!(object::copy_object::handle)),
    Row::new(O::PutObject, "PUT", Object, "").needs(PUT_OBJECT).of_version(PUT_OBJECT)
        .by(bucket!(object::put_object::handle)),
    Row::new(O::DeleteObject, "DELETE", Object, "").needs(&["s3:DeleteObject"]).of_version(&["s3:DeleteObjectVersion"])
        .by(bucket!(object::delete_object::handle)),

    Row::new(O::CreateMultipartUpload, "POST", Object, "uploads").needs(PUT_OBJECT)
        .by(bucket!(multipart::create::handle)),
    Row::new(O::UploadPartCopy, "PUT", Object, "uploadId").told_by(COPY).requires("partNumber").needs(PUT_OBJECT)
        .by(patient!(multipart::upload_part_copy::handle)),
    Row::new(O::UploadPart, "PUT", Object, "uploadId").requires("partNumber").needs(PUT_OBJECT)
        .by(bucket!(multipart::upload_part::handle)),
    Row::new(O::CompleteMultipartUpload, "POST", Object, "uploadId").needs(PUT_OBJECT).reads(MAX_DOCUMENT_LEN)
        .by(patient!(multipart::complete::handle)),
    Row::new(O::AbortMultipartUpload, "DELETE", Object, "uploadId").needs(&["s3:AbortMultipartUpload"])
        .by(bucket!(multipart::abort::handle)),
    Row::new(O::ListParts, "GET", Object, "uploadId").needs(&["s3:ListMultipartUploadParts"])
        .by(bucket!(multipart::list_parts::handle)),

    // Not built yet.
    Row::new(O::PostObject, "POST", Bucket, ""),
    Row::new(O::PutBucketVersioning, "PUT", Bucket, "versioning"),
    Row::new(O::GetBucketAbac, "GET", Bucket, "abac"),
    Row::new(O::PutBucketAbac, "PUT", Bucket, "abac"),
    Row::new(O::GetBucketAccelerateConfiguration, "GET", Bucket, "accelerate"),
    Row::new(O::PutBucketAccelerateConfiguration, "PUT", Bucket, "accelerate"),
    Row::new(O::DeleteBucketAnalyticsConfiguration, "DELETE", Bucket, "analytics"),
    Row::new(O::GetBucketAnalyticsConfiguration, "GET", Bucket, "analytics").told_by(Mark::Parameter("id")),
    Row::new(O::ListBucketAnalyticsConfigurations, "GET", Bucket, "analytics"),
    Row::new(O::PutBucketAnalyticsConfiguration, "PUT", Bucket, "analytics"),
    Row::new(O::DeleteBucketCors, "DELETE", Bucket, "cors"),
    Row::new(O::GetBucketCors, "GET", Bucket, "cors"),
    Row::new(O::PutBucketCors, "PUT", Bucket, "cors"),
    Row::new(O::DeleteBucketEncryption, "DELETE", Bucket, "encryption"),
    Row::new(O::GetBucketEncryption, "GET", Bucket, "encryption"),
    Row::new(O::PutBucketEncryption, "PUT", Bucket, "encryption"),
    Row::new(O::DeleteBucketIntelligentTieringConfiguration, "DELETE", Bucket, "intelligent-tiering"),
    Row::new(O::GetBucketIntelligentTieringConfiguration, "GET", Bucket, "intelligent-tiering").told_by(Mark::Parameter("id")),
    Row::new(O::ListBucketIntelligentTieringConfigurations, "GET", Bucket, "intelligent-tiering"),
    Row::new(O::PutBucketIntelligentTieringConfiguration, "PUT", Bucket, "intelligent-tiering"),
    Row::new(O::DeleteBucketInventoryConfiguration, "DELETE", Bucket, "inventory"),
    Row::new(O::GetBucketInventoryConfiguration, "GET", Bucket, "inventory").told_by(Mark::Parameter("id")),
    Row::new(O::ListBucketInventoryConfigurations, "GET", Bucket, "inventory"),
    Row::new(O::PutBucketInventoryConfiguration, "PUT", Bucket, "inventory"),
    Row::new(O::DeleteBucketLifecycle, "DELETE", Bucket, "lifecycle"),
    Row::new(O::GetBucketLifecycleConfiguration, "GET", Bucket, "lifecycle"),
    Row::new(O::PutBucketLifecycleConfiguration, "PUT", Bucket, "lifecycle"),
    Row::new(O::GetBucketLogging, "GET", Bucket, "logging"),
    Row::new(O::PutBucketLogging, "PUT", Bucket, "logging"),
    Row::new(O::UpdateBucketMetadataAnnotationTableConfiguration, "PUT", Bucket, "metadataAnnotationTable"),
    Row::new(O::DeleteBucketMetadataConfiguration, "DELETE", Bucket, "metadataConfiguration"),
    Row::new(O::GetBucketMetadataConfiguration, "GET", Bucket, "metadataConfiguration"),
    Row::new(O::CreateBucketMetadataConfiguration, "POST", Bucket, "metadataConfiguration"),
    Row::new(O::UpdateBucketMetadataInventoryTableConfiguration, "PUT", Bucket, "metadataInventoryTable"),
    Row::new(O::UpdateBucketMetadataJournalTableConfiguration, "PUT", Bucket, "metadataJournalTable"),
    Row::new(O::DeleteBucketMetadataTableConfiguration, "DELETE", Bucket, "metadataTable"),
    Row::new(O::GetBucketMetadataTableConfiguration, "GET", Bucket, "metadataTable"),
    Row::new(O::CreateBucketMetadataTableConfiguration, "POST", Bucket, "metadataTable"),
    Row::new(O::DeleteBucketMetricsConfiguration, "DELETE", Bucket, "metrics"),
    Row::new(O::GetBucketMetricsConfiguration, "GET", Bucket, "metrics").told_by(Mark::Parameter("id")),
    Row::new(O::ListBucketMetricsConfigurations, "GET", Bucket, "metrics"),
    Row::new(O::PutBucketMetricsConfiguration, "PUT", Bucket, "metrics"),
    Row::new(O::GetBucketNotificationConfiguration, "GET", Bucket, "notification"),
    Row::new(O::PutBucketNotificationConfiguration, "PUT", Bucket, "notification"),
    Row::new(O::GetObjectLockConfiguration, "GET", Bucket, "object-lock"),
    Row::new(O::PutObjectLockConfiguration, "PUT", Bucket, "object-lock"),
    Row::new(O::DeleteBucketReplication, "DELETE", Bucket, "replication"),
    Row::new(O::GetBucketReplication, "GET", Bucket, "replication"),
    Row::new(O::PutBucketReplication, "PUT", Bucket, "replication"),
    Row::new(O::GetBucketRequestPayment, "GET", Bucket, "requestPayment"),
    Row::new(O::PutBucketRequestPayment, "PUT", Bucket, "requestPayment"),
    Row::new(O::CreateSession, "GET", Bucket, "session"),
    Row::new(O::DeleteBucketTagging, "DELETE", Bucket, "tagging"),
    Row::new(O::GetBucketTagging, "GET", Bucket, "tagging"),
    Row::new(O::PutBucketTagging, "PUT", Bucket, "tagging"),
    Row::new(O::DeleteBucketWebsite, "DELETE", Bucket, "website"),
    Row::new(O::GetBucketWebsite, "GET", Bucket, "website"),
    Row::new(O::PutBucketWebsite, "PUT", Bucket, "website"),
    Row::new(O::DeleteObjectAnnotation, "DELETE", Object, "annotation"),
    Row::new(O::GetObjectAnnotation, "GET", Object, "annotation").told_by(Mark::Parameter("annotationName")),
    Row::new(O::ListObjectAnnotations, "GET", Object, "annotation"),
    Row::new(O::PutObjectAnnotation, "PUT", Object, "annotation"),
    Row::new(O::UpdateObjectEncryption, "PUT", Object, "encryption"),
    Row::new(O::GetObjectLegalHold, "GET", Object, "legal-hold"),
    Row::new(O::PutObjectLegalHold, "PUT", Object, "legal-hold"),
    Row::new(O::RenameObject, "PUT", Object, "renameObject"),
    Row::new(O::RestoreObject, "POST", Object, "restore"),
    Row::new(O::GetObjectRetention, "GET", Object, "retention"),
    Row::new(O::PutObjectRetention, "PUT", Object, "retention"),
    Row::new(O::SelectObjectContent, "POST", Object, "select"),
    Row::new(O::DeleteObjectTagging, "DELETE", Object, "tagging"),
    Row::new(O::GetObjectTagging, "GET", Object, "tagging"),
    Row::new(O::PutObjectTagging, "PUT", Object, "tagging"),
    Row::new(O::GetObjectTorrent, "GET", Object, "torrent"),
];

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
