//! OpenFlow rules and groups as text, in the notation of `ovs-ofctl`, whichever way they were read; and the rule by
//! which they leave the VLAN columns in force.
//!
//! The columns of a port say what the action `NORMAL` does with frames, and nothing else. So a bridge is clean
//! exactly when every frame meets `NORMAL`: table 0 holds one rule, of priority 0, that matches everything and does
//! only that; no other table holds any; there is no group. Everything else may forward anything anywhere.

use isoledger_core::model::BypassReading;
use isoledger_core::vlan::VlanSet;

/// How many rules a sentence names before it only counts them.
const NAMED: usize = 5;
/// How many characters of a rule a sentence shows.
const SHOWN: usize = 200;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    table: u8,
    priority: u16,
    /// Everything that makes it more than "all frames, for ever", in the source's order.
    conditions: Vec<String>,
    actions: String,
}

impl Rule {
    /// Reads a line such as ` cookie=0x5, table=3, priority=100,in_port=1 actions=output:2`. A rule without
    /// `priority=` has 32768, OpenFlow's default.
    fn parse(line: &str) -> Result<Rule, String> {
        let bad = || format!("the line {:?} is not a rule as ovs-ofctl prints it", shorten(line));
        let line = line.trim();
        let (head, actions) = match line.strip_prefix("actions=") {
            Some(actions) => ("", actions),
            None => line.split_once(" actions=").ok_or_else(bad)?,
        };
        let mut rule =
            Rule { table: 0, priority: 32768, conditions: Vec::new(), actions: actions.trim().to_owned() };
        if rule.actions.is_empty() {
            return Err(bad());
        }
        for word in head.split([',', ' ']).filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                Some(("table", n)) => rule.table = n.parse().map_err(|_| bad())?,
                Some(("priority", n)) => rule.priority = n.parse().map_err(|_| bad())?,
                // A label, and flags about counting: none changes what happens to a frame.
                Some(("cookie", _)) => {}
                None if matches!(
                    word,
                    "reset_counts"
                        | "no_packet_counts"
                        | "no_byte_counts"
                        | "send_flow_rem"
                        | "check_overlap"
                ) => {}
                _ => rule.conditions.push(word.to_owned()),
            }
        }
        Ok(rule)
    }

    fn is_plain(&self) -> bool {
        self.table == 0 && self.priority == 0 && self.conditions.is_empty() && self.actions == "NORMAL"
    }

    fn describe(&self) -> String {
        let conditions: String = self.conditions.iter().map(|c| format!(",{c}")).collect();
        shorten(&format!(
            "table={},priority={}{conditions} actions={}",
            self.table, self.priority, self.actions
        ))
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What rules and groups, as `ovs-ofctl dump-flows` and `dump-groups` print them, mean for the VLAN columns.
pub(super) fn judge(flows: &str, groups: &str) -> BypassReading {
    match parse(flows, groups) {
        Ok((rules, groups)) => reading(rules, &groups),
        Err(why) => BypassReading::NotRead { why },
    }
}

fn parse(flows: &str, groups: &str) -> Result<(Vec<Rule>, Vec<String>), String> {
    let rules = flows
        .lines()
        // Some versions print the reply's header first even with --no-stats.
        .filter(|l| !l.trim().is_empty() && !l.contains("FLOW reply ("))
        .map(Rule::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let mut lines = groups.lines().filter(|l| !l.trim().is_empty());
    // An account that answers every command with the rules must not pass for one without groups.
    match lines.next() {
        Some(header) if header.contains("GROUP_DESC reply") => {}
        other => {
            return Err(format!(
                "the list of groups begins with {:?}, not with the header of a group description",
                shorten(other.unwrap_or_default())
            ));
        }
    }
    let groups = lines
        .map(|l| {
            let id = l.trim().strip_prefix("group_id=").and_then(|rest| rest.split(',').next());
            id.map(str::to_owned).ok_or_else(|| format!("the line {:?} is not a group", shorten(l)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((rules, groups))
}

fn reading(mut rules: Vec<Rule>, groups: &[String]) -> BypassReading {
    rules.sort();
    let plain = rules.iter().filter(|r| r.is_plain()).count();
    let others: Vec<String> = rules.iter().filter(|r| !r.is_plain()).map(Rule::describe).collect();
    if plain == 1 && others.is_empty() && groups.is_empty() {
        return BypassReading::Clean;
    }
    let mut said = Vec::new();
    if plain == 0 {
        said.push("no rule priority=0 actions=NORMAL in table 0".to_owned());
    }
    if plain > 1 {
        said.push(format!("{plain} rules priority=0 actions=NORMAL in table 0"));
    }
    if !others.is_empty() {
        let more = others.len().saturating_sub(NAMED);
        let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
        let named: Vec<_> = others.iter().take(NAMED).map(String::as_str).collect();
        said.push(format!("{} rule(s) besides plain learning: {}{tail}", others.len(), named.join("; ")));
    }
    if !groups.is_empty() {
        let mut ids: Vec<&str> = groups.iter().map(String::as_str).collect();
        ids.sort_unstable();
        ids.truncate(NAMED);
        said.push(format!("{} group(s): {}", groups.len(), ids.join(", ")));
    }
    BypassReading::Dirty { vlans: VlanSet::all(), detail: said.join("; ") }
}

/// The lines of a dump in one order. `ovs-ofctl --sort` leaves rules of one priority in the order of its hash table,
/// and the same rules must give the same evidence.
pub(super) fn in_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    // A header, where there is one, has no leading space and stays first.
    let body = usize::from(lines.first().is_some_and(|l| l.contains(" reply (")));
    lines[body..].sort_unstable();
    lines.iter().flat_map(|l| [l, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NO_GROUPS: &str = "OFPST_GROUP_DESC reply (OF1.5) (xid=0x2):\n";

    fn dirty(flows: &str, groups: &str) -> String {
        match judge(flows, groups) {
            BypassReading::Dirty { vlans, detail } => {
                assert!(vlans.is_all());
                detail
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_plain_learning_is_clean() {
        for clean in [
            " priority=0 actions=NORMAL\n",
            "priority=0 actions=NORMAL",
            " cookie=0x5, reset_counts priority=0 actions=NORMAL\n\n",
            "OFPST_FLOW reply (OF1.5) (xid=0x2):\n priority=0 actions=NORMAL\n",
        ] {
            assert_eq!(judge(clean, NO_GROUPS), BypassReading::Clean, "{clean}");
        }
    }

    #[test]
    fn everything_else_is_dirty() {
        for (flows, said) in [
            ("", "no rule priority=0"),
            (" actions=NORMAL\n", "table=0,priority=32768 actions=NORMAL"),
            (" priority=0,in_port=1 actions=NORMAL\n", "table=0,priority=0,in_port=1 actions=NORMAL"),
            (" idle_timeout=5, priority=0 actions=NORMAL\n", "idle_timeout=5"),
            (" table=1, priority=0 actions=NORMAL\n", "table=1,priority=0 actions=NORMAL"),
            (" priority=0 actions=NORMAL,output:3\n", "NORMAL,output:3"),
            (" priority=0 actions=NORMAL\n priority=100,in_port=1 actions=output:2\n", "actions=output:2"),
            (" priority=0 actions=NORMAL\n priority=0 actions=NORMAL\n", "2 rules"),
        ] {
            let detail = dirty(flows, NO_GROUPS);
            assert!(detail.contains(said), "{detail}");
        }
        let group = format!("{NO_GROUPS} group_id=7,type=all,bucket=actions=output:1\n");
        assert_eq!(dirty(" priority=0 actions=NORMAL\n", &group), "1 group(s): 7");
    }

    #[test]
    fn what_is_no_rule_is_not_read() {
        for (flows, groups) in [
            ("Welcome to switch 7\n priority=0 actions=NORMAL\n", NO_GROUPS),
            (" priority=0 actions=\n", NO_GROUPS),
            (" priority=99999 actions=NORMAL\n", NO_GROUPS),
            (" priority=0 actions=NORMAL\n", ""),
            (" priority=0 actions=NORMAL\n", " priority=0 actions=NORMAL\n"),
            (" priority=0 actions=NORMAL\n", "NXST_GROUP_DESC reply (xid=0x2):\n bucket=1\n"),
        ] {
            assert!(matches!(judge(flows, groups), BypassReading::NotRead { .. }), "{flows:?} {groups:?}");
        }
    }

    #[test]
    fn one_order_whatever_the_hash_table_did() {
        let a = " priority=5,in_port=2 actions=drop\n priority=5,in_port=1 actions=drop\n";
        let b = " priority=5,in_port=1 actions=drop\n priority=5,in_port=2 actions=drop\n";
        assert_eq!(in_order(a), in_order(b));
        assert!(in_order("X reply (xid=0x2):\n b\n a\n").starts_with("X reply"));
    }

    proptest! {
        #[test]
        fn one_changed_byte_is_never_clean(at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f) {
            let mut line = b" priority=0 actions=NORMAL".to_vec();
            let at = at.index(line.len());
            line[at] = byte;
            let line = String::from_utf8(line).unwrap();
            // Separators at the ends separate nothing.
            let meant = line.trim_matches([' ', ',']);
            let clean = judge(&line, NO_GROUPS) == BypassReading::Clean;
            prop_assert_eq!(clean, meant == "priority=0 actions=NORMAL", "{}", line);
        }

        #[test]
        fn any_text_is_judged(flows in "[ a-z0-9=,:\n]{0,80}", groups in "[ -~\n]{0,80}") {
            let _ = (judge(&flows, &groups), in_order(&flows));
        }
    }
}
