//! The table `[witness]` of the configuration: whom the service asks to cosign, and whose audits count.

use isoledger_core::Span;
use isoledger_core::note::{KeyKind, VerifierKey};
use isoledger_core::record::valid_word;
use reqwest::Url;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The shortest period that needs no further word.
const SHORTEST: Span = Span::from_secs(60);

/// Witnesses and auditors, and how the former are asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct WitnessConfig {
    /// From the start of one round to the start of the next.
    pub(crate) period: Span,
    /// How long a witness may take to answer.
    pub(crate) deadline: Span,
    /// Whether the service starts although a required witness does not answer.
    pub(crate) fail_open: bool,
    /// Whether a period below a minute is meant.
    pub(crate) short_period: bool,
    /// The witnesses, by a name of the operator's.
    pub(crate) by: BTreeMap<String, Cosigner>,
    /// Verifier keys of auditors, by a name of the operator's.
    pub(crate) auditors: BTreeMap<String, String>,
}

impl Default for WitnessConfig {
    fn default() -> WitnessConfig {
        WitnessConfig {
            period: SHORTEST,
            deadline: Span::from_secs(10),
            fail_open: false,
            short_period: false,
            by: BTreeMap::new(),
            auditors: BTreeMap::new(),
        }
    }
}

/// A witness.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Cosigner {
    /// Its verifier key.
    pub(crate) vkey: String,
    /// Its submission prefix, without `/add-checkpoint`.
    pub(crate) url: String,
    /// Whether nothing is signed before it was asked.
    #[serde(default = "yes")]
    pub(crate) required: bool,
}

fn yes() -> bool {
    true
}

/// A witness's name, its key, and whether it is required.
pub(crate) type Named = (String, VerifierKey, bool);

/// What is wrong with the table: the key, what was found, what is allowed.
pub(crate) type Wrong = (&'static str, String, &'static str);

const COSIGNERS: &str =
    "a cosigner's verifier key (type 04), as `isoledger witness init` prints it; each key once";

fn key(at: &'static str, vkey: &str) -> Result<VerifierKey, Wrong> {
    match VerifierKey::parse(vkey) {
        Ok(key) if key.kind() == KeyKind::Cosignature => Ok(key),
        _ => Err((at, vkey.to_owned(), COSIGNERS)),
    }
}

/// The prefix without a slash at its end.
fn url(text: &str) -> Result<Url, Wrong> {
    let allowed =
        "an http or https URL without query, fragment and password, such as https://witness.example/w1";
    let parsed = Url::parse(text.trim_end_matches('/')).ok();
    let plain = |u: &Url| {
        ["http", "https"].contains(&u.scheme())
            && u.has_host()
            && u.query().is_none()
            && u.fragment().is_none()
            && u.username().is_empty()
            && u.password().is_none()
    };
    parsed.filter(plain).ok_or(("witness.by.NAME.url", text.to_owned(), allowed))
}

