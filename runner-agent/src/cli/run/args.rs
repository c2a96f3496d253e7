//! The options of `run`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::words::{FailOn, ModeArg};
use crate::kernel::hooks::Way;
use crate::kernel::{Tier, TierChoice};

/// What `run` is told.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A policy file; several are combined, the stricter mode wins [default: the shipped policy `default`].
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Vec<PathBuf>,
    /// Where includes other than presets/NAME lie [default: the directory of the first policy file].
    #[arg(long, value_name = "DIR", requires = "policy")]
    pub(super) policy_dir: Option<PathBuf>,
    /// Use this mode instead of the policy's.
    #[arg(long)]
    pub(super) mode: Option<ModeArg>,
    /// Who is held to the policy: the job, or everything on this machine but the agent and the policy's `platform`.
    #[arg(long, default_value = "job")]
    pub(super) scope: ScopeArg,
    /// Write the event log (JSON Lines) here.
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// Write the signed receipt here [default: FILE.receipt.json beside the log]; the in-toto statement lies beside it.
    #[arg(long, value_name = "FILE", requires = "log")]
    pub(super) receipt: Option<PathBuf>,
    /// A file that the job makes and the statement is to be about; can be given several times [default: the log].
    #[arg(long, value_name = "FILE", requires = "log")]
    pub(super) subject: Vec<PathBuf>,
    /// How often the log is signed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600), requires = "log")]
    pub(super) checkpoint_every: u64,
    /// Send what happens to the `sinks` of this configuration, by way of its `spool`; its other keys are the daemon's.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// How findings are shown on standard error.
    #[arg(long, default_value = "pretty")]
    pub(super) format: FormatArg,
    /// End with 3 if the command succeeded and there is a finding of at least this severity.
    #[arg(long, value_name = "SEVERITY", default_value = "never")]
    pub(super) fail_on: FailOn,
    /// End with 3 if the command succeeded and more than N records or notices were lost.
    #[arg(long, value_name = "N")]
    pub(super) max_loss: Option<u64>,
    /// How deep to look: `auto` takes the best tier that this kernel loads.
    #[arg(long, default_value = "auto")]
    pub(super) tier: TierArg,
    /// How to take the hooks of the tracing tier, for kernels that preempt, tests and bug reports [default: the first of these that loads].
    #[arg(long, value_name = "WAY", hide_short_help = true)]
    pub(super) hooks: Option<HooksArg>,
    /// Size of the ring for files, sockets and connections, in KiB; a power of two.
    #[arg(long, value_name = "KIB", default_value = "2048", value_parser = ring_kib, hide_short_help = true)]
    pub(super) critical_ring: u32,
    /// Size of the ring for processes, arguments and DNS, in KiB; a power of two.
    #[arg(long, value_name = "KIB", default_value = "4096", value_parser = ring_kib, hide_short_help = true)]
    pub(super) bulk_ring: u32,
    /// The kernel's type information.
    #[arg(long, value_name = "FILE", default_value = "/sys/kernel/btf/vmlinux", hide_short_help = true)]
    pub(super) btf: PathBuf,
    /// Write the probes' records here as they come, unordered, for bug reports and replays. Secrets in arguments are
    /// NOT taken out of them.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(super) record: Option<PathBuf>,
    /// Where to keep what must outlive the agent [default: /run/runner-agent].
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(super) state: Option<PathBuf>,
    /// Where to pin the kernel side of a blocked job; a directory on a BPF file system [default: runner-agent on
    /// /sys/fs/bpf, or on one mounted below --state].
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(super) pins: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in super::super) enum TierArg {
    Auto,
    Tracepoint,
    Tracing,
}

impl From<TierArg> for TierChoice {
    fn from(asked: TierArg) -> Self {
        match asked {
            TierArg::Auto => Self::Best,
            TierArg::Tracepoint => Self::Only(Tier::Tracepoint),
            TierArg::Tracing => Self::Only(Tier::Tracing),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum HooksArg {
    FmodRet,
    Lsm,
    Fentry,
}

impl From<HooksArg> for Way {
    fn from(asked: HooksArg) -> Self {
        match asked {
            HooksArg::FmodRet => Self::ModifyReturn,
            HooksArg::Lsm => Self::Lsm,
            HooksArg::Fentry => Self::Entry,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ScopeArg {
    Job,
    Runner,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    Pretty,
    Json,
}

/// A ring must be a power of two of pages, and not larger than what one map may be.
fn ring_kib(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a ring's size in KiB; a power of two from 4 to 1048576 is");
    let kib: u32 = text.parse().map_err(|_| wrong())?;
    if kib.is_power_of_two() && (4..=1_048_576).contains(&kib) { Ok(kib) } else { Err(wrong()) }
}
