//! Reading what switches print for people: lists of VLANs, and records of `Key: value` lines. Strict: what is not
//! understood is an error with the text in it.

use isoledger_core::vlan::{VlanId, VlanSet};

/// How much of a text is quoted in an error.
const QUOTED: usize = 80;

/// Text that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not a list of VLANs.
    #[error(
        "found {found:?} in a list of VLANs; understood are ids from 1 to 4094, ranges of them, and words in parentheses"
    )]
    List {
        /// The part.
        found: String,
    },
    /// A list that goes on elsewhere.
    #[error("the list {found:?} ends in a comma, so the rest of it is missing")]
    Cut {
        /// The list.
        found: String,
    },
    /// Not one VLAN.
    #[error("found {found:?} where one VLAN from 1 to 4094 is due")]
    One {
        /// The text.
        found: String,
    },
}

/// A text for an error: not longer than a line.
pub fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED {
        return text.to_owned();
    }
    let short: String = text.chars().take(QUOTED).collect();
    format!("{short}…")
}

/// VLANs as a switch lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VlanList {
    /// The VLANs.
    pub vlans: VlanSet,
    /// The words in parentheses, in order, such as `Inactive` or `default`. They say something about a VLAN; it is in
    /// the list all the same.
    pub notes: Vec<String>,
}

/// Reads a list such as `1511,1600,1612-1614`. Its parts stand apart by commas, spaces or both; `none` or nothing is
/// the empty list, `all` every VLAN. Lists that are wrapped are read whole: a comma at the end is an error.
pub fn vlan_list(text: &str) -> Result<VlanList, TextError> {
    let mut list = VlanList::default();
    let bad = |found: &str| TextError::List { found: quoted(found) };
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('(') {
        let (note, after) = behind.split_once(')').ok_or_else(|| bad(text))?;
        if note.contains('(') || before.contains(')') {
            return Err(bad(text));
        }
        plain.push_str(before);
        plain.push(' ');
        list.notes.push(note.split_whitespace().collect::<Vec<_>>().join(" "));
        rest = after;
    }
    if rest.contains(')') {
        return Err(bad(text));
    }
    plain.push_str(rest);
    let plain = plain.trim();
    match plain.to_ascii_lowercase().as_str() {
        "" if list.notes.is_empty() => return Ok(list),
        "none" if list.notes.is_empty() => return Ok(list),
        "all" if list.notes.is_empty() => {
            list.vlans = VlanSet::all();
            return Ok(list);
        }
        _ => {}
    }
    if plain.ends_with(',') {
        return Err(TextError::Cut { found: quoted(plain) });
    }
    let mut ranges = Vec::new();
    for part in plain.split(',') {
        let mut words = part.split_whitespace().peekable();
        if words.peek().is_none() {
            return Err(bad(plain));
        }
        for word in words {
            let range = match word.split_once('-') {
                None => VlanId::parse(word).map(|v| (v, v)),
                Some((a, b)) => VlanId::parse(a).zip(VlanId::parse(b)).filter(|(a, b)| a <= b),
            };
            ranges.push(range.ok_or_else(|| bad(word))?);
        }
    }
    let sets = ranges.into_iter().map(|(a, b)| VlanSet::range(a, b));
    list.vlans = sets.fold(VlanSet::empty(), |all, one| all.union(&one));
    Ok(list)
}

/// Reads one VLAN, such as `1`, `1 (default)` or `1512 (Inactive)`; `None` for `none` or nothing.
pub fn vlan(text: &str) -> Result<Option<VlanId>, TextError> {
    let bad = || TextError::One { found: quoted(text.trim()) };
    let list = vlan_list(text).map_err(|_| bad())?;
    let mut ids = list.vlans.iter();
    match (ids.next(), ids.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(one)),
        _ => Err(bad()),
    }
}

/// The longest list of ports that is written out.
const MAX_LISTED: usize = 4096;

/// Reads a list of ports such as `gi1/0/5,gi1/0/7-10,po1-2`, without spaces, into lower-case names; `None` when it is
/// none.
pub fn port_list(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let part = part.to_ascii_lowercase();
        let (first, to) = part.split_once('-').map_or((part.as_str(), None), |(a, b)| (a, Some(b)));
        let letters = first.bytes().take_while(u8::is_ascii_lowercase).count();
        let (kind, numbers) = first.split_at(letters);
        let plain = |n: &str| !n.is_empty() && n.len() <= 4 && n.bytes().all(|b| b.is_ascii_digit());
        if !matches!(kind, "gi" | "te" | "fa" | "fo" | "tw" | "xg" | "po") || !numbers.split('/').all(plain) {
            return None;
        }
        let Some(to) = to else {
            all.push(part);
            continue;
        };
        let stem = first.rfind('/').map_or(letters, |at| at + 1);
        let from: u16 = first[stem..].parse().ok()?;
        let to: u16 = plain(to).then(|| to.parse().ok())??;
        if from > to || all.len() + usize::from(to - from) >= MAX_LISTED {
            return None;
        }
        all.extend((from..=to).map(|n| format!("{}{n}", &first[..stem])));
    }
    Some(all)
}

