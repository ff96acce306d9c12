// The attestation: a DSSE envelope (docs/formats/envelope.md) around a claim (docs/formats/attestation.md).
"use strict";

(function (iso) {
  const j = iso.json;
  const LIMIT = 4194304;
  const PAYLOAD_TYPE = "application/vnd.in-toto+json";
  const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
  const PREDICATE_TYPE = "https://isoledger.dev/vlan-isolation/v1";

  // Something of a later version: whoever meets it cannot tell, which is not the same as false.
  class Later extends Error {}

  // ---- envelope -----------------------------------------------------------------------------------------------------

  const SIGNATURE = '\\{"keyid":"([^"]*)","sig":"([A-Za-z0-9+/=]*)"\\}';
  const ENVELOPE = new RegExp(
    `^\\{"payloadType":"([^"]*)","payload":"([A-Za-z0-9+/=]*)","signatures":\\[${SIGNATURE}((?:,${SIGNATURE})*)\\]\\}\n$`);

  function keyId(key) {
    const text = `{"keytype":"ed25519","keyval":{"public":"${iso.hex(key.key)}"},"scheme":"ed25519"}`;
    return iso.hex(iso.sha256(iso.encode(text)));
  }

  function signedBytes(type, payload) {
    const head = `DSSEv1 ${iso.encode(type).length} ${type} ${payload.length} `;
    return iso.concat(iso.encode(head), payload);
  }

  function malformed() {
    iso.refuse("malformed", "not an envelope in its one spelling");
  }

  function parseEnvelope(bytes, limit = LIMIT) {
    if (bytes.length > limit) iso.refuse("too-long", `an attestation of ${bytes.length} bytes, at most ${limit}`);
    const m = ENVELOPE.exec(iso.decode(bytes, "malformed"));
    if (m === null) malformed();
    const [, type, payloadText, id, signatureText, others] = m;
    if (!/^[!#-[\]-~]{1,255}$/.test(type)) iso.refuse("payload-type", "no payload type");
    if (others !== "") iso.refuse("signature-count", "exactly one signature");
    const payload = iso.unbase64(payloadText), signature = iso.unbase64(signatureText);
    if (payload === null || signature === null || signature.length !== 64 || !iso.isDigest(id)) malformed();
    return { type, payload, id, signature };
  }

  // The key among `keys` that signed it. Whether the payload type is the one wanted is asked afterwards.
  async function verifyEnvelope(envelope, keys) {
    if (keys.some((key) => key.type !== iso.note.PLAIN)) iso.refuse("wrong-kind", "a cosigner's key signs no attestations");
    const key = keys.find((k) => keyId(k) === envelope.id);
    if (key === undefined) iso.refuse("wrong-key", `signed with a key that the policy does not know (keyid ${envelope.id})`);
    const good = await iso.ed25519.verify(key.key, envelope.signature, signedBytes(envelope.type, envelope.payload));
    if (!good) iso.refuse("bad-signature", `the signature of ${key.name} does not verify`);
    return key;
  }

  // ---- statement ----------------------------------------------------------------------------------------------------

  const span = j.parsed((text) => {
    const value = iso.span(text);
    return value !== null && iso.spanText(value) === text ? value : null;
  }, "a span in its one spelling");

  const source = j.either(['"', j.word("everything", "manager")], ["{", j.object({ switch: j.digest })]);
  const handles = { switch: j.digest, port: j.digest };
  const notAssessed = j.either(
    ['"', j.word("cabling")],
    ['{"class"', j.object({ class: j.object({ switch: j.digest, class: j.word(...iso.policy.CLASSES) }) })],
    ['{"port"', j.object({ port: j.object({ ...handles, reason: j.string }) })],
    ['{"exit"', j.object({ exit: j.object({ name: j.string }) })],
  );

  const predicate = j.object({
    network: j.string, domain: j.string, vlan: j.vlan, project: j.string, verdict: j.word("isolated", "unknown", "violated"),
    from: j.time, to: j.time, polls: j.count, isolated: j.count,
    violations: j.list(j.object({ after: j.time, by: j.time, overBy: j.orNull(j.time), first: j.count, polls: j.count })),
    maxGap: span, blind: j.list(j.object({ blind: source, from: j.time, to: j.time })),
    leases: j.list(j.count), scopeChanges: j.list(j.count), exits: j.list(iso.slice.exit), notAssessed: j.list(notAssessed),
    exceptions: j.list(j.count), nonce: j.orNull(j.string), issued: j.time,
    log: j.object({ origin: j.string, size: j.u64, root: j.hash }),
    cosignatures: j.list(j.string), auditedTo: j.orNull(j.u64),
  });

  const subject = j.list(j.object({ name: j.string, digest: j.object({ sha256: j.digest }) }));

  // Members one by one: behind a predicate type of later stands what nobody here can read.
  function statement(c) {
    const known = (type, wanted) => {
      if (type !== wanted) throw new Later(`a statement of type ${type}, which this page does not know`);
    };
    c.take('{"_type":');
    known(j.string(c), STATEMENT_TYPE);
    c.take(',"subject":');
    const subjects = subject(c);
    c.take(',"predicateType":');
    known(j.string(c), PREDICATE_TYPE);
    if (subjects.length !== 1) c.fail("exactly one subject");
    c.take(',"predicate":');
    const claim = predicate(c);
    c.take("}");
    return { subject: subjects[0], claim };
  }

  function parseStatement(envelope) {
    if (envelope.type !== PAYLOAD_TYPE) throw new Later(`a payload of type ${envelope.type}, which this page does not know`);
    return j.read(statement, iso.decode(envelope.payload));
  }

  iso.attestation = { LIMIT, Later, keyId, signedBytes, parseEnvelope, verifyEnvelope, parseStatement };
})(globalThis.isoverify = globalThis.isoverify || {});
