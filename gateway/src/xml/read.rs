//! Reads XML that a client sent, element by element. Document types and entities of a client's own are refused, depth
//! is bounded, and whatever is not well formed is `MalformedXML`. The length is bounded by who reads the body.

use quick_xml::events::{BytesDecl, BytesRef, Event};

use super::well_formed::{attributes, is_comment, is_declaration, is_instruction, is_name, is_text, resolve, trim};
use super::write::can_carry;
use crate::error::{Code, S3Error};

/// How deep elements may be nested; S3's own inputs need four.
const MAX_DEPTH: usize = 16;

/// Walks over a document. Each of its elements is asked for by its parent, and is then either entered, read as a text
/// or skipped.
pub struct Reader<'a> {
    inner: quick_xml::Reader<&'a [u8]>,
    depth: usize,
    /// Something has been read: a declaration comes too late.
    has_begun: bool,
}

impl<'a> Reader<'a> {
    /// Enters the root element, which must have this name. Namespaces and prefixes are ignored, as S3 does.
    pub fn new(document: &'a [u8], root: &str) -> Result<Self, S3Error> {
        let text = std::str::from_utf8(document).map_err(|_| malformed())?;
        // The parser lets them pass, and a key that was cut out of what is no XML may be anybody's.
        if !can_carry(text) {
            return Err(malformed());
        }
        let mut inner = quick_xml::Reader::from_str(text);
        inner.config_mut().expand_empty_elements = true;
        let mut reader = Self { inner, depth: 0, has_begun: false };
        match reader.child()? {
            Some(name) if name == root => Ok(reader),
            _ => Err(malformed()),
        }
    }

    /// The name of the next child of the current element, which is entered by this; `None` at the current element's
    /// end, which is left by this. Text between elements must be white space.
    pub fn child(&mut self) -> Result<Option<String>, S3Error> {
        loop {
            match self.event()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    self.enter()?;
                    return Ok(Some(name));
                }
                Event::End(_) => {
                    self.leave()?;
                    return Ok(None);
                }
                Event::Text(text) if trim(&text).is_empty() => {}
                // Read as what it is not, a key would be another one.
                Event::Decl(declaration) if declares_another_encoding(&declaration) => return Err(malformed()),
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// The text of the current element, which is left by this; it must have no children. White space is kept.
    pub fn text(&mut self) -> Result<String, S3Error> {
        let mut out = String::new();
        loop {
            match self.event()? {
                Event::Text(text) => out.push_str(&text.xml10_content()),
                Event::CData(text) => out.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => out.push(character(&reference)?),
                Event::Comment(_) | Event::PI(_) => {}
                Event::End(_) => {
                    self.leave()?;
                    return Ok(out);
                }
                _ => return Err(malformed()),
            }
        }
    }

    /// Leaves the current element with all that is in it.
    pub fn skip(&mut self) -> Result<(), S3Error> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            match self.event()? {
                Event::Start(_) => self.enter()?,
                Event::End(_) => self.leave()?,
                Event::DocType(_) | Event::Eof => return Err(malformed()),
                Event::GeneralRef(reference) => {
                    character(&reference)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// To be called once the root element has been left: nothing may come after it.
    pub fn finish(mut self) -> Result<(), S3Error> {
        if self.depth != 0 {
            return Err(malformed());
        }
        loop {
            match self.event()? {
                Event::Eof => return Ok(()),
                Event::Text(text) if trim(&text).is_empty() => {}
                Event::Comment(_) | Event::PI(_) => {}
                _ => return Err(malformed()),
            }
        }
    }

    /// The next event, which is well formed.
    fn event(&mut self) -> Result<Event<'a>, S3Error> {
        let event = self.inner.read_event().map_err(|_| malformed())?;
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let is_well_formed = match &event {
            Event::Start(start) => is_name(start.name().as_ref()) && attributes(start.attributes_raw()).is_some(),
            Event::Text(text) => is_text(text),
            Event::Comment(comment) => is_comment(comment),
            Event::PI(instruction) => is_instruction(instruction),
            Event::Decl(declaration) => is_first && is_declaration(declaration),
            _ => true,
        };
        if is_well_formed { Ok(event) } else { Err(malformed()) }
    }

    fn enter(&mut self) -> Result<(), S3Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(malformed()) } else { Ok(()) }
    }

