//! Read-only readers of cloud managers and switches.
