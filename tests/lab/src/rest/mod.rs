//! The REST interfaces of hardware switches: views of the world in the XML of Brocade NOS and Dell OS 9.

mod os9;
mod server;
mod tls;
mod vdx;
mod xml;

pub use server::RestServer;
pub(crate) use server::url_of;
pub use tls::CertificateLever;