    fn leave(&mut self) -> Result<(), S3Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(malformed)?;
        Ok(())
    }
}

fn declares_another_encoding(declaration: &BytesDecl<'_>) -> bool {
    let is_ours = |name: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|ours| name.eq_ignore_ascii_case(ours));
    declaration.encoding().is_some_and(|name| !name.is_ok_and(|name| is_ours(&name)))
}

fn character(reference: &BytesRef<'_>) -> Result<char, S3Error> {
    resolve(reference).ok_or_else(malformed)
}

pub fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of all children of the root.
    fn texts(document: &str) -> Result<Vec<(String, String)>, S3Error> {
        let mut reader = Reader::new(document.as_bytes(), "R")?;
        let mut out = Vec::new();
        while let Some(name) = reader.child()? {
            out.push((name, reader.text()?));
        }
        reader.finish()?;
        Ok(out)
    }

    fn is_malformed(document: &str) -> bool {
        matches!(texts(document), Err(error) if error.code == Code::MalformedXML)
    }

    #[test]
    fn texts_come_back_as_they_were_meant() {
        let document = "<?xml version=\"1.0\"?>\n<s3:R xmlns:s3=\"x\"> <A> a&amp;&#x41;&#66;<![CDATA[<c>]]> </A>\n<B/><!-- c --></s3:R>\n";
        let found = texts(document).unwrap();
        assert_eq!(found, [("A".to_owned(), " a&AB<c> ".to_owned()), ("B".to_owned(), String::new())]);
    }

    proptest::proptest! {
        #[test]
        fn what_was_written_is_read_back(text in "\\PC*|[\t\n\r\u{20}-\u{7f}]*") {
            proptest::prop_assume!(can_carry(&text));
            let mut document = crate::xml::Document::plain("R");
            document.text("A", &text).encoded("B", &text, crate::xml::Encoding::Plain);
            let found = texts(&document.finish()).unwrap();
            proptest::prop_assert_eq!(found, [("A".to_owned(), text.clone()), ("B".to_owned(), text)]);
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            "<R>",
            "<R><A></R>",
            "<R><A></B></R>",
            "<Other></Other>",
            "<R/><R/>",
            "<R>text</R>",
            "<R><A>&unknown;</A></R>",
            "<R><A>& </A></R>",
            "<R><A>&#0;</A></R>",
            "<R><A><B/></A></R>",
            "no xml",
            // Outside of the root.
            "text<R/>",
            "<R/>text",
            "<R/>&#32;",
            "<R/><![CDATA[ ]]>",
            "\u{a0}<R/>",
            "<R/>\u{2028}",
            "<R>\u{3000}<A/></R>",
            "\u{feff}\u{feff}<R/>",
            "<R/></R>",
            // Comments and instructions.
            "<R><!-- a--b --></R>",
            "<R><!-- a ---></R>",
            "<R><!--></R>",
            "<R><!---></R>",
            "<R><?xml version='1.0'?></R>",
            " <?xml version='1.0'?><R/>",
            "<?xml version='1.0'?><?xml version='1.0'?><R/>",
            "<?xml?><R/>",
            "<?xml encoding='UTF-8'?><R/>",
            "<R><?XML a?></R>",
            "<R><? a?></R>",
            "<R/><?xml version='1.0'?>",
            // Names and attributes.
            "<R><1/></R>",
            "<R>< A/></R>",
            "<R><A/ ></R>",
            "<R><A x/></R>",
            "<R><A x=1/></R>",
            "<R><A x='1'y='2'/></R>",
            "<R><A x='1' x='2'/></R>",
            "<R><A x='<'/></R>",
            "<R><A x='&'/></R>",
            "<R><A x='&unknown;'/></R>",
            "<R x='1' x='1'><A/></R>",
            "<R><A></A x='1'></R>",
            "<R><A></ A></R>",
            "<R><A\u{a0}x='1'/></R>",
            // Texts.
            "<R><A>]]></A></R>",
            "<R><A>&#X41;</A></R>",
            "<R><A>&#+65;</A></R>",
            "<R><A>&amp</A></R>",
        ] {
            assert!(is_malformed(document), "{document}");
        }
        assert!(Reader::new(b"<R>\xff</R>", "R").is_err());
    }

    #[test]
    fn what_is_skipped_is_well_formed_too() {
        let skipped = |inner: &str| {
            let document = format!("<R><A>{inner}</A></R>");
            let mut reader = Reader::new(document.as_bytes(), "R").unwrap();
            reader.child().unwrap();
            reader.skip().and_then(|()| reader.child()).and_then(|_| reader.finish())
        };
        for inner in ["", "text", "<B x='1'>t<!-- c --><?p i?>&lt;</B>", "<![CDATA[]]]]><![CDATA[>]]>"] {
            assert!(skipped(inner).is_ok(), "{inner}");
        }
        for inner in ["<B x/>", "<B x='1' x='1'/>", "<1/>", "<!-- -- -->", "]]>", "<?xml version='1.0'?>", "&a;", "<B>"]
        {
            assert!(skipped(inner).is_err(), "{inner}");
        }
    }

    #[test]
    fn what_is_odd_and_well_formed_is_read() {
        for document in [
            "\u{feff}<?xml version=\"1.0\" encoding='UTF-8' standalone=\"yes\" ?>\r\n<R\n>\t<A x = '>' y=\"&amp;'\">a</A ></R >\n<?p?>",
            "<!----><R><!-- - --><A>a</A></R><!-- a -->",
            "<s3:R xmlns:s3='x' xmlns='y'><s3:A>a</s3:A></s3:R>",
            "<R><A><![CDATA[a]]></A></R>",
        ] {
            assert_eq!(texts(document).unwrap(), [("A".to_owned(), "a".to_owned())], "{document}");
        }
    }

    #[test]
    fn a_character_that_xml_cannot_carry_is_refused_wherever_it_stands() {
        for bad in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            for document in [
                format!("<R><A>a{bad}</A></R>"),
                format!("<R><A><![CDATA[{bad}]]></A></R>"),
                format!("<R><A x=\"{bad}\"/></R>"),
                format!("<R><!--{bad}--></R>"),
                format!("<R/>{bad}"),
            ] {
                assert!(is_malformed(&document), "{document:?}");
            }
        }
        assert_eq!(
            texts("<R><A>\t\u{7f}\u{80}\u{fffd}&#x1;&#xffff;</A></R>").unwrap()[0].1,
            "\t\u{7f}\u{80}\u{fffd}\u{1}\u{ffff}"
        );
    }

    #[test]
    fn a_document_of_another_encoding_is_refused() {
        for encoding in ["UTF-8", "utf-8", "US-ASCII"] {
            assert!(
                !is_malformed(&format!("<?xml version='1.0' encoding='{encoding}'?><R><A>a</A></R>")),
                "{encoding}"
            );
        }
        for encoding in ["ISO-8859-1", "UTF-16", "x"] {
            assert!(is_malformed(&format!("<?xml version='1.0' encoding='{encoding}'?><R><A>a</A></R>")), "{encoding}");
        }
        assert!(!is_malformed("<?xml version='1.0'?><R><A>a</A></R>"));
    }

    #[test]
    fn document_types_are_refused() {
        assert!(is_malformed("<!DOCTYPE R [<!ENTITY a \"aaaa\">]><R><A>&a;</A></R>"));
        assert!(is_malformed("<R><!DOCTYPE R><A/></R>"));
        let mut reader = Reader::new(b"<R><A>&a;</A></R>", "R").unwrap();
        assert_eq!(reader.child().unwrap().as_deref(), Some("A"));
        assert!(reader.skip().is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let document = format!("<R>{}{}</R>", "<A>".repeat(100), "</A>".repeat(100));
        let mut reader = Reader::new(document.as_bytes(), "R").unwrap();
        reader.child().unwrap();
        assert!(reader.skip().is_err());
    }

    #[test]
    fn skipping_leaves_one_element_only() {
        let mut reader = Reader::new(b"<R><A><B>b<C/></B></A><D>d</D></R>", "R").unwrap();
        assert_eq!(reader.child().unwrap().as_deref(), Some("A"));
        reader.skip().unwrap();
        assert_eq!(reader.child().unwrap().as_deref(), Some("D"));
        assert_eq!(reader.text().unwrap(), "d");
        assert_eq!(reader.child().unwrap(), None);
        reader.finish().unwrap();
    }
}
