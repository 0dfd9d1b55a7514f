use std::collections::BTreeSet;

use super::*;

#[test]
fn every_operation_has_one_row() {
    let named: Vec<Operation> = ROWS.iter().map(|row| row.operation).collect();
    assert_eq!(named.len(), Operation::ALL.len());
    for operation in Operation::ALL {
        assert_eq!(named.iter().filter(|named| *named == operation).count(), 1, "{operation:?}");
    }
}

#[test]
fn no_row_hides_another() {
    for (at, row) in ROWS.iter().enumerate() {
        let before = ROWS[..at]
            .iter()
            .filter(|other| (other.method, other.level, other.subresource) == (row.method, row.level, row.subresource));
        for other in before {
            assert!(other.mark != Mark::Nothing && other.mark != row.mark, "{:?} {:?}", other.operation, row.operation);
        }
    }
}

#[test]
fn what_is_built_says_what_it_needs() {
    for row in ROWS.iter().filter(|row| row.is_built()) {
        for version in [Version::Current, Version::Null] {
            assert!(!row.actions(&version).is_empty(), "{:?}", row.operation);
            assert!(row.actions(&version).iter().all(|action| action.starts_with("s3:")), "{:?}", row.operation);
        }
        assert!(row.level == Level::Bucket || row.level == Level::Object || row.operation == O::ListBuckets);
    }
    let versioned: BTreeSet<&str> = ROWS.iter().filter(|row| row.versioned).map(|row| row.operation.as_str()).collect();
    let expected =
        ["DeleteObject", "GetObject", "GetObjectAcl", "GetObjectAttributes", "HeadObject", "PutObject", "PutObjectAcl"];
    assert_eq!(versioned, BTreeSet::from(expected));
}

#[test]
fn the_readme_names_what_is_built_and_nothing_else() {
    let readme = include_str!("../../README.md");
    let list = readme.split_once("What is there, by S3's names:").unwrap().1.split_once('.').unwrap().0;
    let named: BTreeSet<&str> = list.split([',', '\n', ' ']).filter(|name| !name.is_empty()).collect();
    let built: BTreeSet<&str> = ROWS.iter().filter(|row| row.is_built()).map(|row| row.operation.as_str()).collect();
    assert_eq!(named, built);
}
