//! Moments and lengths of time, to the millisecond, in one spelling each.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

const DAY_MS: u64 = 86_400_000;
/// The last moment with a four-digit year, 9999-12-31T23:59:59.999Z.
const MAX_MS: u64 = 253_402_300_799_999;

/// A moment: milliseconds since 1970-01-01T00:00:00Z, without leap seconds, up to the end of the year 9999.
/// Written `2026-03-02T10:11:12.345Z`, always with three decimals and `Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch; `None` past the year 9999.
    pub fn from_millis(ms: u64) -> Option<Timestamp> {
        (ms <= MAX_MS).then_some(Timestamp(ms))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: the unit of C2SP cosignatures.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved later by `span`, stopping at the end of the year 9999.
    pub fn plus(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0).min(MAX_MS))
    }

    /// `self` moved earlier by `span`, stopping at 1970.
    pub fn minus(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }

    /// Reads the one spelling, e.g. `2026-03-02T10:11:12.345Z`.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let b = text.as_bytes();
        if b.len() != 24 {
            return None;
        }
        for (i, sep) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')] {
            if b[i] != sep {
                return None;
            }
        }
        let num = |from: usize, to: usize| -> Option<u64> {
            b[from..to].iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
        };
        let (y, mo, d) = (num(0, 4)?, num(5, 7)?, num(8, 10)?);
        let (h, mi, s, ms) = (num(11, 13)?, num(14, 16)?, num(17, 19)?, num(20, 23)?);
        if y < 1970 || !(1..=12).contains(&mo) || d < 1 || h > 23 || mi > 59 || s > 59 {
            return None;
        }
        let t = Timestamp(days_from_civil(y, mo, d) * DAY_MS + ((h * 60 + mi) * 60 + s) * 1000 + ms);
        // The 31st of February parses as a number and comes back as another day: refuse it.
        (t.0 <= MAX_MS && t.to_string() == text).then_some(t)
    }

    /// Reads what a person types: the one spelling, or `2026-03-02T10:11:12Z`, or `2026-03-02` (midnight UTC).
    pub fn parse_lenient(text: &str) -> Option<Timestamp> {
        match text.len() {
            24 => Timestamp::parse(text),
            20 if text.ends_with('Z') => Timestamp::parse(&format!("{}.000Z", &text[..19])),
            10 if text.is_ascii() => Timestamp::parse(&format!("{text}T00:00:00.000Z")),
            _ => None,
        }
    }
}

// Days since 1970-01-01 of a Gregorian date, counted in years that begin in March so that the leap day is last.
fn days_from_civil(y: u64, m: u64, d: u64) -> u64 {
    let y = if m <= 2 { y - 1 } else { y };
    let (era, yoe) = (y / 400, y % 400);
    let doy = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d) = civil_from_days(self.0 / DAY_MS);
        let ms = self.0 % DAY_MS;
        let (s, ms) = (ms / 1000, ms % 1000);
        write!(f, "{y:04}-{mo:02}-{d:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Timestamp::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("a time is written 2026-03-02T10:11:12.345Z"))
    }
}

/// A length of time in milliseconds. Written as a whole number and one unit: `500ms`, `60s`, `15m`, `2h`, `30d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// From milliseconds.
    pub const fn from_millis(ms: u64) -> Span {
        Span(ms)
    }

    /// From seconds.
    pub const fn from_secs(s: u64) -> Span {
        Span(s * 1000)
    }

    /// In milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Reads `500ms`, `60s`, `15m`, `2h` or `30d`; no sign, no leading zero, no space, at most 100 years.
    pub fn parse(text: &str) -> Option<Span> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (num, unit) = text.split_at(digits);
        if num.is_empty() || num.len() > 13 || (num.len() > 1 && num.starts_with('0')) {
            return None;
        }
        let n: u64 = num.parse().ok()?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            _ => return None,
        };
        n.checked_mul(unit).filter(|ms| *ms <= 36_525 * DAY_MS).map(Span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Span::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "found {text:?}; a length of time is a whole number and ms, s, m, h or d, for example \"60s\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_772_446_272_345, "2026-03-02T10:11:12.345Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(Timestamp(ms)));
        }
        for bad in [
            "2026-02-31T10:11:12.345Z",
            "2026-03-02t10:11:12.345Z",
            "2026-03-02T10:11:12.345+",
            "2026-03-02T24:00:00.000Z",
            "1969-12-31T23:59:59.999Z",
            "2026-03-02T10:11:12Z",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
        assert_eq!(Timestamp::parse_lenient("2026-03-02"), Timestamp::parse("2026-03-02T00:00:00.000Z"));
    }

    #[test]
    fn spans() {
        for (text, ms) in [("0s", 0), ("500ms", 500), ("90s", 90_000), ("15m", 900_000), ("30d", 30 * DAY_MS)]
        {
            assert_eq!(Span::parse(text), Some(Span(ms)));
        }
        assert_eq!(Span(90_000).to_string(), "90s");
        assert_eq!(Span(1).to_string(), "1ms");
        for bad in ["", "s", "01s", "+1s", "1 s", "1w", "99999999999999d", "1.5s"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_survives_its_spelling(ms in 0..=MAX_MS) {
            prop_assert_eq!(Timestamp::parse(&Timestamp(ms).to_string()), Some(Timestamp(ms)));
        }

        #[test]
        fn every_span_survives_its_spelling(ms in 0..=36_525 * DAY_MS) {
            prop_assert_eq!(Span::parse(&Span(ms).to_string()), Some(Span(ms)));
        }
    }
}
