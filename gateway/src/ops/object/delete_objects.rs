//! DeleteObjects: up to 1,000 keys in one request, each with a result of its own.

use cairn_storage::meta::command::{DeleteTarget, WriteCondition};
use cairn_storage::meta::{Command, Outcome};

use super::conditions::etag_or_nobodys;
use super::delete_object::{judge, modified_ms};
use super::group;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::operation::{MAX_KEY_LEN, Version};
use crate::request::{Reply, Request};
use crate::xml::{DeleteRequest, Document, Encoding, MAX_DELETE_KEYS, ObjectToDelete, can_carry, trim};

/// The longest body, in bytes: as many keys as there may be, each of them as long as it may be with every byte of it
/// written as `&quot;` or `&#x26;`, and for each 2 KiB for its version (1,024 bytes in S3), its conditions and the tags.
pub const MAX_BODY_LEN: usize = MAX_DELETE_KEYS * (6 * MAX_KEY_LEN + (2 << 10));

/// How many bytes of keys go into one command. A command has an upper bound, and the keys of one request are not
/// deleted in one moment in S3 either.
const MAX_BATCH_LEN: usize = 256 << 10;

/// How many keys are judged before others have their turn: a policy may have much to compare them with.
const JUDGED_AT_ONCE: usize = 32;

/// What came of one object.
type Fate = Result<(), S3Error>;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let gateway = access.gateway();
    let asked = {
        let document = request.read_document(gateway).await?;
        DeleteRequest::parse(&document)?
    };
    // The document may have taken long: its keys are judged by the settings of now.
    access.settings().await?;
    let mut fates: Vec<Fate> = Vec::with_capacity(asked.objects.len());
    let mut batch = Batch::default();
    for (number, object) in asked.objects.iter().enumerate() {
        if number % JUDGED_AT_ONCE == JUDGED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let mut judged = target(object, |action, version| access.allow(action, &object.key, version));
        if let Ok(target) = &judged
            && target.demands()
            && let Err(error) = access.admit_to_read(&target.key).await
        {
            judged = Err(error);
        }
        match judged {
            Ok(target) => {
                if batch.len + target.key.len() > MAX_BATCH_LEN {
                    std::mem::take(&mut batch).send(&access, &mut fates).await?;
                }
                batch.push(fates.len(), target);
                // Until its command has answered.
                fates.push(Err(Code::InternalError.into()));
            }
            // A version that is not there has been deleted.
            Err(error) if error.code == Code::NoSuchVersion => fates.push(Ok(())),
            Err(error) => fates.push(Err(error)),
        }
    }
    batch.send(&access, &mut fates).await?;
    Ok(answer(&asked, &fates).reply())
}