/// A `Key: value` line with the lines that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What stands before the first colon, without spaces around it.
    pub key: String,
    /// What stands behind it, with each continuation after a space.
    pub value: String,
    /// The number of its line, from 0.
    pub line: usize,
}

/// A text of `Key: value` lines, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The fields in order. Empty lines are skipped.
    pub fields: Vec<Field>,
    /// Lines that are neither a field nor a continuation, with their numbers.
    pub strays: Vec<(usize, String)>,
}

/// Reads `Key: value` lines. A line that begins with a space continues the value before it.
pub fn fields(text: &str) -> Fields {
    let mut all = Fields::default();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() {
            continue;
        }
        let continues = line.starts_with([' ', '\t']);
        match (continues, all.fields.last_mut(), content.split_once(':')) {
            (true, Some(last), _) => {
                last.value.push(' ');
                last.value.push_str(content);
            }
            (false, _, Some((key, value))) => all.fields.push(Field {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line: number,
            }),
            _ => all.strays.push((number, content.to_owned())),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> String {
        match vlan_list(text) {
            Ok(list) => {
                format!("{}{}", list.vlans, list.notes.iter().map(|n| format!(" ({n})")).collect::<String>())
            }
            Err(_) => "not understood".into(),
        }
    }

    #[test]
    fn lists() {
        for (text, want) in [
            ("", ""),
            ("  ", ""),
            ("none", ""),
            ("None", ""),
            ("all", "all"),
            ("All", "all"),
            ("1511,1600,1612-1614", "1511,1600,1612-1614"),
            (" 1511, 1600 ,1612-1614 ", "1511,1600,1612-1614"),
            ("1511,1600 1512 (Inactive)", "1511-1512,1600 (Inactive)"),
            ("1 (default)", "1 (default)"),
            ("3 (Vlan  not created)", "3 (Vlan not created)"),
            ("1(default),2", "1-2 (default)"),
            ("1-4094", "all"),
            ("0", "not understood"),
            ("4095", "not understood"),
            ("01", "not understood"),
            ("5-3", "not understood"),
            ("1 - 3", "not understood"),
            ("1-2-3", "not understood"),
            ("1,", "not understood"),
            ("1,,2", "not understood"),
            (",1", "not understood"),
            ("(Inactive)", "not understood"),
            ("none (Inactive)", "not understood"),
            ("1 (Inactive", "not understood"),
            ("1 Inactive)", "not understood"),
            ("none,1", "not understood"),
            ("all,1", "not understood"),
            ("1511 Inactive", "not understood"),
            ("1511.", "not understood"),
            ("1511\u{fffd}", "not understood"),
        ] {
            assert_eq!(list(text), want, "{text:?}");
        }
        assert_eq!(vlan_list("1,2,"), Err(TextError::Cut { found: "1,2,".into() }));
    }

    #[test]
    fn one_vlan() {
        assert_eq!(vlan("1512 (Inactive)"), Ok(VlanId::new(1512)));
        assert_eq!(vlan("none"), Ok(None));
        assert_eq!(vlan(""), Ok(None));
        for bad in ["1,2", "all", "4095", "0", "x"] {
            assert!(vlan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        let list = |text| port_list(text).map(|l| l.join(" "));
        assert_eq!(list("gi1/0/5").as_deref(), Some("gi1/0/5"));
        assert_eq!(list("Gi1/0/7-9,po1-2,fa3").as_deref(), Some("gi1/0/7 gi1/0/8 gi1/0/9 po1 po2 fa3"));
        for none in
            ["", "1511", "gi", "gi1/", "gi1/0/5,", "gi1/0/5-3", "gigabit1", "eth0", "po1-x", "po1-65000"]
        {
            assert_eq!(list(none), None, "{none}");
        }
    }

    #[test]
    fn fields_and_what_is_none() {
        let got = fields("Name: gi1/0/5\nTrunk:  1,2\n   3 (Inactive)\n\n   4\nstray\nNo value:\n a: b\n");
        let want = [("Name", "gi1/0/5"), ("Trunk", "1,2 3 (Inactive) 4"), ("No value", " a: b")];
        let flat: Vec<_> = got.fields.iter().map(|f| (f.key.as_str(), f.value.as_str())).collect();
        assert_eq!(flat, want);
        assert_eq!(got.strays, [(5, "stray".to_owned())]);
        assert_eq!(fields("  lost\n").strays.len(), 1);
    }

    proptest! {
        #[test]
        fn what_a_set_prints_is_read(ids in prop::collection::vec(1u16..=4094, 0..40)) {
            let set: VlanSet = ids.into_iter().filter_map(VlanId::new).collect();
            prop_assert_eq!(vlan_list(&set.to_string()).unwrap().vlans, set);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = (vlan_list(&text), vlan(&text), fields(&text));
        }
    }
}
