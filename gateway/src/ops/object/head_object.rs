//! HeadObject: what GetObject would say, without the bytes. Touches no chunk.

use cairn_storage::meta::query::{Wanted, WantedBytes};
use cairn_storage::types::now_ms;

use super::answer::{Asked, Given, answer};
use super::{conditions, group, range};
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    request.version.must_be_there()?;
    let mut asked = Asked::from_request(&request)?;
    let wanted = match asked {
        Asked::Part(number) => Wanted::PartHead(number),
        Asked::Whole | Asked::Range(_) => Wanted::Nothing,
    };
    let (_, object) = group::get(&access, wanted).await?;
    let record = object.record;
    conditions::judge_read(&request.headers, &record, now_ms())?;
    if let Asked::Range(wanted) = asked
        && (!conditions::range_counts(&request.headers, &record) || range::is_end_of_nothing(wanted, record.size))
    {
        asked = Asked::Whole;
    }
    let given = match (asked, object.bytes) {
        (Asked::Whole, _) => Given { span: range::resolve(Wanted::All, record.size), part: None },
        (Asked::Range(wanted), _) => match range::resolve(wanted, record.size) {
            Some(span) => Given { span: Some(span), part: None },
            None => return Err(asked.unsatisfiable(&request, &record)),
        },
        (
            Asked::Part(_),
            WantedBytes::Inline { first, last, part, .. } | WantedBytes::Chunks { first, last, part, .. },
        ) => Given { span: (first <= last).then_some((first, last)), part },
        (Asked::Part(_), WantedBytes::Unsatisfiable) => return Err(asked.unsatisfiable(&request, &record)),
        (Asked::Part(_), bytes @ WantedBytes::Nothing) => return Err(group::unexpected(&bytes)),
    };
    answer(&request, &record, asked, &given)
}
