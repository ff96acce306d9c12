//! How this dialect decides each bypass class: the table of its page.

use isoledger_core::model::BypassClass;

/// For each class, when a bridge is clean, dirty or not read, and why.
pub const BYPASS_TABLE: [(BypassClass, &str); 9] = [
    (
        BypassClass::Flows,
        "Read over OpenFlow or by `ovs-ofctl`. Clean: table 0 holds exactly one rule, `priority=0 actions=NORMAL` with \
         an empty match, no other table holds any, and there is no group. Dirty, for every VLAN: anything else. Not \
         read: no way is configured, the reading failed, or the answer was not understood.",
    ),
    (
        BypassClass::Controller,
        "Read over OVSDB. Dirty, for every VLAN: the bridge has a Controller row, or its `fail_mode` is `secure`. \
         Either gives somebody standing power over the rules between two polls. Clean otherwise.",
    ),
    (
        BypassClass::Mirror,
        "Read over OVSDB. Dirty, for the VLANs copied and the VLAN they are copied into: a Mirror of the bridge with a \
         destination and at least one selected port. Dirty, for every VLAN: `sflow` is set, since samples hold the \
         beginnings of frames. A mirror without a selected port or without a destination copies nothing. NetFlow and \
         IPFIX send counts and addresses, no frames.",
    ),
    (
        BypassClass::IngressFiltering,
        "Clean by construction: `NORMAL` drops a frame of a VLAN that the port it came in by does not carry. There is \
         no column to turn that off.",
    ),
    (
        BypassClass::Routing,
        "Clean by construction: a bridge has no layer 3. The host behind its LOCAL and internal ports may route; those \
         are ordinary ports, judged by the VLANs they carry.",
    ),
    (
        BypassClass::Translation,
        "Clean by construction: only OpenFlow rules rewrite a tag, and those are the class flows.",
    ),
    (
        BypassClass::Classification,
        "Clean by construction: only OpenFlow rules assign VLANs by address or protocol, and those are the class flows.",
    ),
    (
        BypassClass::Dynamic,
        "Read over OVSDB. Dirty, for every VLAN: `auto_attach` is set, which lets a neighbour add VLANs to trunks at \
         run time. Clean otherwise: there is no 802.1X, GVRP or MVRP.",
    ),
    (
        BypassClass::DoubleTagging,
        "Read over OVSDB. Dirty, for the outer VLAN and `cvlans` (every VLAN where empty): a `dot1q-tunnel` port, whose \
         frames bring a tag of their own that shows again wherever the outer one is taken off. Clean otherwise: a \
         bridge looks at the outer tag only, and what lies behind an untagged port is judged as a link.",
    ),
];
