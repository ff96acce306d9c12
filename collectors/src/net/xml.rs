//! XML answers of switches: parsed within bounds, rid of secrets, and taken apart without passing anything over.
//!
//! # In scope
//! - [`parse`]: a tree, or why there is none. A document type, and with it every entity of one's own, is refused;
//!   nodes are counted, and neither the parser nor anything here recurses.
//! - [`keep`]: what of an answer may enter the evidence.
//! - Small questions to elements. Names are compared without their namespace and case: Network OS writes
//!   `TenGigabitEthernet` over REST and `tengigabitethernet` over NETCONF, and namespaces moved between its releases.
//!
//! # Out of scope
//! What an element means: that is its dialect's.

use roxmltree::{Document, Node, ParsingOptions};
use std::borrow::Cow;

/// The most nodes of one answer: a chassis of a thousand interfaces has some fifty each.
const MAX_NODES: u32 = 400_000;

/// Parts of the names of elements whose text is no one's business: authentication of routing protocols, RADIUS,
/// SNMP. None of them is needed to know what a port carries.
const CONFIDENTIAL: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "key", "md5", "community", "credential", "auth-string"];

/// What stands in the place of a secret.
const WITHHELD: &str = "[withheld]";

/// The root put around answers that have several: Network OS writes the entries of a list one after the other.
pub(crate) const ROOT: &str = "answers";

/// The text of an answer, to be parsed: as it came, or with [`ROOT`] around it where only that makes it one document.
pub(crate) fn rooted(answer: &[u8]) -> Result<Cow<'_, str>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "the answer is not UTF-8".to_owned())?;
    if parse(text).is_ok() {
        return Ok(Cow::Borrowed(text));
    }
    let wrapped = format!("<{ROOT}>{text}</{ROOT}>");
    Ok(if text.contains('<') && parse(&wrapped).is_ok() { Cow::Owned(wrapped) } else { Cow::Borrowed(text) })
}

/// The tree of an answer, or why it is none.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options)
        .map_err(|e| format!("the answer is not the XML expected: {e}"))
}

/// What of an answer is kept as evidence: the body verbatim, except that the text of [`CONFIDENTIAL`] elements is
/// replaced, and that a body which is no XML, where they cannot be found, is replaced by a statement of its length.
pub(crate) fn keep(answer: Vec<u8>) -> Vec<u8> {
    if answer.is_empty() {
        return answer;
    }
    let withheld = || format!("[withheld: {} bytes, not XML]", answer.len()).into_bytes();
    let Ok(text) = rooted(&answer) else { return withheld() };
    let Ok(tree) = parse(&text) else { return withheld() };
    let secrets = tree
        .descendants()
        .filter(|n| n.is_text() && !n.text().unwrap_or_default().trim().is_empty())
        .filter(|n| n.parent_element().is_some_and(is_confidential))
        .map(|n| n.range());
    // Without the root that was put around.
    let around = if matches!(text, Cow::Owned(_)) { ROOT.len() + 2 } else { 0 };
    let mut kept = Vec::with_capacity(answer.len());
    let mut from = 0;
    for secret in secrets {
        kept.extend_from_slice(&answer[from..secret.start - around]);
        kept.extend_from_slice(WITHHELD.as_bytes());
        from = secret.end - around;
    }
    kept.extend_from_slice(&answer[from..]);
    kept
}

fn is_confidential(element: Node<'_, '_>) -> bool {
    let name = element.tag_name().name().to_ascii_lowercase();
    CONFIDENTIAL.iter().any(|part| name.contains(part))
}

/// Whether the element has this name.
pub(crate) fn is(element: Node<'_, '_>, name: &str) -> bool {
    element.is_element() && element.tag_name().name().eq_ignore_ascii_case(name)
}

/// The elements directly below.
pub(crate) fn children<'a, 'd: 'a>(element: Node<'a, 'd>) -> impl Iterator<Item = Node<'a, 'd>> {
    element.children().filter(Node::is_element)
}

/// The name, in lower case.
pub(crate) fn name(element: Node<'_, '_>) -> String {
    element.tag_name().name().to_ascii_lowercase()
}

/// The text of an element that has nothing but text, without the blanks around it.
pub(crate) fn leaf(element: Node<'_, '_>) -> Result<String, String> {
    if children(element).next().is_some() {
        return Err(format!("<{}> holds elements where only text was expected", name(element)));
    }
    let text: String = element.children().filter_map(|n| n.is_text().then(|| n.text()).flatten()).collect();
    Ok(text.trim().to_owned())
}

/// A leaf that is a flag: `true`, or empty, which is how an element that only exists is written.
pub(crate) fn flag(element: Node<'_, '_>) -> Result<bool, String> {
    match leaf(element)?.as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("<{}> is {other:?}; known are true and false", name(element))),
    }
}

