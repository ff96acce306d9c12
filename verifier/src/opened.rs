//! The two files, opened: a claim whose signature was checked, and the evidence it is about.

use crate::report::CheckName::{
    Envelope as EnvelopeCheck, Evidence as EvidenceCheck, Statement as StatementCheck,
};
use crate::report::{Checks, Stop};
use isoledger_core::attestation::{AttestationError, MAX_ATTESTATION, PAYLOAD_TYPE, Predicate, Statement};
use isoledger_core::dsse::{self, Envelope, EnvelopeError};
use isoledger_core::evidence::{Evidence, MAX_EVIDENCE};
use isoledger_core::note::VerifierKey;
use isoledger_core::policy::Policy;

/// A statement signed by a log of the policy.
pub(crate) struct Signed<'p> {
    statement: Statement,
    key: &'p VerifierKey,
}

impl<'p> Signed<'p> {
    pub(crate) fn claim(&self) -> &Predicate {
        &self.statement.predicate
    }

    /// The key that signed; its name is the origin of the log.
    pub(crate) fn key(&self) -> &'p VerifierKey {
        self.key
    }
}

/// Opens the attestation: envelope, signature, statement.
pub(crate) fn open_attestation<'p>(
    bytes: &[u8],
    policy: &'p Policy,
    checks: &mut Checks,
) -> Result<Signed<'p>, Stop> {
    let envelope = Envelope::parse(bytes, MAX_ATTESTATION).map_err(|e| Stop::failed(EnvelopeCheck, e))?;
    let known = |k: &&VerifierKey| dsse::key_id(k.public()) == envelope.key_id();
    let key = policy.logs().iter().map(|l| &l.key).find(known).ok_or_else(|| {
        Stop::failed(
            EnvelopeCheck,
            format!(
                "the attestation is signed with key {}, which is none of the policy's {} log keys",
                envelope.key_id(),
                policy.logs().len()
            ),
        )
    })?;
    let payload = envelope.open(key, PAYLOAD_TYPE).map_err(|e| match e {
        EnvelopeError::WrongPayloadType { .. } => Stop::undecided(StatementCheck, e),
        e => Stop::failed(EnvelopeCheck, e),
    })?;
    #[allow(clippy::disallowed_methods)] // the line above is the signature's check
    let statement = Statement::parse(payload).map_err(|e| match e {
        // Signed, and of a kind this program does not know: perhaps a newer one does.
        AttestationError::Type { .. } => Stop::undecided(StatementCheck, e),
        e => Stop::failed(StatementCheck, e),
    })?;
    checks.passed(EnvelopeCheck, format!("signed by {} (key {:08x})", key.name(), key.id()));
    Ok(Signed { statement, key })
}

/// Evidence that a signed statement is about.
pub(crate) struct Bound {
    evidence: Evidence,
}

impl Bound {
    pub(crate) fn evidence(&self) -> &Evidence {
        &self.evidence
    }
}

/// Opens the evidence: its digest, its form, and that it speaks of what the claim speaks of.
pub(crate) fn open_evidence(signed: &Signed<'_>, bytes: &[u8], checks: &mut Checks) -> Result<Bound, Stop> {
    let claim = signed.claim();
    if !signed.statement.is_about(bytes) {
        return Err(Stop::failed(
            StatementCheck,
            "the statement is about another evidence file: the SHA-256 of this one differs",
        ));
    }
    checks.passed(StatementCheck, "an isolation statement about exactly this evidence file");
    if let Some(v) = later_version(bytes) {
        let words = format!("the evidence has version {v}; this program knows version 1: use a newer one");
        return Err(Stop::undecided(EvidenceCheck, words));
    }
    let evidence = Evidence::parse(bytes, MAX_EVIDENCE).map_err(|e| Stop::failed(EvidenceCheck, e))?;
    let fail = |what: &str, found: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
        Err(Stop::failed(
            EvidenceCheck,
            format!("the evidence is of {what} {found:?}, the claim of {wanted:?}"),
        ))
    };
    if evidence.v != 1 {
        return fail("version", &evidence.v, &1);
    }
    if evidence.origin != signed.key.name() {
        return fail("log", &evidence.origin, &signed.key.name());
    }
    if evidence.origin != claim.log.origin {
        return fail("log", &evidence.origin, &claim.log.origin);
    }
    if evidence.network != claim.network {
        return fail("network", &evidence.network, &claim.network);
    }
    if evidence.vlan != claim.vlan {
        return fail("VLAN", &evidence.vlan, &claim.vlan);
    }
    checks.passed(
        EvidenceCheck,
        format!(
            "canonical; of network {:?}, VLAN {}, log {}",
            evidence.network, evidence.vlan, evidence.origin
        ),
    );
    Ok(Bound { evidence })
}

// The version of a file that begins like a later one. It is signed, so it is what the recorder meant to say.
fn later_version(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(b"{\"v\":")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).take(10).count();
    let text = std::str::from_utf8(&rest[..digits]).ok()?;
    text.parse().ok().filter(|v| *v > 1 && rest.get(digits) == Some(&b','))
}
