//! The columns as `ovs-vsctl` prints them, for databases that listen on their own host only.

use super::ovsdb::{TABLES, orderly};
use crate::net::json::{canonical, parse_strict};
use serde_json::{Map, Value, json};

/// Everything that [`super::SELECT`] asks, of one moment: `ovs-vsctl` answers all of it from one copy of the database.
/// With `--dry-run` it can change nothing, not even by being the first to use a database; with `--no-wait` it does not
/// wait for the switch.
pub const COLUMNS_COMMAND: &str = concat!(
    "ovs-vsctl --dry-run --no-wait --timeout=30 --format=json",
    " -- --columns=_uuid,cur_cfg,next_cfg,external_ids list Open_vSwitch",
    " -- --columns=_uuid,name,datapath_id,ports,mirrors,controller,fail_mode,sflow,auto_attach list Bridge",
    " -- --columns=_uuid,name,vlan_mode,tag,trunks,cvlans,fake_bridge,interfaces list Port",
    " -- --columns=_uuid,name,type,admin_state list Interface",
    " -- --columns=_uuid,name,select_all,select_src_port,select_dst_port,select_vlan,output_port,output_vlan list Mirror",
    " -- --columns=_uuid,target list Controller",
    " -- --columns=_uuid,target list Manager",
);

/// What the command printed, in the order that an unchanged database always gives; as it came, where it is not what was
/// asked for.
pub(super) fn in_order(output: &[u8]) -> Vec<u8> {
    match parse(output) {
        Ok(result) => print(&orderly(result)).into_bytes(),
        Err(_) => output.to_vec(),
    }
}

/// The result that the transaction would have had: one object with `rows` for each table.
pub(super) fn parse(output: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(output).map_err(|_| "it is not UTF-8".to_owned())?;
    // Every table ends its line; without the last one, more may have been on the way.
    let text = text.strip_suffix('\n').ok_or("it does not end with a whole line")?;
    let lines: Vec<&str> = text.split('\n').collect();
    if lines.len() != TABLES.len() {
        return Err(format!(
            "{} lines where one for each of {} tables was asked for",
            lines.len(),
            TABLES.len()
        ));
    }
    let tables =
        lines.iter().zip(TABLES).zip(asked()).map(|((line, name), columns)| {
            table(line, &columns).map_err(|e| format!("the table {name}: {e}"))
        });
    tables.collect::<Result<Vec<Value>, String>>().map(Value::Array)
}

fn table(line: &str, columns: &[&str]) -> Result<Value, String> {
    let printed = parse_strict(line.as_bytes()).map_err(|e| e.to_string())?;
    let members = printed.as_object().filter(|m| m.len() == 2).ok_or("it is not headings and data")?;
    let headings = members.get("headings").and_then(Value::as_array).ok_or("it has no headings")?;
    if !headings.iter().map(Value::as_str).eq(columns.iter().copied().map(Some)) {
        return Err(format!("the headings are {}; asked for were {}", json!(headings), columns.join(",")));
    }
    let data = members.get("data").and_then(Value::as_array).ok_or("it has no data")?;
    let rows = data.iter().map(|row| {
        let cells = row.as_array().filter(|c| c.len() == columns.len());
        let cells = cells.ok_or_else(|| format!("a row does not have {} cells", columns.len()))?;
        let row: Map<String, Value> =
            columns.iter().map(|c| (*c).to_owned()).zip(cells.iter().cloned()).collect();
        Ok(Value::Object(row))
    });
    Ok(json!({"rows": rows.collect::<Result<Vec<_>, String>>()?}))
}

fn print(result: &Value) -> String {
    let mut out = String::new();
    for (operation, columns) in result.as_array().into_iter().flatten().zip(asked()) {
        let rows = operation.get("rows").and_then(Value::as_array);
        let data: Vec<Value> = rows
            .into_iter()
            .flatten()
            .map(|row| columns.iter().map(|c| row.get(*c).cloned().unwrap_or(Value::Null)).collect())
            .collect();
        out += &canonical(&json!({"data": data, "headings": columns}));
        out.push('\n');
    }
    out
}

