//! One answer of HIL, as it enters the evidence, and what its status and body mean.

use super::ask::Ask;
use super::json::{Json, tidy};
use std::collections::BTreeMap;

/// The settled answers of a crawl, one per question.
pub type Pages = BTreeMap<Ask, Answer>;

/// Members of a node's page that never enter the evidence. `metadata` is free text of the administrators (HIL
/// keeps endorsement keys there); the others are the machine's controller, which old versions of HIL showed.
pub const CONFIDENTIAL: [&str; 3] = ["metadata", "obm", "obmd"];

/// A status and a body, after [`Answer::kept`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: verbatim but for what [`Answer::kept`] does to it.
    pub body: Vec<u8>,
}

impl Answer {
    /// What of an answer is kept as evidence: the body verbatim, except that
    /// - the elements of lists and the members of objects are put in the order of their bytes. HIL asks its database
    ///   for most of them without an order and so may answer otherwise although nothing changed; none of them has a
    ///   meaning that depends on it;
    /// - a node's page loses the values of its [`CONFIDENTIAL`] members, and one that is no JSON, where they cannot be
    ///   found, is replaced by a statement of its length;
    /// - an HTML page (HIL's router and its 500s; never data) is replaced by its title: with HIL's debugger on it
    ///   holds source lines, addresses and the debugger's own key.
    pub fn kept(ask: &Ask, status: u16, body: Vec<u8>) -> Answer {
        let node = matches!(ask, Ask::Node(_));
        let body = if let Some(title) = html_title(&body) {
            format!("[html: {title}]").into_bytes()
        } else if let Some(tidy) = tidy(&body, if node { &CONFIDENTIAL } else { &[] }) {
            tidy
        } else if node && !body.is_empty() {
            format!("[withheld: {} bytes, not JSON]", body.len()).into_bytes()
        } else {
            body
        };
        Answer { status, body }
    }

    /// The class and the text of the error, if the body is one of HIL's errors.
    pub fn error(&self) -> Option<(String, String)> {
        let json = Json::parse(&self.body).ok()?;
        match (json.member("type")?, json.member("msg")?) {
            (Json::Text(class), Json::Text(text)) => Some((class.clone(), text.clone())),
            _ => None,
        }
    }

    /// Whether HIL says that what was asked about does not exist (its router's 404, an HTML page, says no such
    /// thing).
    pub fn not_found(&self) -> bool {
        self.status == 404 && self.error().is_some_and(|(class, _)| class == "NotFoundError")
    }

    /// The refusal that this answer is, if it is one; `credentials` tells whether we sent any.
    pub fn refusal(&self, credentials: bool) -> Option<Refusal> {
        let text = self.error().map(|(_, text)| text).unwrap_or_default();
        match (self.status, credentials) {
            // HIL looks the user up before the password, and a user it does not know is "not found" on any path.
            // None of our questions names a user, so nothing else can be meant.
            (404, true) if text.starts_with("User ") && text.ends_with(" does not exist.") => {
                Some(Refusal::UnknownUser { text: quote(text.as_bytes()) })
            }
            (401, _) if !text.is_empty() && !text.starts_with("Authentication failed") => {
                Some(Refusal::NotAdmin { text: quote(text.as_bytes()) })
            }
            (401, true) => Some(Refusal::WrongPassword),
            (401, false) => Some(Refusal::NoCredentials),
            (403 | 407, _) => Some(Refusal::Forbidden { status: self.status }),
            (300..=399, _) => Some(Refusal::Redirect { status: self.status }),
            _ => None,
        }
    }
}

/// HIL, or something before it, would not answer us at all. Every further request would cost HIL the computing of
/// a password hash and end the same way, so the crawl stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404 `User … does not exist.`
    #[error("HIL does not know the configured user (404: {text}): check `user`")]
    UnknownUser {
        /// HIL's words.
        text: String,
    },
    /// 401 `Authentication failed…`
    #[error("HIL refuses the configured user's password (401): check `password_file` or `password_env`")]
    WrongPassword,
    /// 401 `Authentication failed…`, and we claimed nothing.
    #[error("HIL wants credentials (401) and none are configured: set `user` and `password_file`")]
    NoCredentials,
    /// 401 with any other text.
    #[error(
        "the configured user is not an administrator of HIL (401: {text}); others are shown neither ports nor all \
         networks: use an administrator, or the database reader with a read-only role"
    )]
    NotAdmin {
        /// HIL's words.
        text: String,
    },
    /// HIL never says 403: a proxy before it does.
    #[error("something before HIL refuses access ({status}; HIL itself never says that): check the proxy")]
    Forbidden {
        /// The status.
        status: u16,
    },
    /// HIL redirects none of our questions. Following would send the credentials elsewhere.
    #[error(
        "the answer is a redirect ({status}), which is never followed since it would send the credentials to \
             another place: set `url` to HIL itself"
    )]
    Redirect {
        /// The status.
        status: u16,
    },
}

