//! XML to be sent. Nothing here reads any.

use std::fmt::Write;

/// Text with what means something in XML written as entities.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no way to say these.
            c if c.is_control() && !matches!(c, '\t' | '\r' | '\n') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// What is in an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    Children(Vec<Element>),
}

/// A resource of a configuration that is served as a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    /// The namespace, where it is another than the parent's.
    pub(super) namespace: Option<&'static str>,
    /// The key of a list's entry, as it stands in a path.
    pub(super) key: Option<String>,
    pub(super) content: Content,
}

impl Element {
    pub(super) fn text(name: &str, text: impl Into<String>) -> Element {
        Element { name: name.to_owned(), namespace: None, key: None, content: Content::Text(text.into()) }
    }

    pub(super) fn flag(name: &str, value: bool) -> Element {
        Element::text(name, if value { "true" } else { "false" })
    }

    pub(super) fn of(name: &str, children: Vec<Element>) -> Element {
        Element { name: name.to_owned(), namespace: None, key: None, content: Content::Children(children) }
    }

    pub(super) fn within(mut self, namespace: &'static str) -> Element {
        self.namespace = Some(namespace);
        self
    }

    /// Makes it an entry of a list. A key with a slash or a space is written between quotes in paths.
    pub(super) fn keyed(mut self, key: &str) -> Element {
        let quoted = key.contains(['/', ' ']);
        self.key = Some(if quoted { format!("%22{key}%22") } else { key.to_owned() });
        self
    }

    pub(super) fn children(&self) -> &[Element] {
        match &self.content {
            Content::Children(children) => children,
            Content::Text(_) => &[],
        }
    }

    /// Writes the element as NOS does: `y:self` on everything that is no leaf, CRLF, two spaces for each level.
    ///
    /// `namespaces` are those of a document's root.
    pub(super) fn write(&self, out: &mut String, parent: &str, depth: usize, namespaces: &str) {
        let path = self.path(parent);
        let pad = "  ".repeat(depth);
        let (name, mut attributes) = (&self.name, namespaces.to_owned());
        if let Some(namespace) = self.namespace
            && namespaces.is_empty()
        {
            let _ = write!(attributes, " xmlns=\"{namespace}\"");
        }
        let own = format!(" y:self=\"{}\"", escape(&path));
        // Writing to a String cannot fail.
        let _ = match &self.content {
            Content::Text(text) => {
                // Only a leaf that is a document of its own says where it is.
                let own = if depth == 0 { own.as_str() } else { "" };
                write!(out, "{pad}<{name}{attributes}{own}>{}</{name}>\r\n", escape(text))
            }
            Content::Children(children) => {
                let _ = write!(out, "{pad}<{name}{attributes}{own}>\r\n");
                children.iter().for_each(|c| c.write(out, &path, depth + 1, ""));
                write!(out, "{pad}</{name}>\r\n")
            }
        };
    }

    pub(super) fn path(&self, parent: &str) -> String {
        match &self.key {
            Some(key) => format!("{parent}/{}/{key}", self.name),
            None => format!("{parent}/{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("a</command>&\u{1}\"\r\n"), "a&lt;/command&gt;&amp;\u{fffd}&quot;\r\n");
    }

    #[test]
    fn leaves_have_no_self_and_keys_with_slashes_are_quoted() {
        let mut out = String::new();
        let port = Element::of("T", vec![Element::text("name", "1/0/1")]).keyed("1/0/1");
        Element::of("i", vec![port]).write(&mut out, "/r", 0, " xmlns=\"n\"");
        assert_eq!(
            out,
            "<i xmlns=\"n\" y:self=\"/r/i\">\r\n  <T y:self=\"/r/i/T/%221/0/1%22\">\r\n    <name>1/0/1</name>\r\n  \
             </T>\r\n</i>\r\n"
        );
    }
}
