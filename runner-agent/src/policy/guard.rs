//! What a job may do to the runner besides connecting and reading: to other processes, to the kernel, by other users' rights.

use super::{Mode, words};

/// What becomes of an operation. Ordered: the later is the stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// It happens, and is not told.
    Allow,
    /// It happens and is told.
    #[default]
    Audit,
    /// It is refused and told, where the mode is `block`; in mode `audit` it is told.
    Deny,
}

words!(Access, "allow, audit, deny", {
    Access::Allow => "allow",
    Access::Audit => "audit",
    Access::Deny => "deny",
});

/// What becomes of a job's way to a container engine. Ordered: the later is the stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineAccess {
    /// The job asks the engine, and nothing is told.
    Allow,
    /// The job asks the engine, and is told to have.
    #[default]
    Audit,
    /// The job asks the agent, which passes on what doesn't give the machine away; in mode `audit` it passes on everything and
    /// tells what it would have refused.
    Gate,
    /// The engine is refused and told, where the mode is `block`; in mode `audit` it is told.
    Deny,
}

words!(EngineAccess, "allow, audit, gate, deny", {
    EngineAccess::Allow => "allow",
    EngineAccess::Audit => "audit",
    EngineAccess::Gate => "gate",
    EngineAccess::Deny => "deny",
});

/// What a policy says about operations that some jobs need. What only an attack needs is no choice: it is told in every mode,
/// and refused in mode `block`; what is done to the agent itself is refused in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardPolicy {
    /// Programs that give their caller another user's rights: sudo(8), su(1), pkexec(1).
    pub sudo: Access,
    /// A container engine.
    pub docker: EngineAccess,
    /// Daemons that start programs for whoever asks, outside of the job: the service manager, message buses.
    pub services: Access,
    /// bpf(2).
    pub bpf: Access,
    /// Modules and kernels.
    pub modules: Access,
    /// Memory of processes outside the job, and control over them.
    pub trace: Access,
    /// Devices, addresses, routes, rules and filters of the machine's network.
    pub network: Access,
}

impl Default for GuardPolicy {
    /// What hosted runners give every job stays; what no build needs goes.
    fn default() -> Self {
        Self {
            sudo: Access::Allow,
            docker: EngineAccess::Audit,
            services: Access::Audit,
            bpf: Access::Deny,
            modules: Access::Deny,
            trace: Access::Deny,
            network: Access::Deny,
        }
    }
}

impl GuardPolicy {
    /// The stricter of two.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            sudo: self.sudo.max(other.sudo),
            docker: self.docker.max(other.docker),
            services: self.services.max(other.services),
            bpf: self.bpf.max(other.bpf),
            modules: self.modules.max(other.modules),
            trace: self.trace.max(other.trace),
            network: self.network.max(other.network),
        }
    }
}

impl Access {
    /// Whether it is told.
    pub fn is_told(self) -> bool {
        self != Self::Allow
    }

    /// Whether it is refused.
    pub fn is_refused(self, mode: Mode) -> bool {
        self == Self::Deny && mode == Mode::Block
    }
}

impl EngineAccess {
    /// What becomes of connects to the engine's own socket.
    pub fn to_socket(self) -> Access {
        match self {
            Self::Allow => Access::Allow,
            Self::Audit => Access::Audit,
            Self::Gate | Self::Deny => Access::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_policy_loosens_the_first() {
        let strict = GuardPolicy { sudo: Access::Deny, ..GuardPolicy::default() };
        let loose = GuardPolicy { bpf: Access::Allow, ..GuardPolicy::default() };
        let merged = loose.merge(strict);
        assert_eq!((merged.sudo, merged.bpf), (Access::Deny, Access::Deny));
        assert_eq!(merged, strict.merge(loose));
    }

    #[test]
    fn a_gate_is_stricter_than_audit_and_looser_than_deny() {
        let with = |docker| GuardPolicy { docker, ..GuardPolicy::default() };
        let merged = |one, other| with(one).merge(with(other)).docker;
        assert_eq!(merged(EngineAccess::Gate, EngineAccess::Audit), EngineAccess::Gate);
        assert_eq!(merged(EngineAccess::Allow, EngineAccess::Gate), EngineAccess::Gate);
        assert_eq!(merged(EngineAccess::Gate, EngineAccess::Deny), EngineAccess::Deny);
    }

    #[test]
    fn behind_a_gate_the_socket_itself_is_refused() {
        assert!(EngineAccess::Gate.to_socket().is_refused(Mode::Block));
        assert!(!EngineAccess::Gate.to_socket().is_refused(Mode::Audit));
        assert!(!EngineAccess::Allow.to_socket().is_told());
    }

    #[test]
    fn nothing_is_refused_in_mode_audit() {
        assert!(
            Access::Deny.is_told() && !Access::Deny.is_refused(Mode::Audit) && Access::Deny.is_refused(Mode::Block)
        );
        assert!(!Access::Allow.is_told() && !Access::Audit.is_refused(Mode::Block));
    }
}