/// The title of an HTML page; `None` for what is none.
fn html_title(body: &[u8]) -> Option<String> {
    // No JSON begins with "<", and every page of HIL's server does.
    if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'<') {
        return None;
    }
    // Titles stand in the first lines; the rest of a page may be megabytes.
    let head = String::from_utf8_lossy(body.get(..4096).unwrap_or(body)).into_owned();
    // ASCII lower case keeps every byte's position.
    let lower = head.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|from| {
        let to = lower.get(from..)?.find("</title>")? + from;
        head.get(from..to)
    });
    Some(quote(title.unwrap_or("untitled").trim().as_bytes()))
}

/// Text of a stranger, for a sentence: at most 160 characters of it, control characters escaped.
pub(crate) fn quote(text: &[u8]) -> String {
    const SHOWN: usize = 160;
    // A character has at most four bytes.
    let head = String::from_utf8_lossy(text.get(..4 * SHOWN).unwrap_or(text)).into_owned();
    let mut out: String = head.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if head.chars().count() > SHOWN || text.len() > 4 * SHOWN {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::kept(&Ask::Nodes, status, body.as_bytes().to_vec())
    }

    #[test]
    fn refusals() {
        let failed = r#"{"msg": "Authentication failed. Authentication is required to use this service.", "type": "AuthorizationError"}"#;
        let admin = r#"{"type": "AuthorizationError", "msg": "This operation is administrator-only."}"#;
        let ghost = r#"{"msg": "User ghost does not exist.", "type": "NotFoundError"}"#;
        let html = "<title>404 Not Found</title>";
        let node = r#"{"msg": "Node ghost does not exist.", "type": "NotFoundError"}"#;
        let not_admin = Refusal::NotAdmin { text: "This operation is administrator-only.".into() };
        let unknown = Refusal::UnknownUser { text: "User ghost does not exist.".into() };
        for (status, body, credentials, expected) in [
            (401, failed, true, Some(Refusal::WrongPassword)),
            (401, failed, false, Some(Refusal::NoCredentials)),
            (401, "", true, Some(Refusal::WrongPassword)),
            (401, "<title>401</title>", true, Some(Refusal::WrongPassword)),
            (401, admin, true, Some(not_admin.clone())),
            (401, admin, false, Some(not_admin)),
            (404, ghost, true, Some(unknown)),
            (404, node, true, None),
            (404, html, true, None),
            (403, "", true, Some(Refusal::Forbidden { status: 403 })),
            (302, "", true, Some(Refusal::Redirect { status: 302 })),
            (307, "", false, Some(Refusal::Redirect { status: 307 })),
            (500, html, true, None),
            (200, "[]", true, None),
        ] {
            assert_eq!(answer(status, body).refusal(credentials), expected, "{status} {body} {credentials}");
        }
    }

    #[test]
    fn html_is_reduced_to_its_title() {
        for (body, kept) in [
            ("<!DOCTYPE HTML>\n<title>404 Not Found</title>\n<h1>x</h1>", "[html: 404 Not Found]"),
            ("\n <HTML><TITLE> 500 </TITLE>SECRET = \"abc\"", "[html: 500]"),
            ("<p>SECRET", "[html: untitled]"),
            ("<title>never closed", "[html: untitled]"),
            ("[\"<title>x</title>\"]", "[\"<title>x</title>\"]"),
            ("", ""),
        ] {
            assert_eq!(answer(500, body).body, kept.as_bytes(), "{body}");
        }
    }

    #[test]
    fn a_node_page_never_keeps_metadata() {
        let keep = |body: &str| {
            let kept = Answer::kept(&Ask::Node("n".into()), 200, body.as_bytes().to_vec());
            String::from_utf8(kept.body).unwrap()
        };
        assert_eq!(
            keep(r#"{"metadata": {"EK": "\"s3cret\""}, "name": "n"}"#),
            r#"{"metadata": "[redacted]", "name": "n"}"#
        );
        assert_eq!(keep(r#"{"obm": {"password": "s3cret"}}"#), r#"{"obm": "[redacted]"}"#);
        // Cut off within the metadata: nothing of it is kept.
        assert_eq!(keep(r#"{"metadata": {"EK": "s3cr"#), "[withheld: 25 bytes, not JSON]");
        assert_eq!(keep(""), "");
    }

    #[test]
    fn quotes_are_short_and_printable() {
        assert_eq!(quote(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\u{fffd}");
        assert_eq!(quote(&[b'x'; 1_000_000]).chars().count(), 161);
    }
}
