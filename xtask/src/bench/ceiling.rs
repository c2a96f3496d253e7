//! What the agent may cost. A ceiling that is not met is told, never a failure: timings belong to the machine they were
//! taken on.

use super::load::Kind;

/// The highest ratio of agent to baseline; `None` where the agent does its work and has no ceiling.
pub fn ratio(kind: Kind) -> Option<f64> {
    match kind {
        Kind::ExecTrue | Kind::ExecStatic => Some(1.10),
        Kind::OpenUnwatched => Some(1.20),
        Kind::Connect => Some(1.15),
        Kind::CargoBuild => Some(1.02),
        Kind::OpenWatched | Kind::UdpSend => None,
    }
}

/// Resident memory of the agent.
pub const PEAK_KIB: u64 = 40 * 1024;
/// From start to ready.
pub const READY_MS: f64 = 300.0;
/// The release binary.
pub const BINARY_BYTES: u64 = 12 * 1024 * 1024;

/// Notices a second that a form has to take on one core, where something is demanded of it.
pub fn encoded_per_second(form: &str) -> Option<f64> {
    match form {
        "native" => Some(300_000.0),
        "ocsf" => Some(100_000.0),
        _ => None,
    }
}
