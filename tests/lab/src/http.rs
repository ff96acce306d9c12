//! As much of HTTP as the emulated servers have: requests of any client, and the answers of HIL's development server, which
//! are HTTP/1.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::serve::{Connection, Ended};

const LONGEST_HEAD: usize = 64 << 10;
const LONGEST_BODY: usize = 1 << 20;

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The target, undecoded: path, and query if any.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Reads one request. What arrives of the next one is left in `buffer`.
    pub(crate) async fn read(connection: &mut Connection, buffer: &mut Vec<u8>) -> Result<Request, Ended> {
        let head = loop {
            if let Some(end) = find(buffer, b"\r\n\r\n") {
                break end;
            }
            if buffer.len() > LONGEST_HEAD {
                return Err(Ended::Protocol("the request head is too long".to_owned()));
            }
            connection.read(buffer).await?;
        };
        let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
            return Err(Ended::Protocol("that is no HTTP request line".to_owned()));
        };
        if !version.starts_with("HTTP/1.") {
            return Err(Ended::Protocol(format!("{version} is not spoken here")));
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request =
            Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
        // Without a length there is no body, as far as the real server is concerned.
        let length: usize = request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        if length > LONGEST_BODY {
            return Err(Ended::Protocol("the request body is too long".to_owned()));
        }
        let end = head + 4 + length;
        while buffer.len() < end {
            connection.read(buffer).await?;
        }
        request.body = buffer[head + 4..end].to_vec();
        buffer.drain(..end);
        Ok(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// User and password of HTTP Basic; `None` when the header is missing or makes no sense.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let (scheme, encoded) = self.header("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Response {
    /// What HIL's own functions return: JSON, labelled as HTML.
    pub(crate) fn api(status: u16, body: String) -> Response {
        Response { status, content_type: "text/html; charset=utf-8", headers: Vec::new(), body }
    }

    /// What the web framework answers by itself: a page.
    pub(crate) fn page(status: u16, text: &str) -> Response {
        let reason = reason(status);
        let body = format!(
            "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<title>{status} {reason}</title>\n\
             <h1>{reason}</h1>\n<p>{text}</p>\n"
        );
        Response { status, content_type: "text/html", headers: Vec::new(), body }
    }

    /// The bytes. A HEAD request gets everything but the body.
    pub(crate) fn to_bytes(&self, head_only: bool) -> Vec<u8> {
        let mut text = format!(
            "HTTP/1.0 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n",
            self.status,
            reason(self.status).to_uppercase(),
            self.content_type,
            self.body.len()
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Server: Werkzeug Python\r\nConnection: close\r\n\r\n");
        if !head_only {
            text.push_str(&self.body);
        }
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        301 => "Moved Permanently",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        _ => "Internal Server Error",
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

/// Undoes percent-encoding; in a query, `+` is a space. Bytes that are no UTF-8 are replaced, as the framework does.
pub(crate) fn decode(text: &str, query: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are at most 255.
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
                continue;
            }
            (b'+', ..) if query => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode("gi1%2F0%2f5", false), "gi1/0/5");
        assert_eq!(decode("a+b%20c", true), "a b c");
        assert_eq!(decode("a+b", false), "a+b");
        assert_eq!(decode("100%", false), "100%");
        assert_eq!(decode("%zz%4", false), "%zz%4");
        assert_eq!(decode("%ff", false), "\u{fffd}");
    }
}
