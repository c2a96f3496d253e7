//! What the architecture that this machine doesn't have takes: compiling for it, and running what was compiled.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::packages::Packages;
use super::{Need, first_line, qemu, rustup, standard_library, supply_qemu};
use crate::step;
use crate::target::Target;

pub(super) const NEEDS: &[Need] = &[
    Need { name: "cross compiler", only_for: None, look: compiler, supply: supply_compiler },
    Need {
        name: "standard library of the other architecture",
        only_for: None,
        look: || standard_library(Target::foreign()),
        supply: |_| rustup(&["target", "add", Target::foreign().triple]),
    },
    Need {
        name: "QEMU for single programs",
        only_for: None,
        look: emulator,
        supply: |packages| packages.install(&["qemu-user"]),
    },
];

pub(super) const GUEST_NEEDS: &[Need] = &[Need {
    name: "QEMU of the other architecture",
    only_for: None,
    look: || qemu(Target::foreign()),
    supply: |packages| supply_qemu(packages, Target::foreign()),
}];

/// With headers, which it can be there without.
fn compiler() -> Result<String> {
    let compiler = Target::foreign().compiler();
    let mut preprocess = Command::new(&compiler);
    preprocess.args(["-E", "-include", "signal.h", "-x", "c", "/dev/null", "-o", "/dev/null"]);
    step::output(&mut preprocess).with_context(|| format!("{compiler} with a C library's headers is missing"))?;
    Ok(first_line(&step::output(Command::new(&compiler).arg("--version"))?))
}

fn supply_compiler(packages: &mut Packages) -> Result<()> {
    packages.install(&Target::foreign().compiler_packages().each_ref().map(String::as_str))
}

fn emulator() -> Result<String> {
    let emulator = Target::foreign().emulator();
    let version = step::output(Command::new(&emulator).arg("--version"));
    Ok(first_line(&version.with_context(|| format!("{emulator} is missing, which runs what was built"))?))
}
