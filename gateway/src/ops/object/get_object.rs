//! GetObject: one query for the record and the places of its bytes, then the bytes as a stream.

use axum::body::Body;
use cairn_storage::meta::query::{Wanted, WantedBytes};
use cairn_storage::types::now_ms;

use super::answer::{Asked, Given, answer};
use super::places::Place;
use super::{conditions, group, places, range};
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
///
/// The conditions are judged before a byte is read.
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let mut asked = Asked::from_request(&request)?;
    request.version.must_be_there()?;
    let get = |wanted| group::get(&access, wanted);
    let wanted = match asked {
        Asked::Whole => Wanted::All,
        Asked::Range(wanted) => wanted,
        Asked::Part(number) => Wanted::Part(number),
    };
    let (mut entry, mut object) = get(wanted).await?;
    conditions::judge_read(&request.headers, &object.record, now_ms())?;
    if matches!(asked, Asked::Range(_)) && !conditions::range_counts(&request.headers, &object.record) {
        // What the client has a piece of is gone: it gets all of what there is.
        asked = Asked::Whole;
        (entry, object) = get(Wanted::All).await?;
        conditions::judge_read(&request.headers, &object.record, now_ms())?;
    }
    if let Asked::Range(wanted) = asked
        && range::is_end_of_nothing(wanted, object.record.size)
    {
        return answer(&request, &object.record, Asked::Whole, &Given { span: None, part: None });
    }
    if object.bytes == WantedBytes::Unsatisfiable {
        return Err(asked.unsatisfiable(&request, &object.record));
    }
    let found = places::find(&object.record, object.bytes)?;
    let given = Given { span: found.span, part: found.part };
    let mut response = answer(&request, &object.record, asked, &given)?;
    *response.body_mut() = match found.place {
        Place::Nowhere => Body::empty(),
        Place::Here(bytes) => Body::from(bytes),
        Place::Chunks(plan) => gateway.data().open(entry.group, plan).await?,
    };
    Ok(response)
}
