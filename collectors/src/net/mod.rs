//! Framing and transports that dialects share.