/// Fails when an element that should hold elements only holds text as well.
pub(crate) fn no_text(element: Node<'_, '_>) -> Result<(), String> {
    let stray =
        element.children().filter(Node::is_text).any(|n| !n.text().unwrap_or_default().trim().is_empty());
    if stray {
        Err(format!("<{}> holds text where only elements were expected", name(element)))
    } else {
        Ok(())
    }
}

/// Whether anything is configured in an element. Containers that hold nothing are shown all the same, with their own
/// address as an attribute; a childless element without attributes is a setting that exists or not.
pub(crate) fn says_something(element: Node<'_, '_>) -> bool {
    element.descendants().any(|n| match n.is_text() {
        true => !n.text().unwrap_or_default().trim().is_empty(),
        false => n.is_element() && !n.has_children() && n.attributes().len() == 0,
    })
}

/// Whether anything is switched on in an element: as [`says_something`], but for flags that are false.
pub(crate) fn turns_something_on(element: Node<'_, '_>) -> bool {
    element.descendants().any(|n| match n.is_text() {
        true => !matches!(n.text().unwrap_or_default().trim(), "" | "false"),
        false => n.is_element() && !n.has_children() && n.attributes().len() == 0,
    })
}

/// The only child of this name; fails when there are two, for which of them counts nobody can say.
pub(crate) fn only<'a, 'd: 'a>(element: Node<'a, 'd>, wanted: &str) -> Result<Option<Node<'a, 'd>>, String> {
    let mut found = children(element).filter(|c| is(*c, wanted));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(format!("<{}> holds <{wanted}> twice", name(element))),
        (one, None) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_are_refused() {
        let lol = r#"<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]><a>&y;</a>"#;
        assert!(parse(lol).unwrap_err().contains("not the XML expected"));
        let outside = r#"<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>"#;
        assert!(parse(outside).is_err());
        assert!(parse("<a>&undefined;</a>").is_err());
        assert!(rooted(b"<a>\xff</a>").is_err());
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_NODES as usize));
        assert!(parse(&many).is_err());
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{}{}", "<a>".repeat(150_000), "</a>".repeat(150_000));
        let tree = parse(&deep).unwrap();
        assert!(!says_something(tree.root_element()) || tree.descendants().count() > 150_000);
        assert_eq!(keep(deep.clone().into_bytes()), deep.as_bytes());
        // Never closed: refused, without a stack to overflow.
        assert!(parse(&"<a>".repeat(150_000)).is_err());
    }

    #[test]
    fn secrets_never_become_evidence() {
        let answer = r#"<i><name>1/0/1</name><ospf><authentication-key x="1"> hunter2 </authentication-key></ospf>
            <key-chain><![CDATA[hunter2]]></key-chain><md5><n>5</n></md5></i>"#;
        let kept = String::from_utf8(keep(answer.as_bytes().to_vec())).unwrap();
        assert!(!kept.contains("hunter2") && kept.contains("<name>1/0/1</name>"), "{kept}");
        assert_eq!(kept.matches(WITHHELD).count(), 2);
        assert!(kept.contains("<n>5</n>"));
        assert!(parse(&kept).is_ok());
        // Cut off, the secret can no longer be told from the rest.
        for cut in 1..answer.len() {
            let kept = String::from_utf8(keep(answer.as_bytes()[..cut].to_vec())).unwrap();
            assert_eq!(kept, format!("[withheld: {cut} bytes, not XML]"));
        }
        assert!(keep(Vec::new()).is_empty());
    }

    #[test]
    fn several_roots_are_one_document() {
        let answer = b"<a><key>hunter2</key></a>\r\n<b/>";
        assert_eq!(rooted(answer).unwrap(), "<answers><a><key>hunter2</key></a>\r\n<b/></answers>");
        assert_eq!(keep(answer.to_vec()), b"<a><key>[withheld]</key></a>\r\n<b/>");
        for one in ["<a/>", "<a>", "text", "</answers><answers>", "<!DOCTYPE a><a/>"] {
            let text = rooted(one.as_bytes()).unwrap();
            assert!(text == one || parse(&text).unwrap().root_element().has_tag_name(ROOT), "{one}");
        }
        assert!(parse(&rooted(b"<!DOCTYPE a><a/><b/>").unwrap()).is_err());
        assert!(parse(&rooted(b"Welcome!").unwrap()).is_err());
    }

    #[test]
    fn what_says_something() {
        for (text, says) in [
            ("<a/>", true),
            (r#"<a self="x"/>"#, false),
            (r#"<a self="x"> <b self="y"/> </a>"#, false),
            (r#"<a self="x"><b/></a>"#, true),
            (r#"<a self="x"><b self="y">1</b></a>"#, true),
        ] {
            assert_eq!(says_something(parse(text).unwrap().root_element()), says, "{text}");
        }
    }
}
