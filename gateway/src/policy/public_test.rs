use super::*;
use crate::policy::Kind;
use crate::policy::testing::policy;

/// A statement with these elements, on a bucket.
fn public(elements: &str) -> bool {
    let json = format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", {elements}}}}}"#
    );
    is_public(&policy(&json, Kind::Bucket))
}

fn under(condition: &str) -> bool {
    public(&format!(r#""Effect": "Allow", "Principal": "*", "Condition": {{{condition}}}"#))
}

#[test]
fn what_is_allowed_to_fixed_principals_is_not_public() {
    let principals = [
        (r#""*""#, true),
        (r#"{"AWS": "*"}"#, true),
        (r#"{"AWS": ["111122223333", "*"]}"#, true),
        (r#"{"Federated": "accounts.example.com"}"#, true),
        (r#"{"AWS": "arn:aws:iam::111122223333:user/anna"}"#, false),
        (r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#, false),
        (r#"{"CanonicalUser": "79a5"}"#, false),
        (r#"{"Service": "logging.s3.amazonaws.com"}"#, false),
    ];
    for (principal, expected) in principals {
        assert_eq!(public(&format!(r#""Effect": "Allow", "Principal": {principal}"#)), expected, "{principal}");
        assert!(!public(&format!(r#""Effect": "Deny", "Principal": {principal}"#)), "{principal}");
        assert!(!public(&format!(r#""Effect": "Deny", "NotPrincipal": {principal}"#)), "{principal}");
    }
}

#[test]
fn a_condition_makes_it_not_public_where_its_values_are_fixed() {
    let conditions = [
        (r#""IpAddress": {"aws:SourceIp": "10.0.0.0/32"}"#, false),
        (r#""IpAddress": {"AWS:sourceip": ["203.0.113.0/24", "2001:db8::/32"]}"#, false),
        (r#""IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/1"]}"#, true),
        (r#""IpAddress": {"aws:SourceIp": "16.0.0.0/7"}"#, true),
        (r#""IpAddress": {"aws:SourceIp": "17.0.0.0/8"}"#, false),
        (r#""IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}"#, true),
        (r#""IpAddress": {"aws:SourceIp": ["16.0.0.0/8", "18.0.0.0/8"]}"#, true),
        (r#""IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "17.0.0.0/8", "203.0.113.7"]}"#, false),
        (r#""IpAddress": {"aws:SourceIp": "::/0"}, "ForAnyValue:IpAddress": {"aws:SourceIp": "203.0.113.7"}"#, false),
        (r#""IpAddress": {"aws:SourceIp": "2001::/31"}"#, true),
        (r#""IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}"#, true),
        (r#""NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, true),
        (r#""StringEquals": {"aws:SourceIp": "203.0.113.7"}"#, true),
        (r#""StringEquals": {"aws:SourceVpce": ["vpce-1", "vpce-2"]}"#, false),
        (r#""StringEquals": {"aws:SourceVpce": "vpce-*"}"#, false),
        (r#""StringLike": {"aws:SourceVpce": "vpce-1"}"#, false),
        (r#""StringLike": {"aws:SourceVpce": ["vpce-1", "vpce-*"]}"#, true),
        (r#""StringLike": {"aws:SourceVpce": "vpce-?"}"#, true),
        (r#""StringEquals": {"aws:SourceVpce": "${aws:username}"}"#, true),
        (r#""StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}"#, true),
        (r#""StringNotEquals": {"aws:SourceVpce": "vpce-1"}"#, true),
        (r#""ForAllValues:StringEquals": {"aws:SourceVpce": "vpce-1"}"#, true),
        (r#""ForAnyValue:StringEquals": {"aws:SourceVpce": "vpce-1"}"#, false),
        (r#""StringEquals": {"aws:PrincipalOrgID": "o-1"}"#, false),
        (r#""StringEquals": {"aws:userid": "ID"}"#, false),
        (r#""StringEquals": {"aws:userid": "anonymous"}"#, true),
        (r#""StringLike": {"aws:userid": ["ID", "anonymous"]}"#, true),
        (r#""ForAnyValue:StringEquals": {"aws:userid": "anonymous"}"#, true),
        (r#""StringEquals": {"aws:userid": "Anonymous"}"#, false),
        (r#""StringEqualsIgnoreCase": {"aws:userid": "Anonymous"}"#, true),
        (r#""StringEqualsIgnoreCase": {"aws:userid": "ID"}"#, false),
        (r#""StringEquals": {"aws:userid": "anonymous"}, "IpAddress": {"aws:SourceIp": "203.0.113.0/24"}"#, false),
        (r#""StringLike": {"aws:userid": "AROLEID:*"}"#, true),
        (r#""StringEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "key"}"#, false),
        (r#""ArnEquals": {"aws:SourceArn": "arn:aws:s3:::source"}"#, false),
        (r#""ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}"#, true),
        (r#""ArnLike": {"aws:PrincipalArn": "*"}"#, true),
        (r#""ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2:123456789012:accesspoint/*"}"#, false),
        (r#""ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:*:accesspoint/*"}"#, true),
        (r#""ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:*:123456789012:accesspoint/*"}"#, false),
        (r#""ArnLike": {"s3:DataAccessPointArn": "arn:aws:s3:us-west-2::accesspoint/*"}"#, true),
        (r#""StringEquals": {"aws:Referer": "http://example.com/"}"#, true),
        (r#""Bool": {"aws:SecureTransport": "true"}"#, true),
        (r#""Null": {"aws:SourceVpce": "false"}"#, true),
        (r#""Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceAccount": "111122223333"}"#, false),
    ];
    for (condition, expected) in conditions {
        assert_eq!(under(condition), expected, "{condition}");
    }
}

#[test]
fn a_broad_range_that_statements_share_between_them_is_public() {
    let statements = |ranges: &[&str], effect: &str| {
        let statement = |range: &&str| {
            format!(
                r#"{{"Effect": "{effect}", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
                    "Condition": {{"IpAddress": {{"aws:SourceIp": "{range}"}}}}}}"#
            )
        };
        let statements: Vec<String> = ranges.iter().map(statement).collect();
        is_public(&policy(&format!(r#"{{"Statement": [{}]}}"#, statements.join(", ")), Kind::Bucket))
    };
    assert!(statements(&["16.0.0.0/8", "18.0.0.0/8"], "Allow"));
    assert!(!statements(&["17.0.0.0/8", "17.0.0.0/8", "203.0.113.0/24"], "Allow"));
    assert!(!statements(&["0.0.0.0/1", "128.0.0.0/1"], "Deny"));
}
