//! `vm`: the end-to-end tests on other kernels, each in a guest of its own; or one command in one guest.

mod archive;
mod cpio;
mod docker;
mod doctor;
mod foreign;
mod frame;
pub mod guest;
mod image;
mod installed;
mod kernels;
mod machine;
mod modules;
mod options;
mod plan;
mod power;
mod side_by_side;
mod suites;
mod table;
pub mod test_run;
mod unpacked;
mod userland;
mod whole;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{self, Place, QUICK};
use crate::suite::{Suite, reasons};
use crate::target::Target;
use crate::{setup, step};
use frame::Frame;
use image::Contents;
use kernels::Kernel;
use machine::{End, Machine, Outcome};
use plan::Plan;
use side_by_side::Live;
use suites::Guest;
use table::Column;
use whole::Whole;

pub use options::Options;

/// Where end-to-end tests say that they could not run.
const REPORT: &str = "RUNNER_AGENT_TEST_REPORT";
/// The binary that end-to-end tests run.
const BINARY: &str = "RUNNER_AGENT_BIN";

/// Says to tests by how much deadlines are longer and loads are smaller.
const SLOWNESS: &str = "RUNNER_AGENT_TEST_SLOWNESS";

/// Names the way by which the tests' agents take hooks.
const HOOKS: &str = "RUNNER_AGENT_TEST_HOOKS";

/// Says to tests that this machine is theirs.
const GUEST: &str = "RUNNER_AGENT_GUEST";

const GUEST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was built here for guests of one architecture.
struct Built {
    target: &'static Target,
    /// This program, which is their init.
    init: PathBuf,
    agent: PathBuf,
    helper: PathBuf,
    /// Name and program of each test binary.
    tests: Vec<(String, PathBuf)>,
}

pub fn run(options: &Options) -> Result<()> {
    if let Some(whole) = whole(options)? {
        return whole.alone();
    }
    if !options.command.is_empty() {
        let ended = one_command(options, &mut Live);
        if let Some(Ended(code)) = ended.as_ref().err().and_then(|error| error.downcast_ref()) {
            std::process::exit(*code);
        }
        return ended;
    }
    let begun = Instant::now();
    let columns = columns(options)?;
    show(options, &columns);
    println!("all guests: {:.0} s", begun.elapsed().as_secs_f32());
    if options.names_nothing() {
        println!("these are chosen tests; `cargo xtask vm KERNEL` runs all of them on one, which takes an hour");
    }
    let ceilings = doctor::are_below_their_ceilings(&columns);
    let suites: Vec<Suite> = columns.into_iter().flat_map(Column::into_suites).chain([ceilings]).collect();
    reasons(&suites).context("all that was said in guests is in target/vm")
}

/// The guest that is asked for and is a test by itself.
fn whole(options: &Options) -> Result<Option<Whole>> {
    Ok(match &options.systemd {
        Some(package) => Some(installed::under_systemd(&std::path::absolute(package)?)),
        None if options.docker => Some(docker::before_docker()),
        None => options.power_loss.then(power::loses_power),
    })
}

fn show(options: &Options, columns: &[Column]) {
    let slowness = options.slowness;
    println!("\n{}\n{}", doctor::render(columns), table::render(columns));
    println!(
        "guests are emulated: deadlines were {slowness} times longer, the load of `completeness` 1/{slowness} of its own"
    );
}

/// Sees to it that there is an emulator, and every kernel; fails with what is missing.
pub fn prepare() -> Result<()> {
    setup::run(&setup::Options { with_guests: true, ..setup::Options::for_static(Some(Target::native())) })?;
    for &series in kernels::ALL {
        kernels::get(series, Target::native(), false)?;
    }
    Ok(())
}

fn columns(options: &Options) -> Result<Vec<Column>> {
    setup::run(&options.needs())?;
    let guests = if options.names_nothing() { test_run::guests(options)? } else { Guest::of(options)? };
    let (built, stop) = (build(options.target())?, step::stop_flag()?);
    let columns = side_by_side::each(&guests, |guest, say| suites::column(guest, &built, &stop, say));
    Ok(table::merged(columns.into_iter().collect::<Result<Vec<_>>>()?))
}

/// A command in a guest that ended with another code than 0.
#[derive(Debug)]
struct Ended(i32);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the command in the guest ended with {}", self.0)
    }
}

impl std::error::Error for Ended {}