/// What is to be deleted, if the caller may.
fn target(
    object: &ObjectToDelete,
    judge: impl Fn(&'static str, &Version) -> Result<(), S3Error>,
) -> Result<DeleteTarget, S3Error> {
    if object.key.len() > MAX_KEY_LEN {
        return Err(Code::KeyTooLongError.into());
    }
    let version = Version::parse(object.version_id.as_deref())?;
    let action = if version == Version::Current { "s3:DeleteObject" } else { "s3:DeleteObjectVersion" };
    judge(action, &version)?;
    version.must_be_there()?;
    if object.etag.is_some() || object.last_modified.is_some() || object.size.is_some() {
        // What comes of it tells of the object that is there.
        judge("s3:GetObject", &version)?;
    }
    let condition = match object.etag.as_deref().map(trim) {
        None => WriteCondition::Always,
        Some("*") => WriteCondition::Exists,
        Some(text) => WriteCondition::ETag(etag_or_nobodys(text)),
    };
    let modified_ms = match &object.last_modified {
        None => None,
        Some(text) => Some(modified_ms(text).ok_or(Code::InvalidArgument)?),
    };
    Ok(DeleteTarget { key: object.key.clone(), condition, modified_ms, size: object.size })
}

/// The targets of one command, and which of the request's objects each is.
#[derive(Default)]
struct Batch {
    places: Vec<usize>,
    targets: Vec<DeleteTarget>,
    /// Of the keys, in bytes.
    len: usize,
}

impl Batch {
    fn push(&mut self, place: usize, target: DeleteTarget) {
        self.len += target.key.len();
        self.places.push(place);
        self.targets.push(target);
    }

    async fn send(self, access: &Access, fates: &mut [Fate]) -> Result<(), S3Error> {
        if self.targets.is_empty() {
            return Ok(());
        }
        let command = |bucket| Command::DeleteObjects { bucket, targets: self.targets.clone() };
        let results = match access.command(command).await?.1 {
            Ok(Outcome::Deleted(results)) if results.len() == self.targets.len() => results,
            Ok(outcome) => return Err(group::unexpected(&outcome)),
            Err(rejection) => return Err(group::rejected(rejection, "")),
        };
        access.done();
        for ((place, target), result) in self.places.iter().zip(&self.targets).zip(results) {
            if let Some(fate) = fates.get_mut(*place) {
                *fate = judge(result, target);
            }
        }
        Ok(())
    }
}

fn answer(asked: &DeleteRequest, fates: &[Fate]) -> Document {
    let mut document = Document::with_capacity("DeleteResult", 128 * fates.len());
    for (object, fate) in asked.objects.iter().zip(fates) {
        match fate {
            Ok(()) if asked.quiet => {}
            Ok(()) => {
                write_key(document.open("Deleted"), &object.key);
                document.text_opt("VersionId", object.version_id.as_deref()).close();
            }
            Err(error) => {
                write_key(document.open("Error"), &object.key);
                document.text_opt("VersionId", object.version_id.as_deref());
                document.text("Code", error.code.as_str()).text("Message", error.message()).close();
            }
        }
    }
    document
}

/// The key as S3 names it. Of one that XML cannot carry, which came as a reference such as `&#x1;`, characters are
/// replaced, so that several would look alike: such a key is there in `encoding-type=url`, too.
fn write_key(document: &mut Document, key: &str) {
    document.text("Key", key);
    if !can_carry(key) {
        document.encoded("EncodedKey", key, Encoding::Url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> ObjectToDelete {
        ObjectToDelete { key: key.to_owned(), ..ObjectToDelete::default() }
    }

    #[test]
    fn targets_are_made_of_what_is_given() {
        let all = ObjectToDelete {
            etag: Some("\"37b51d194a7513e45b56f6524f2d51f2\"".into()),
            version_id: Some("null".into()),
            last_modified: Some("1994-11-06T08:49:37Z".into()),
            size: Some(3),
            ..object("a")
        };
        let made = target(&all, |_, _| Ok(())).unwrap();
        assert!(matches!(made.condition, WriteCondition::ETag(_)));
        assert_eq!((made.size, made.modified_ms), (Some(3), Some(784_111_777_000)));
        let plain = target(&object("a"), |_, _| Ok(())).unwrap();
        assert_eq!((plain.condition, plain.size, plain.modified_ms), (WriteCondition::Always, None, None));
        let any = target(&ObjectToDelete { etag: Some("*".into()), ..object("a") }, |_, _| Ok(())).unwrap();
        assert_eq!(any.condition, WriteCondition::Exists);
    }

    #[test]
    fn what_cannot_be_is_an_error_of_its_key_alone() {
        let code = |object: &ObjectToDelete| target(object, |_, _| Ok(())).unwrap_err().code;
        assert_eq!(code(&object(&"k".repeat(1_025))), Code::KeyTooLongError);
        assert_eq!(code(&ObjectToDelete { last_modified: Some("soon".into()), ..object("a") }), Code::InvalidArgument);
        let version = Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY".to_owned());
        assert_eq!(code(&ObjectToDelete { version_id: version, ..object("a") }), Code::NoSuchVersion);
    }

    #[test]
    fn who_may_not_delete_a_key_learns_nothing_of_its_version() {
        let denied = |_: &str, _: &Version| Err(Code::AccessDenied.into());
        let version = Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY".to_owned());
        let error = target(&ObjectToDelete { version_id: version, ..object("a") }, denied).unwrap_err();
        assert_eq!(error.code, Code::AccessDenied);
    }

    #[test]
    fn keys_that_xml_cannot_carry_are_told_apart() {
        let keys = ["a\u{1}", "a\u{2}", "a\u{fffd}"];
        let asked = DeleteRequest { objects: keys.map(object).into(), quiet: true };
        let fates = [(); 3].map(|()| Err(Code::PreconditionFailed.into()));
        let answer = answer(&asked, &fates).finish();
        for shown in ["<Key>a\u{fffd}</Key><EncodedKey>a%01<", "<Key>a\u{fffd}</Key><EncodedKey>a%02<"] {
            assert_eq!(answer.matches(shown).count(), 1, "{answer}");
        }
        assert_eq!(answer.matches("<Key>a\u{fffd}</Key><Code>").count(), 1, "{answer}");
    }

    #[test]
    fn the_longest_keys_fit_in_whichever_way_they_are_written() {
        for byte in ["&amp;", "&quot;", "&#x26;", "&#127;"] {
            let key = byte.repeat(MAX_KEY_LEN);
            let version = "v".repeat(1_024);
            let etag = format!("&quot;{}-10000&quot;", "f".repeat(32));
            let more = "<LastModifiedTime>Fri, 03 Feb 2006 16:45:09 GMT</LastModifiedTime><Size>5497558138880</Size>";
            let object = format!(
                "<Object>\n  <Key>{key}</Key>\n  <VersionId>{version}</VersionId>\n  <ETag>{etag}</ETag>{more}</Object>\n"
            );
            let objects = object.repeat(MAX_DELETE_KEYS);
            let document = format!("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{objects}</Delete>");
            assert!(document.len() <= MAX_BODY_LEN, "{} bytes", document.len());
            let asked = DeleteRequest::parse(document.as_bytes()).unwrap();
            assert!(asked.objects.len() == MAX_DELETE_KEYS && asked.objects[999].key.len() == MAX_KEY_LEN);
        }
    }

    #[test]
    fn a_quiet_answer_shows_errors_only() {
        let mut asked = DeleteRequest { objects: vec![object("a&b"), object("c")], quiet: false };
        let results = [Ok(()), Err(Code::PreconditionFailed.into())];
        let loud = answer(&asked, &results).finish();
        assert!(
            loud.contains("<Deleted><Key>a&amp;b</Key></Deleted><Error><Key>c</Key><Code>PreconditionFailed</Code>")
        );
        asked.quiet = true;
        let quiet = answer(&asked, &results).finish();
        assert!(!quiet.contains("Deleted") && quiet.contains("<Error><Key>c</Key>"));
    }
}
