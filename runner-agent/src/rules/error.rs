//! Why rules or answers don't fit into the kernel.

use ipnet::IpNet;
use runner_agent_common::egress::ALTERNATIVES;

use super::{MAX_EXE_LISTS, MAX_LEARNT, MAX_STATIC};

/// Why a policy's rules don't fit into the kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// More rules at one destination than an entry holds.
    #[error(
        "{count} rules meet at {network}, and the kernel side holds {ALTERNATIVES} for one destination; merge some of \
         {}", rules.join(", ")
    )]
    TooManyAtOnce {
        /// Where.
        network: IpNet,
        /// How many.
        count: usize,
        /// Which.
        rules: Vec<String>,
    },
    /// More entries than the map is made for.
    #[error(
        "the policy's rules take {0} entries, and the kernel side holds {MAX_STATIC}; write wider networks or `ports: any`"
    )]
    TooManyEntries(usize),
    /// More lists of executables than there are bits.
    #[error(
        "the policy has {0} different `exe` lists, and the kernel side tells {MAX_EXE_LISTS} apart; make some of them equal"
    )]
    TooManyExeLists(usize),
}

/// Why an answer's addresses were not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearnError {
    /// As many as the job may learn.
    #[error("the job has learnt {MAX_LEARNT} addresses; more are let in when some of them have expired")]
    Full,
    /// More rules at one address than an entry holds.
    #[error(transparent)]
    Rules(#[from] RulesError),
}