impl WitnessConfig {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        if self.period < SHORTEST && !self.short_period {
            let allowed = "at least 60s, for a witness serves many logs; or witness.short-period = true";
            return Err(("witness.period", self.period.to_string(), allowed));
        }
        if self.period < Span::from_millis(50) {
            return Err(("witness.period", self.period.to_string(), "at least 50ms"));
        }
        if self.deadline < Span::from_millis(50) || self.deadline > Span::from_secs(60) {
            return Err(("witness.deadline", self.deadline.to_string(), "50ms to 1m"));
        }
        for name in self.by.keys().chain(self.auditors.keys()) {
            if !valid_word(name) {
                let allowed = "names of letters, digits, '.', '_' and '-', at most 64";
                return Err(("witness.by", name.clone(), allowed));
            }
        }
        let mut keys: Vec<VerifierKey> = Vec::new();
        let witnesses = self.by.values().map(|w| ("witness.by.NAME.vkey", &w.vkey));
        for (at, vkey) in witnesses.chain(self.auditors.values().map(|v| ("witness.auditors.NAME", v))) {
            let key = key(at, vkey)?;
            if keys.iter().any(|k| k.public() == key.public()) {
                return Err((at, vkey.clone(), COSIGNERS));
            }
            keys.push(key);
        }
        self.by.values().try_for_each(|w| url(&w.url).map(|_| ()))
    }

    /// The witnesses, those of one URL together: name, key and whether it is required.
    ///
    /// # Errors
    /// As [`check`](WitnessConfig::check).
    pub(crate) fn by_url(&self) -> Result<BTreeMap<String, Vec<Named>>, Wrong> {
        let mut out: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (name, w) in &self.by {
            let at = url(&w.url)?.as_str().trim_end_matches('/').to_owned();
            let key = key("witness.by.NAME.vkey", &w.vkey)?;
            out.entry(at).or_default().push((name.clone(), key, w.required));
        }
        Ok(out)
    }

    /// The auditors: name and key.
    ///
    /// # Errors
    /// As [`check`](WitnessConfig::check).
    pub(crate) fn auditors(&self) -> Result<Vec<(String, VerifierKey)>, Wrong> {
        self.auditors.iter().map(|(n, v)| Ok((n.clone(), key("witness.auditors.NAME", v)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isoledger_core::note::NoteSigner;

    fn vkey(n: u8) -> String {
        NoteSigner::cosigner(&format!("w{n}.example"), &[n; 32]).unwrap().verifier().to_string()
    }

    fn parse(text: &str) -> WitnessConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn witnesses_of_one_url_are_asked_once() {
        let text = format!(
            "[by.a]\nvkey = \"{}\"\nurl = \"https://w.example/x/\"\n[by.b]\nvkey = \"{}\"\nurl = \"https://w.example/x\"\n\
             required = false\n[by.c]\nvkey = \"{}\"\nurl = \"http://v.example\"\n[auditors]\nd = \"{}\"\n",
            vkey(1),
            vkey(2),
            vkey(3),
            vkey(4)
        );
        let config = parse(&text);
        config.check().unwrap();
        let by = config.by_url().unwrap();
        assert_eq!(by.keys().collect::<Vec<_>>(), ["http://v.example", "https://w.example/x"]);
        let names: Vec<_> = by["https://w.example/x"].iter().map(|(n, _, r)| (n.as_str(), *r)).collect();
        assert_eq!(names, [("a", true), ("b", false)]);
        assert_eq!(config.auditors().unwrap()[0].0, "d");
    }

    #[test]
    fn mistakes_are_named() {
        let log = NoteSigner::new("log.example", &[9; 32]).unwrap().verifier().to_string();
        let one = |vkey: &str, url: &str| format!("[by.a]\nvkey = \"{vkey}\"\nurl = \"{url}\"\n");
        let good = one(&vkey(1), "https://w.example");
        for (text, key) in [
            (one(&log, "https://w.example"), "witness.by.NAME.vkey"),
            (one("w", "https://w.example"), "witness.by.NAME.vkey"),
            (one(&vkey(1), "ftp://w.example"), "witness.by.NAME.url"),
            (one(&vkey(1), "https://a:b@w.example"), "witness.by.NAME.url"),
            (one(&vkey(1), "https://w.example?x"), "witness.by.NAME.url"),
            (one(&vkey(1), "w.example"), "witness.by.NAME.url"),
            (format!("period = \"59s\"\n{good}"), "witness.period"),
            (format!("period = \"1ms\"\nshort-period = true\n{good}"), "witness.period"),
            (format!("deadline = \"1h\"\n{good}"), "witness.deadline"),
            (format!("{good}[auditors]\nd = \"{}\"\n", vkey(1)), "witness.auditors.NAME"),
            (format!("{good}[auditors]\n\"a b\" = \"{}\"\n", vkey(2)), "witness.by"),
        ] {
            assert_eq!(parse(&text).check().unwrap_err().0, key, "{text}");
        }
        parse(&format!("period = \"1s\"\nshort-period = true\n{good}")).check().unwrap();
        assert!(toml::from_str::<WitnessConfig>("periode = \"1m\"").is_err());
    }
}
