//! `bench`: what the agent costs. Each load runs bare and under the agent in the same round, the order changing from
//! round to round, so that a machine that gets slower meets both alike. docs/benchmarks.md explains the method.

mod action;
mod agent;
pub mod block;
mod ceiling;
mod encode;
pub mod load;
mod project;
mod report;
mod stats;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tempfile::TempDir;

use crate::{build, setup, step};
use agent::{Agent, Footprint};
use load::Kind;
use report::{Measure, Report};

/// What has a measurement of its own.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Part {
    /// How fast notices become each of the forms in which they leave; takes neither root nor a kernel
    Encode,
    /// What the GitHub Action adds to an empty job
    Action,
}

#[derive(Args)]
pub struct Options {
    /// Measure this instead
    #[arg(value_enum, conflicts_with_all = ["only", "json", "block"])]
    part: Option<Part>,
    /// Rounds; each runs every load once bare and once under the agent
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these loads
    #[arg(long, value_enum, value_name = "LOAD")]
    only: Vec<Kind>,
    /// Measure block mode instead, or these parts of it
    #[arg(long, value_enum, value_name = "PART", num_args = 0.., conflicts_with_all = ["only", "json"])]
    block: Option<Vec<block::Part>>,
    /// Wait so many seconds at most for a machine that does nothing else: before each part of a round of block mode, before each
    /// job with the Action
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    patience: u64,
    /// A twentieth of the operations: shows that everything runs, measures nothing
    #[arg(long)]
    quick: bool,
    /// Measure this runner-agent instead of building one
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Also write every single measurement to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    if let Some(Part::Encode) = options.part {
        return encode::run();
    }
    if !step::is_root() {
        bail!("the agent loads programs into the kernel: run the benchmark as root (`sudo -E cargo xtask bench`)");
    }
    setup::run(&setup::Options::default())?;
    let binary = match &options.agent {
        Some(binary) => binary.clone(),
        None => build::binary(&build::Options { release: true, ..build::Options::default() })?,
    };
    if let Some(Part::Action) = options.part {
        return action::run(&binary, options.rounds, Duration::from_secs(options.patience));
    }
    let stop = step::stop_flag()?;
    if let Some(parts) = &options.block {
        let patience = Duration::from_secs(options.patience);
        return block::run(&binary, parts, (options.rounds, options.quick), patience, &stop);
    }
    let bench = Bench::prepare(&binary)?;
    let kinds: Vec<Kind> = Kind::all().iter().copied().filter(|kind| wanted(options, *kind)).collect();
    let mut measures: Vec<Measure> = kinds.iter().map(|kind| Measure::new(*kind)).collect();
    let mut footprint = Footprint::default();
    let start = Instant::now();
    for round in 0..options.rounds {
        for measure in &mut measures {
            if stop.load(Ordering::Relaxed) {
                bail!("stopped by a signal");
            }
            eprintln!("── round {} of {}: {}", round + 1, options.rounds, measure.kind.title());
            let count = if options.quick { measure.kind.count().div_ceil(20) } else { measure.kind.count() };
            let bare = |bench: &Bench| bench.bare(measure.kind, count);
            let (baseline, agent) = if round % 2 == 0 {
                let baseline = bare(&bench)?;
                (baseline, bench.under_agent(measure.kind, count, &mut footprint)?)
            } else {
                let agent = bench.under_agent(measure.kind, count, &mut footprint)?;
                (bare(&bench)?, agent)
            };
            measure.baseline_ns.push(baseline);
            measure.agent_ns.push(agent);
        }
    }
    eprintln!("{} rounds took {:.0?}", options.rounds, start.elapsed());
    let binary_bytes = fs::metadata(&binary).with_context(|| binary.display().to_string())?.len();
    let report = Report { rounds: options.rounds, quick: options.quick, measures, footprint, binary_bytes };
    println!("{}", report.markdown());
    if let Some(path) = &options.json {
        fs::write(path, report.json()).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn wanted(options: &Options, kind: Kind) -> bool {
    options.only.is_empty() || options.only.contains(&kind)
}

/// What all rounds share: a home with a watched file, programs to start, a project to build.
struct Bench {
    folder: TempDir,
    agent: Agent,
    compiler: kernel_toolchain::Compiler,
}

impl Bench {
    fn prepare(binary: &Path) -> Result<Self> {
        let compiler = kernel_toolchain::find_compiler()?;
        let folder = tempfile::Builder::new().prefix("runner-agent-bench-").tempdir().context("a temporary folder")?;
        let here = folder.path();
        fs::create_dir_all(here.join("home/watched")).context("the benchmark's home")?;
        fs::write(here.join("home/watched/credentials"), "[default]\n").context("the watched file")?;
        fs::write(here.join("unwatched"), "nothing\n").context("the unwatched file")?;
        project::create(&here.join("project"))?;
        let source = here.join("static.rs");
        fs::write(&source, "fn main() {}\n").context("the static program")?;
        let mut rustc = Command::new(&compiler.rustc);
        rustc.args(["-O", "-C", "target-feature=+crt-static", "-o"]).arg(here.join("static")).arg(&source);
        step::run("building a static program", &mut rustc)?;
        let agent = Agent::new(binary, here)?;
        Ok(Self { folder, agent, compiler })
    }

    /// What one load works on.
    fn path(&self, kind: Kind) -> PathBuf {
        let here = self.folder.path();
        match kind {
            Kind::ExecTrue => "/bin/true".into(),
            Kind::ExecStatic => here.join("static"),
            Kind::OpenWatched => here.join("home/watched/credentials"),
            Kind::OpenUnwatched => here.join("unwatched"),
            Kind::CargoBuild => here.join("project"),
            Kind::Connect | Kind::UdpSend => here.to_path_buf(),
        }
    }

    fn bare(&self, kind: Kind, count: u64) -> Result<f64> {
        let mut command = Command::new(std::env::current_exe().context("where this program lies")?);
        self.arguments(&mut command, kind, count);
        step::output(&mut command)?;
        self.result()
    }

    fn under_agent(&self, kind: Kind, count: u64, footprint: &mut Footprint) -> Result<f64> {
        let mut command = self.agent.command();
        command.arg(std::env::current_exe().context("where this program lies")?);
        self.arguments(&mut command, kind, count);
        self.agent.run(command, footprint)?;
        self.result()
    }

    fn arguments(&self, command: &mut Command, kind: Kind, count: u64) {
        command
            .args(["bench-load", kind.word(), &count.to_string(), "--path"])
            .arg(self.path(kind))
            .arg("--result")
            .arg(self.result_file())
            .env("HOME", self.folder.path().join("home"))
            .env("CARGO", &self.compiler.cargo)
            .env("RUSTC", &self.compiler.rustc)
            .stdin(Stdio::null());
    }

    /// In a file, because standard output also holds what the agent says.
    fn result_file(&self) -> PathBuf {
        self.folder.path().join("result")
    }

    /// Reads and removes it: a run that left none must not be taken for the one before.
    fn result(&self) -> Result<f64> {
        let path = self.result_file();
        let text = fs::read_to_string(&path).context("the load left no result")?;
        fs::remove_file(&path).context("the load's result")?;
        text.trim().parse().with_context(|| format!("`{text}` is no number of nanoseconds"))
    }
}
