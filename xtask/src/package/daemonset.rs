//! The Kubernetes manifest against Kubernetes' own schemas.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::Package;
use crate::{setup, step};

/// The manifest.
const MANIFEST: &str = "packaging/kubernetes/daemonset.yml";

/// Strict: a key that Kubernetes would ignore is a misspelt one.
pub fn is_valid(_: &Package) -> Result<()> {
    let mut validate = Command::new(validator()?);
    validate.args(["--strict", "--quiet", "--no-warn"]).arg(step::root().join(MANIFEST));
    step::output(&mut validate).map(drop)
}

/// Where `setup` put it.
pub fn validator() -> Result<PathBuf> {
    setup::kubernetes_validate()
}