/// The columns asked for, table by table.
fn asked() -> impl Iterator<Item = Vec<&'static str>> {
    COLUMNS_COMMAND.split("--columns=").skip(1).map(|part| {
        let columns = part.split(' ').next().unwrap_or_default();
        columns.split(',').collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ssh;

    fn printed() -> String {
        let uuid = |n: u8| format!(r#"["uuid","00000000-0000-0000-0000-0000000000{n:02}"]"#);
        let mut out = String::new();
        for (n, columns) in asked().enumerate() {
            let cells = |m: u8| {
                let cells = columns.iter().map(|c| match *c {
                    "_uuid" => uuid(m),
                    "name" => format!(r#""n{m}""#),
                    "trunks" => r#"["set",[10,9]]"#.to_owned(),
                    "cur_cfg" | "next_cfg" => "7".to_owned(),
                    "external_ids" => r#"["map",[["x","y"],["system-id","s"]]]"#.to_owned(),
                    _ => r#"["set",[]]"#.to_owned(),
                });
                format!("[{}]", cells.collect::<Vec<_>>().join(","))
            };
            let rows: Vec<String> = if n == 0 { vec![cells(0)] } else { vec![cells(2), cells(1)] };
            out += &format!("{{\"data\":[{}],\"headings\":{}}}\n", rows.join(","), json!(columns));
        }
        out
    }

    #[test]
    fn the_command_asks_what_the_transaction_asks_and_survives_a_shell() {
        let select = parse_strict(super::super::SELECT.as_bytes()).unwrap();
        let operations = &select.as_array().unwrap()[1..];
        let wanted: Vec<Vec<&str>> = (operations.iter())
            .map(|o| o["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect())
            .collect();
        assert_eq!(asked().collect::<Vec<_>>(), wanted);
        let tables: Vec<&str> =
            COLUMNS_COMMAND.split(" list ").skip(1).map(|t| t.split(' ').next().unwrap()).collect();
        assert_eq!(tables, TABLES);
        for word in COLUMNS_COMMAND.split(' ') {
            for part in word.trim_start_matches('-').split(['=', ',']) {
                assert!(part.is_empty() || ssh::is_plain_word(part), "{word}");
            }
        }
    }

    #[test]
    fn the_manual_lets_every_command_through_that_is_sent() {
        let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATING.md");
        let manual = std::fs::read_to_string(manual).unwrap();
        for command in [super::super::FLOWS_COMMAND, super::super::GROUPS_COMMAND] {
            assert!(manual.contains(&format!("'{command}br0'")), "{command}");
        }
        assert!(
            manual.contains(&format!("'{COLUMNS_COMMAND}'")),
            "docs/OPERATING.md must hold '{COLUMNS_COMMAND}'"
        );
    }

    #[test]
    fn what_is_printed_is_put_in_order_once() {
        let once = in_order(printed().as_bytes());
        assert_eq!(in_order(&once), once);
        let result = parse(&once).unwrap();
        assert_eq!(result, parse_strict(canonical(&result).as_bytes()).unwrap());
        assert_eq!(result[2]["rows"][0]["name"], "n1");
        assert_eq!(result[2]["rows"][0]["trunks"], json!(["set", [9, 10]]));
        assert_eq!(result[0]["rows"][0]["external_ids"], json!(["map", [["system-id", "s"]]]));
        assert_eq!(result[0]["rows"][0]["cur_cfg"], 0);
    }

    #[test]
    fn cut_anywhere_or_with_a_line_gone_twice_or_moved_it_is_refused() {
        let whole = printed();
        assert!(parse(whole.as_bytes()).is_ok());
        for cut in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        let lines: Vec<&str> = whole.lines().collect();
        for at in 0..lines.len() {
            let mut gone = lines.clone();
            gone.remove(at);
            let mut twice = lines.clone();
            twice.insert(at, lines[at]);
            for changed in [gone, twice] {
                assert!(parse((changed.join("\n") + "\n").as_bytes()).is_err());
            }
            // Controller and Manager have the same columns: moving those two says the same of both.
            for other in at + 1..lines.len() {
                let mut moved = lines.clone();
                moved.swap(at, other);
                let refused = parse((moved.join("\n") + "\n").as_bytes()).is_err();
                assert!(refused || (at, other) == (5, 6), "{at} and {other}");
            }
            for noise in ["--More--", "\u{1b}[7m", "Last login: today", ""] {
                let mut littered = lines.clone();
                littered.insert(at, noise);
                assert!(
                    parse((littered.join("\n") + "\n").as_bytes()).is_err(),
                    "{noise:?} before line {at}"
                );
            }
        }
    }
}