/// Runs a command in a guest, and says what it says.
fn one_command(options: &Options, say: &mut dyn Write) -> Result<()> {
    let [name] = options.kernels.as_slice() else { bail!("a command runs on one kernel: name it before the --") };
    setup::run(&options.needs())?;
    let target = options.target();
    let kernel = kernels::get(kernels::series(name)?, target, options.refresh)?;
    let (built, stop) = (build(target)?, step::stop_flag()?);
    let mut code = None;
    let outcome =
        in_guest(options, &kernel, &built, None, vec![options.command.clone()], &stop, |frame| match frame {
            Frame::Output(bytes) => drop(say.write_all(&bytes)),
            Frame::Report(text) => drop(say.write_all(text.as_bytes())),
            Frame::Ended(ended) => code = Some(ended),
            _ => {}
        })?;
    if options.console {
        eprintln!("{}", outcome.console);
    }
    eprintln!("── {} ({:.1} s)", kernel.release, outcome.wall.as_secs_f32());
    if let Some(complaint) = machine::complaint(&outcome.console) {
        bail!("the kernel complained:\n{complaint}");
    }
    match (outcome.end, code) {
        (End::Done, Some(0)) => Ok(()),
        (End::Done, Some(code)) => Err(Ended(code).into()),
        (end, _) => bail!("the guest ended before the command did: {end:?}\n{}", tail(&outcome.console)),
    }
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Boots a guest that runs these commands.
fn in_guest(
    options: &Options,
    kernel: &Kernel,
    built: &Built,
    tier: Option<(String, String)>,
    commands: Vec<Vec<String>>,
    stop: &Arc<AtomicBool>,
    take: impl FnMut(Frame),
) -> Result<Outcome> {
    let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("paths of the build are text");
    let folder_of = |path: &PathBuf| text(&path.parent().context("a program lies in a folder")?.to_path_buf());
    let (agents, helpers) = (folder_of(&built.agent)?, folder_of(&built.helper)?);
    let mut environment: Vec<(String, String)> = [
        ("PATH", format!("{GUEST_PATH}:{agents}:{helpers}")),
        ("HOME", "/root".to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("RUST_BACKTRACE", "0".to_owned()),
        (BINARY, text(&built.agent)?),
        (SLOWNESS, options.slowness.to_string()),
        (GUEST, "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    environment.extend(options.hooks.clone().map(|way| (HOOKS.to_owned(), way)));
    environment.extend(tier);
    for variable in &options.environment {
        let (name, value) = variable.split_once('=').with_context(|| format!("{variable}: NAME=VALUE is expected"))?;
        environment.push((name.to_owned(), value.to_owned()));
    }
    let mut contents = Contents {
        init: built.init.clone(),
        built: vec![built.agent.clone(), built.helper.clone()],
        files: options.files.clone(),
        unpacked: options.unpacked.clone(),
        modules: options.modules.clone(),
        has_disk: options.disk.is_some(),
    };
    for command in &commands {
        for file in image::named_files(command, built.target) {
            let is_built = built.tests.iter().any(|(_, program)| *program == file);
            if is_built { &mut contents.built } else { &mut contents.files }.push(file);
        }
    }
    let initramfs = tempfile::NamedTempFile::with_prefix("runner-agent-vm-").context("a file for a guest's files")?;
    contents.files.extend(options.init.first().map(PathBuf::from));
    image::write(
        initramfs.path(),
        kernel,
        built.target,
        Plan { modules: Vec::new(), environment, commands, init: options.init.clone() },
        &contents,
    )?;
    let machine = Machine {
        target: built.target,
        kernel: &kernel.image,
        initramfs: initramfs.path(),
        disk: options.disk.as_deref(),
        lsm: &options.lsm,
        append: &options.append,
        memory_mib: options.memory,
        limit: Duration::from_secs(options.limit),
    };
    machine.run(stop, take)
}

/// The agent as it is packed, the tests and their helper. Cargo says where the tests lie.
fn build(target: &'static Target) -> Result<Built> {
    let cargo = |subcommand: &str, package: &str, what: &[&str]| {
        let mut cargo = step::cargo(subcommand);
        cargo.args(["--quiet", "--profile", QUICK, "--package", package]).args(what);
        if !target.is_native() {
            target.choose(&mut cargo);
        }
        cargo
    };
    let mut folder = step::target_dir()?;
    if !target.is_native() {
        folder.push(target.triple);
    }
    let folder = folder.join(QUICK);
    let agent = build::in_place(&Place::own()?, QUICK, Some(target), &[])?;
    let init = if target.is_native() {
        std::env::current_exe().context("where this program lies")?
    } else {
        step::run("building their init", &mut cargo("build", "xtask", &[]))?;
        folder.join("xtask")
    };
    let mut tests = cargo("test", "end-to-end", &["--no-run", "--tests", "--message-format=json"]);
    tests.stderr(std::process::Stdio::inherit());
    eprintln!("── building the end-to-end tests");
    let messages = step::output(&mut tests)?;
    let programs = programs_in(&messages);
    let one = |name: &str| {
        let mut of_name = programs.iter().filter(|(found, test, _)| found == name && !test);
        of_name.next().map(|(_, _, path)| path.clone()).with_context(|| format!("cargo built no {name}"))
    };
    let tests = programs.iter().filter(|(_, test, _)| *test).map(|(name, _, path)| (name.clone(), path.clone()));
    Ok(Built { target, init, helper: one("act")?, tests: tests.collect(), agent })
}

/// Name, whether it is an integration test, and path of each program in cargo's messages.
fn programs_in(messages: &str) -> Vec<(String, bool, PathBuf)> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let (path, target) = (message["executable"].as_str()?, &message["target"]);
        let kind = target["kind"][0].as_str()?;
        // Unit tests of the helpers stand for `cargo test` on this machine.
        let wanted = kind == "test" || (kind == "bin" && message["profile"]["test"] == false);
        wanted.then(|| (target["name"].as_str().unwrap_or_default().to_owned(), kind == "test", PathBuf::from(path)))
    };
    messages.lines().filter_map(program).collect()
}
