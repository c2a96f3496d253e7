//! What the binary is made of, as a CycloneDX document: the packages of the user side, and those of the kernel side inside it, which
//! are built for a target of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Package, sources, stage};
use crate::setup;
use crate::step;
use crate::target::Target;

/// The newest that cargo-cyclonedx writes.
const SPECIFICATION: &str = "1.5";

/// Each package with a binary, and the target that it is built for.
fn parts(target: &'static Target) -> [(&'static str, &'static str); 2] {
    [("runner-agent", target.triple), (kernel_toolchain::PACKAGE, kernel_toolchain::TARGET)]
}

/// Writes it for this program, which is the one in the package.
pub fn write(target: &'static Target, program: &Path, to: &Path) -> Result<()> {
    let copy = tempfile::tempdir().context("a folder for a copy of the sources")?;
    sources::copy(copy.path())?;
    let [mut document, kernel_side] = parts(target).map(|(package, target)| describe(copy.path(), package, target));
    let document = document.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    merge(document, &kernel_side?)?;
    document["metadata"]["component"]["hashes"] = json!([{ "alg": "SHA-256", "content": digest(program)? }]);
    let text = serde_json::to_string_pretty(document)?;
    fs::write(to, text + "\n").with_context(|| to.display().to_string())
}

/// cargo-cyclonedx writes beside each manifest of the workspace, so it is given a copy.
fn describe(root: &Path, package: &str, target: &str) -> Result<Value> {
    let mut cargo = step::cargo("cyclonedx");
    cargo.args(["--quiet", "--format", "json", "--describe", "binaries", "--no-build-deps"]);
    cargo.args(["--spec-version", SPECIFICATION, "--target", target, "--manifest-path"]).arg(root.join("Cargo.toml"));
    cargo.current_dir(root).env("SOURCE_DATE_EPOCH", stage::epoch());
    step::output(&mut cargo)?;
    let file = root.join(package).join(format!("{package}_bin.cdx.json"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    // Where the copy lay is nobody's business, and another folder the next time.
    Ok(serde_json::from_str(&text.replace(&root.display().to_string(), ""))?)
}

/// Adds what the kernel side is made of, and that the binary holds it.
fn merge(document: &mut Value, kernel_side: &Value) -> Result<()> {
    let object = &kernel_side["metadata"]["component"];
    let of = |value: &Value, name: &str| value[name].as_array().cloned().with_context(|| format!("it has no {name}"));
    let mut components = of(document, "components")?;
    for component in of(kernel_side, "components")?.iter().chain([object]) {
        if !components.iter().any(|known| known["bom-ref"] == component["bom-ref"]) {
            components.push(component.clone());
        }
    }
    let whole = document["metadata"]["component"]["bom-ref"].clone();
    let mut dependencies = of(document, "dependencies")?;
    for entry in &mut dependencies {
        if entry["ref"] == whole {
            entry["dependsOn"]
                .as_array_mut()
                .context("the binary depends on something")?
                .push(object["bom-ref"].clone());
        }
    }
    for entry in of(kernel_side, "dependencies")? {
        match dependencies.iter_mut().find(|known| known["ref"] == entry["ref"]) {
            None => dependencies.push(entry),
            Some(known) => {
                let mut all = known["dependsOn"].as_array().cloned().unwrap_or_default();
                all.extend(
                    entry["dependsOn"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter(|on| !all.contains(on))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                if !all.is_empty() {
                    known["dependsOn"] = all.into();
                }
            }
        }
    }
    document["components"] = components.into();
    document["dependencies"] = dependencies.into();
    Ok(())
}

fn digest(file: &Path) -> Result<String> {
    let said = step::output(Command::new("sha256sum").arg(file))?;
    said.split_whitespace().next().map(str::to_owned).context("sha256sum said nothing")
}

/// By CycloneDX's own schema, as its library for Python has it.
pub fn is_valid(package: &Package) -> Result<()> {
    const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.from_version(sys.argv[2])).validate_str(open(sys.argv[1]).read())
sys.exit(str(wrong) if wrong else 0)
";
    let mut python = Command::new(setup::cyclonedx_python()?);
    python.args(["-c", VALIDATE]).arg(&package.sbom).arg(SPECIFICATION).stdin(Stdio::null());
    step::output(&mut python).map(drop)
}

/// Cargo says on its own what goes into each of the two; and the digest is that of the program that a package brings.
pub fn is_complete(package: &Package) -> Result<()> {
    let document: Value = serde_json::from_str(&fs::read_to_string(&package.sbom)?)?;
    let named =
        |component: &Value| Some((component["name"].as_str()?.to_owned(), component["version"].as_str()?.to_owned()));
    let listed = document["components"].as_array().into_iter().flatten().chain([&document["metadata"]["component"]]);
    let listed: BTreeSet<_> = listed.filter_map(named).collect();
    let mut built = BTreeSet::new();
    for (package, target) in parts(package.target) {
        let mut tree = step::cargo("tree");
        tree.args(["--package", package, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none"]);
        for line in step::output(tree.args(["--format", "{p}"]))?.lines() {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            built.insert((name.to_owned(), version.trim_start_matches('v').to_owned()));
        }
    }
    let missing: Vec<_> = built.difference(&listed).map(|(name, version)| format!("{name} {version}")).collect();
    if !missing.is_empty() || built.len() < 20 {
        bail!("of {} packages these are not named: {}", built.len(), missing.join(", "));
    }
    let (said, program) =
        (&document["metadata"]["component"]["hashes"][0]["content"], package.root.path().join("usr/bin/runner-agent"));
    let digest = digest(&program)?;
    if *said != digest.as_str() {
        bail!("it is of a program with the digest {said}, and the package has {digest}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_sides_are_made_of_stands_in_it_once() {
        let component = |name: &str| json!({ "bom-ref": name });
        let depends = |name: &str, on: &[&str]| json!({ "ref": name, "dependsOn": on });
        let document = |name: &str, made_of: &[&str]| {
            json!({
                "metadata": { "component": component(name) },
                "components": made_of.iter().map(|name| component(name)).collect::<Vec<_>>(),
                "dependencies": [depends(name, made_of), depends("common", &[])],
            })
        };
        let mut whole = document("agent", &["common", "tokio"]);
        let mut kernel_side = document("probes", &["common", "aya-ebpf"]);
        kernel_side["dependencies"][1] = depends("common", &["zerocopy"]);
        merge(&mut whole, &kernel_side).unwrap();
        let names: Vec<_> =
            whole["components"].as_array().unwrap().iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
        assert_eq!(names, ["common", "tokio", "aya-ebpf", "probes"]);
        assert_eq!(
            whole["dependencies"],
            json!([
                depends("agent", &["common", "tokio", "probes"]),
                depends("common", &["zerocopy"]),
                depends("probes", &["common", "aya-ebpf"]),
            ])
        );
    }
}
