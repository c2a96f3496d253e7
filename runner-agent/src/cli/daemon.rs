//! `daemon`: the service in a runner's image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::clock::boot_ns;
use super::run::NOT_ARMED;
use super::{USAGE, complain, sending};
use crate::agent::{Service, ServiceOptions};
use crate::config::daemon::{self, Leftovers, WantedHooks, WantedTier};
use crate::control::{Handed, Place, Policies, serve};
use crate::job::Scope;
use crate::kernel::hooks::Way;
use crate::kernel::{LoadOptions, Tier, TierChoice, procfs};
use crate::sink::wire::Encoder;

/// What `daemon` is told.
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/runner-agent/config.yml")]
    config: PathBuf,
    /// Read configuration and policies, say what is wrong with them, and end.
    #[arg(long)]
    check: bool,
}

/// Serves until it is ended.
pub fn run(args: &DaemonArgs) -> ExitCode {
    let started = Instant::now();
    let config = match sending::configuration(&args.config, "the daemon was not started") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let policies = match Policies::read(&config) {
        Ok(policies) => policies,
        Err(problems) => {
            problems.iter().for_each(complain);
            complain(&"the policies are not right; the daemon was not started");
            return ExitCode::from(USAGE);
        }
    };
    if args.check {
        return ExitCode::SUCCESS;
    }
    match serve_jobs(config, &args.config, policies, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(NOT_ARMED)
        }
    }
}

fn serve_jobs(config: daemon::DaemonConfig, file: &Path, policies: Policies, started: Instant) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let handed = Handed::take(&config.socket)?;
    for folder in [&config.logs, &config.state] {
        std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    // Before the probes: every thread of the agent is to be out of the jobs' reach.
    let deliveries = sending::start(&config, file, Some(&config.state)).map_err(anyhow::Error::msg)?;
    let service = Service::raise(ServiceOptions {
        load: LoadOptions {
            tier: match config.tier {
                WantedTier::Auto => TierChoice::Best,
                WantedTier::Tracepoint => TierChoice::Only(Tier::Tracepoint),
                WantedTier::Tracing => TierChoice::Only(Tier::Tracing),
            },
            hooks: match config.hooks {
                WantedHooks::Auto => None,
                WantedHooks::FmodRet => Some(Way::ModifyReturn),
                WantedHooks::Lsm => Some(Way::Lsm),
                WantedHooks::Fentry => Some(Way::Entry),
            },
            ..LoadOptions::default()
        },
        policies: policies.all().to_vec(),
        jobs: config.jobs,
        runner: (config.scope == Scope::Runner).then(|| policies.platform().to_vec()),
        ends_leftovers: config.leftovers == Leftovers::End,
        configuration: file.to_owned(),
        policies_folder: config.policies,
        logs: config.logs,
        runtime: config.state,
        pins: config.pins,
        encoder: Encoder { boot_ns: boot_ns(), mount_namespace: procfs::own_mount_namespace() },
        deliveries: deliveries.clone(),
        started,
    })?;
    let place = Place { socket: config.socket, handed, owner: config.owner, metrics_file: config.metrics_file };
    let served = serve(service, policies, place);
    for drained in deliveries.drain(None) {
        complain(&sending::in_words(&drained));
    }
    Ok(served?)
}
