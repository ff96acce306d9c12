//! What may be typed: words, their abbreviations, and what is wrong with a line that is none of it.

use crate::world::Hardware;

/// Writes the answer of a `show` command, in lines that end in `\n`. The arguments are what stood for the placeholders.
pub(super) type Show = fn(&Hardware, &[String]) -> String;

/// What a command does.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    /// Answers from the configuration.
    Show(Show),
    /// Asks for more rights.
    Enable,
    /// Gives them back.
    Disable,
    /// Leaves the mode, or the session.
    Exit,
    /// Leaves the session.
    Logout,
    /// Turns the pager off, for this session.
    PagerOff,
    /// Turns it on again.
    PagerOn,
    /// Lines on a page; 0 is no pager.
    PageLength,
    /// Taken, and nothing comes of it; for this session only.
    Nothing,
    /// Enters configuration mode.
    Configure,
    /// Saves the running configuration.
    Save,
    /// Changes something that is not a part of the model: a restart, a file.
    Write,
}

/// A command. Words in angle brackets are placeholders: `<port>`, `<number>`, `<rest>` (everything to the end).
pub(super) struct Rule {
    pub(super) words: &'static str,
    /// Whether it needs the rights that `enable` gives.
    pub(super) privileged: bool,
    pub(super) verb: Verb,
}

/// A command for everybody.
pub(super) const fn free(words: &'static str, verb: Verb) -> Rule {
    Rule { words, privileged: false, verb }
}

/// A command for those with rights.
pub(super) const fn privileged(words: &'static str, verb: Verb) -> Rule {
    Rule { words, privileged: true, verb }
}

/// A line that was understood.
pub(super) struct Found {
    pub(super) rule: &'static Rule,
    pub(super) arguments: Vec<String>,
}

/// Why a line was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// No command has a word like the one at this place.
    Unknown(usize),
    /// Several have.
    Ambiguous(usize),
    /// It goes on.
    Incomplete(usize),
}

/// Reads a line by `rules`, those for the privileged only if `rights`.
pub(super) fn read(rules: &'static [Rule], rights: bool, line: &str) -> Result<Found, Wrong> {
    let words = words(line);
    let mut left: Vec<(&'static Rule, Vec<&'static str>)> =
        rules.iter().filter(|r| rights || !r.privileged).map(|r| (r, r.words.split(' ').collect())).collect();
    let mut arguments = Vec::new();
    let mut place = 0;
    let mut typed = words.iter().peekable();
    while let Some((at, word)) = typed.next() {
        // A word in full beats words it abbreviates; a word of the language beats a placeholder.
        let exact: Vec<_> =
            left.iter().filter(|(_, w)| w.get(place).is_some_and(|w| *w == word)).cloned().collect();
        let begins: Vec<_> = left
            .iter()
            .filter(|(_, w)| {
                w.get(place).is_some_and(|w| !w.starts_with('<') && w.starts_with(word.as_str()))
            })
            .cloned()
            .collect();
        let holds: Vec<_> =
            left.iter().filter(|(_, w)| w.get(place).is_some_and(|w| w.starts_with('<'))).cloned().collect();
        if !exact.is_empty() || !begins.is_empty() {
            left = if exact.is_empty() { begins } else { exact };
            let first = left[0].1[place];
            if left.iter().any(|(_, w)| w[place] != first) {
                return Err(Wrong::Ambiguous(*at));
            }
        } else if let Some((_, words)) = holds.first() {
            let argument = match words[place] {
                "<rest>" => {
                    let rest = line[*at..].trim_end().to_owned();
                    typed.by_ref().for_each(drop);
                    rest
                }
                "<number>" if word.parse::<u32>().is_ok() => word.clone(),
                "<port>" if word.bytes().any(|b| b.is_ascii_digit()) => word.clone(),
                // `gigabitethernet 1/0/5`: the type and the number, apart.
                "<port>" => match typed.peek() {
                    Some((_, number)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                        typed.next();
                        format!("{word}{number}")
                    }
                    _ => return Err(Wrong::Unknown(*at)),
                },
                _ => return Err(Wrong::Unknown(*at)),
            };
            arguments.push(argument);
            left = holds;
        } else {
            return Err(Wrong::Unknown(*at));
        }
        place += 1;
    }
    match left.iter().find(|(_, words)| words.len() == place) {
        Some((rule, _)) => Ok(Found { rule, arguments }),
        None => Err(Wrong::Incomplete(line.trim_end().len())),
    }
}

/// The words of a line, in lower case, with where they begin.
fn words(line: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut at = 0;
    for piece in line.split(' ') {
        if !piece.is_empty() {
            words.push((at, piece.to_ascii_lowercase()));
        }
        at += piece.len() + 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    static RULES: &[Rule] = &[
        free("show version", Verb::Nothing),
        free("show vlan", Verb::Nothing),
        free("show vlan id <number>", Verb::Nothing),
        privileged("show interfaces switchport", Verb::Nothing),
        privileged("show interfaces switchport <port>", Verb::Nothing),
        free("set <rest>", Verb::Nothing),
        free("enable", Verb::Enable),
    ];

    fn asked(line: &str) -> Result<(&'static str, Vec<String>), Wrong> {
        read(RULES, true, line).map(|f| (f.rule.words, f.arguments))
    }

    #[test]
    fn abbreviations_arguments_and_mistakes() {
        assert_eq!(asked("sh int sw"), Ok(("show interfaces switchport", vec![])));
        assert_eq!(
            asked("show int sw Gi1/0/5"),
            Ok(("show interfaces switchport <port>", vec!["gi1/0/5".into()]))
        );
        assert_eq!(asked("show int sw gigabit 1/0/5").unwrap().1, ["gigabit1/0/5"]);
        assert_eq!(asked("show vlan id 12").unwrap().1, ["12"]);
        assert_eq!(asked("set  a   b ").unwrap().1, ["a   b"]);
        assert_eq!(asked("show v"), Err(Wrong::Ambiguous(5)));
        assert_eq!(asked("show vl"), Ok(("show vlan", vec![])));
        assert_eq!(asked("show"), Err(Wrong::Incomplete(4)));
        assert_eq!(asked("show vlan id x"), Err(Wrong::Unknown(13)));
        assert_eq!(asked("  bogus"), Err(Wrong::Unknown(2)));
        assert_eq!(asked("enable more"), Err(Wrong::Unknown(7)));
        assert_eq!(read(RULES, false, "show int sw").err(), Some(Wrong::Unknown(5)));
    }
}
