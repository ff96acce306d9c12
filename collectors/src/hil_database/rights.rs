//! Which rights the role has, and which exceed the need: what `check` says of the account.

use super::connect::Session;
use super::tables::{ATTRIBUTES, IDENTITY, OWNED, READS, ROLES, TABLES, WANTED, WRITES};
use super::{SourceError, normal};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Columns that are nobody's but their owner's.
const SECRETS: [&str; 4] = ["password", "hashed_password", "obmd_admin_token", "obmd_node_token"];

/// A right the role has and does not need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "right", content = "on")]
pub enum Excess {
    /// An attribute of the role: `superuser`, `createdb`, `createrole`, `replication`, `bypassrls`.
    Attribute(String),
    /// Membership in another role, whose rights come with it.
    Member(String),
    /// Ownership: `relation public.node`, `schema …`, `database …`. An owner may do everything.
    Owns(String),
    /// The right to make things: in `database hil`, `schema public`.
    Create(String),
    /// A right to change: `public.node DELETE`.
    Write(String),
    /// The right to read a secret: `public.nexus.password`.
    ReadsSecret(String),
    /// The right to read more than is read: the table, and columns of it.
    Reads(String),
}

/// What the role may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Why reading will fail, with the GRANT to run; `None` when it will not.
    pub missing: Option<String>,
    /// Tables and the columns of them that may be read, as `public.node(id, label)`.
    pub reads: Vec<String>,
    /// What exceeds the need, the gravest first; empty for the role of [`super::ROLE`].
    pub excess: Vec<Excess>,
}

impl Rights {
    /// Sentences for the operator, the most urgent first; none when the role is as it should be.
    pub fn advice(&self) -> Vec<String> {
        let list = |pick: fn(&Excess) -> Option<&str>| {
            const SHOWN: usize = 8;
            let all: Vec<&str> = self.excess.iter().filter_map(pick).collect();
            let more = all.len().saturating_sub(SHOWN);
            let mut text = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            if more > 0 {
                text.push_str(&format!(" and {more} more"));
            }
            (!all.is_empty()).then_some(text)
        };
        let who = &self.user;
        let mut out = Vec::new();
        out.extend(self.missing.clone());
        let mut say = |text: Option<String>, sentence: &dyn Fn(&str) -> String| {
            out.extend(text.map(|t| sentence(&t)));
        };
        say(list(|e| if let Excess::Attribute(t) = e { Some(t) } else { None }), &|t| {
            format!(
                "The role {who} has {t}, and needs none of it: an audit by it can change what it audits. Make a role of its own."
            )
        });
        say(list(|e| if let Excess::Owns(t) = e { Some(t) } else { None }), &|t| {
            format!(
                "The role {who} owns {t}: an owner may change and grant everything. Use a role that owns nothing."
            )
        });
        say(list(|e| if let Excess::Member(t) = e { Some(t) } else { None }), &|t| {
            format!(
                "The role {who} is a member of {t}, and has or can take on those roles' rights: REVOKE them."
            )
        });
        say(list(|e| if let Excess::ReadsSecret(t) = e { Some(t) } else { None }), &|t| {
            format!("The role {who} can read secrets ({t}): grant single columns, as in docs/OPERATING.md.")
        });
        say(list(|e| if let Excess::Write(t) = e { Some(t) } else { None }), &|t| {
            format!("The role {who} can change HIL's database ({t}): REVOKE all but SELECT.")
        });
        say(list(|e| if let Excess::Create(t) = e { Some(t) } else { None }), &|t| {
            format!(
                "The role {who} can make things in {t}: REVOKE CREATE, from PUBLIC too if it comes from there."
            )
        });
        say(list(|e| if let Excess::Reads(t) = e { Some(t) } else { None }), &|t| {
            format!("The role {who} can read more than is read ({t}).")
        });
        out
    }
}

/// Asks, within the session's transaction.
pub(super) async fn ask(session: &Session, deadline: Instant) -> Result<Rights, SourceError> {
    let mut answers = BTreeMap::new();
    for statement in [IDENTITY, WANTED, ATTRIBUTES, ROLES, OWNED, WRITES, READS] {
        answers.insert(statement, session.ask(statement, deadline).await?.rows);
    }
    let rows = |statement: &str| answers.get(statement).map_or(&[][..], Vec::as_slice);
    let missing = normal::obstacle(rows(IDENTITY), rows(WANTED)).map(|e| e.sentence);
    Ok(weigh(missing, rows))
}

type Row = Vec<Option<String>>;

fn cell(row: &Row, at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

fn weigh<'a>(missing: Option<String>, rows: impl Fn(&str) -> &'a [Row]) -> Rights {
    let who = rows(IDENTITY).first();
    let (user, database) =
        who.map_or_else(Default::default, |r| (cell(r, 0).to_owned(), cell(r, 1).to_owned()));
    let mut excess = BTreeSet::new();
    let is = |row: &Row, at| cell(row, at) == "t";
    let attributes = rows(ATTRIBUTES).first();
    let names = ["superuser", "createdb", "createrole", "replication", "bypassrls"];
    for (at, name) in (1..).zip(names) {
        // A row that does not come is no proof of modesty.
        if attributes.is_none_or(|row| is(row, at)) {
            excess.insert(Excess::Attribute(name.to_owned()));
        }
    }
    let superuser = attributes.is_none_or(|row| is(row, 1));
    let mut reads: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for row in rows(READS) {
        let table = (cell(row, 0).to_owned(), cell(row, 1).to_owned());
        reads.entry(table).or_default().insert(cell(row, 2).to_owned());
    }
    // A superuser has every right there is; the list of them all would say less than the one word.
    if !superuser {
        excess.extend(rows(ROLES).iter().map(|row| Excess::Member(cell(row, 0).to_owned())));
        let owned = rows(OWNED).iter().map(|row| Excess::Owns(format!("{} {}", cell(row, 0), cell(row, 1))));
        excess.extend(owned);
        for (at, what) in [(6, format!("database {database}")), (7, "schema public".to_owned())] {
            if attributes.is_some_and(|row| is(row, at)) {
                excess.insert(Excess::Create(what));
            }
        }
        excess.extend(
            rows(WRITES).iter().map(|row| Excess::Write(format!("{} {}", cell(row, 0), cell(row, 1)))),
        );
        for ((schema, table), columns) in &reads {
            let needed =
                TABLES.iter().find(|t| schema == "public" && t.name == table).map_or(&[][..], |t| t.columns);
            let more: Vec<&str> =
                columns.iter().map(String::as_str).filter(|c| !needed.contains(c)).collect();
            let (secret, plain): (Vec<&str>, Vec<&str>) = more.into_iter().partition(|c| SECRETS.contains(c));
            excess.extend(secret.iter().map(|c| Excess::ReadsSecret(format!("{schema}.{table}.{c}"))));
            if !plain.is_empty() {
                excess.insert(Excess::Reads(format!("{schema}.{table}({})", plain.join(", "))));
            }
        }
    }
    let reads = reads.into_iter().map(|((schema, table), columns)| {
        format!("{schema}.{table}({})", columns.into_iter().collect::<Vec<_>>().join(", "))
    });
    Rights { user, database, missing, reads: reads.collect(), excess: excess.into_iter().collect() }
}
