//! The policies that are there from the start. Names and what they allow are MinIO's, so that scripts go on working.

/// A policy by its name, as JSON.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, json)| *json)
}

/// Name and JSON of each. All are policies of identities.
pub const ALL: &[(&str, &str)] = &[
    ("consoleAdmin", CONSOLE_ADMIN),
    ("diagnostics", DIAGNOSTICS),
    ("readonly", READ_ONLY),
    ("readwrite", READ_WRITE),
    ("writeonly", WRITE_ONLY),
];

/// Everything, the administration of the cluster among it.
pub const CONSOLE_ADMIN: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Administration", "Effect": "Allow", "Action": ["admin:*", "kms:*"], "Resource": "*"},
    {"Sid": "Buckets", "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}
  ]
}
"#;

/// To see how the cluster is, and none of its data.
pub const DIAGNOSTICS: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "Diagnostics",
      "Effect": "Allow",
      "Action": [
        "admin:BandwidthMonitor",
        "admin:ConsoleLog",
        "admin:OBDInfo",
        "admin:Profiling",
        "admin:Prometheus",
        "admin:ServerInfo",
        "admin:ServerTrace",
        "admin:TopLocksInfo"
      ],
      "Resource": "*"
    }
  ]
}
"#;

/// To read objects whose keys are known: it does not list.
pub const READ_ONLY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:GetObject"], "Resource": "arn:aws:s3:::*"}
  ]
}
"#;

/// All of S3.
pub const READ_WRITE: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Buckets", "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}
  ]
}
"#;

/// To write objects, and neither read, list nor delete any.
pub const WRITE_ONLY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Write", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::*"}
  ]
}
"#;
