//! What `vm` is told.

use std::path::PathBuf;

use clap::Args;

use crate::setup;
use crate::target::{self, Target};

#[derive(Args, Clone)]
pub struct Options {
    /// 5.10, 6.1, 6.12, newest, 6.12-generic (with x32), each with all its tests; when no kernel and no test is named those tests on
    /// the first four that `cargo xtask test` runs, which take a quarter of an hour
    pub(super) kernels: Vec<String>,
    /// The architecture of the guests, this machine's if none is named: x86_64, aarch64
    #[arg(long, value_parser = target::named)]
    pub(super) arch: Option<&'static Target>,
    /// Look for newer kernels than those that were fetched before
    #[arg(long)]
    pub(super) refresh: bool,
    /// The kernel's list of security modules
    #[arg(long, default_value = "landlock,lockdown,yama,apparmor")]
    pub(super) lsm: String,
    /// Memory of a guest, in MiB
    #[arg(long, default_value_t = 2048)]
    pub(super) memory: u32,
    /// Seconds after which a guest is ended
    #[arg(long, default_value_t = 7200)]
    pub(super) limit: u64,
    /// How many times slower than a machine a guest is taken for: deadlines are longer and loads smaller by that
    #[arg(long, default_value_t = 12)]
    pub(super) slowness: u32,
    /// Another file of this machine that the guest has too
    #[arg(long = "file")]
    pub(super) files: Vec<PathBuf>,
    /// Another module of the guest's kernel that is loaded
    #[arg(long = "module")]
    pub(super) modules: Vec<String>,
    /// Files that were unpacked: their paths in the guest, below `/`, and here.
    #[arg(skip)]
    pub(super) unpacked: Vec<(PathBuf, PathBuf)>,
    /// A file of this machine that is the guest's disk, /dev/vda
    #[arg(long)]
    pub(super) disk: Option<PathBuf>,
    /// A variable for the command, NAME=VALUE
    #[arg(long = "env")]
    pub(super) environment: Vec<String>,
    /// More words for the kernel's command line
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) append: String,
    /// What the guest's first process becomes, with its arguments: an init of this machine's distribution
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(super) init: Vec<String>,
    /// Run this package under systemd in a guest instead of the tests
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["command", "kernels"])]
    pub(super) systemd: Option<PathBuf>,
    /// Run jobs before Debian's docker in a guest instead of the tests
    #[arg(long, conflicts_with_all = ["command", "kernels", "systemd"])]
    pub(super) docker: bool,
    /// Have a guest lose its power in the midst of a job, and look at what is left, instead of the tests
    #[arg(long, conflicts_with_all = ["command", "kernels", "systemd", "docker"])]
    pub(super) power_loss: bool,
    /// Show what the kernel printed
    #[arg(long)]
    pub(super) console: bool,
    /// Only the test binary of that name: agent, completeness, egress, runner, tamper; with =TEXT, of its tests those whose name
    /// contains that
    #[arg(long, value_name = "BINARY[=TEXT]")]
    pub(super) only: Vec<String>,
    /// Only tests whose name contains this
    #[arg(long)]
    pub(super) filter: Vec<String>,
    /// The tier to run the tests at; each is a guest of its own
    #[arg(long = "tier")]
    pub(super) tiers: Vec<String>,
    /// The way by which the tests' agents take the hooks of the tracing tier: fmod-ret, lsm (with an --lsm that has bpf), fentry
    #[arg(long)]
    pub(super) hooks: Option<String>,
    /// Run this instead of the tests; `runner-agent` and the tests' `act` are on its path
    #[arg(last = true)]
    pub(super) command: Vec<String>,
}

impl Options {
    pub(super) fn target(&self) -> &'static Target {
        self.arch.unwrap_or_else(Target::native)
    }

    /// Whether no kernel and no test is named.
    pub(super) fn names_nothing(&self) -> bool {
        let lists = [&self.kernels, &self.tiers, &self.only, &self.filter];
        lists.iter().all(|list| list.is_empty()) && self.hooks.is_none() && self.target().is_native()
    }

    pub(super) fn needs(&self) -> setup::Options {
        setup::Options { with_guests: true, ..setup::Options::for_static(Some(self.target())) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_run::options;

    #[test]
    fn a_kernel_a_tier_or_a_test_is_a_name() {
        assert!(options(["--slowness", "20"]).unwrap().names_nothing());
        for words in [&["6.1"][..], &["--tier", "tracing"], &["--only", "agent"], &["--filter", "reads"]] {
            assert!(!options(words).unwrap().names_nothing(), "{words:?}");
        }
    }
}
