//! What lies in the package and with which rights: the whole list, so that nothing comes in or goes unnoticed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Package;
use crate::step;

const FILE: &str = "-rw-r--r--";
const PROGRAM: &str = "-rwxr-xr-x";
const FOLDER: &str = "drwxr-xr-x";

/// Rights and path.
type Entry = (&'static str, &'static str);

/// Every file but the manual pages, which are as many as there are commands.
const FILES: &[Entry] = &[
    (FILE, "etc/runner-agent/config.yml"),
    (FILE, "etc/runner-agent/floor.yml"),
    (FILE, "etc/runner-agent/policies/build.yml"),
    (FILE, "etc/runner-agent/policies/pr-validation.yml"),
    (FILE, "etc/runner-agent/policies/release.yml"),
    (PROGRAM, "usr/bin/runner-agent"),
    (PROGRAM, "usr/lib/runner-agent/hooks/job-completed.sh"),
    (PROGRAM, "usr/lib/runner-agent/hooks/job-started.sh"),
    (FILE, "usr/lib/systemd/system/runner-agent.service"),
    (FILE, "usr/lib/systemd/system/runner-agent.socket"),
    (FILE, "usr/share/bash-completion/completions/runner-agent"),
    (FILE, "usr/share/fish/vendor_completions.d/runner-agent.fish"),
    (FILE, "usr/share/runner-agent/engine-gate.conf"),
    (FILE, "usr/share/runner-agent/runner.conf"),
];

/// What only Debian's rules ask for.
const OF_DEB: &[Entry] = &[
    (FILE, "usr/share/doc/runner-agent/changelog.gz"),
    (FILE, "usr/share/doc/runner-agent/copyright"),
    (FILE, "usr/share/lintian/overrides/runner-agent"),
    (FILE, "usr/share/zsh/vendor-completions/_runner-agent"),
];

const OF_RPM: &[Entry] = &[
    (FILE, "usr/share/licenses/runner-agent/LICENSE-APACHE"),
    (FILE, "usr/share/licenses/runner-agent/LICENSE-MIT"),
    (FILE, "usr/share/zsh/site-functions/_runner-agent"),
];

const PAGES: &str = "usr/share/man/man1/runner-agent";

pub fn files_and_rights(package: &Package) -> Result<()> {
    let listing = step::output(Command::new("dpkg-deb").arg("--contents").arg(&package.deb))?;
    told(differences(&listing, OF_DEB))
}

/// The same of an RPM, which is asked for lines of the same form.
pub fn files_and_rights_of_rpm(rpm: &Path) -> Result<()> {
    const FORM: &str = "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILESIZES} - - .%{FILENAMES}\\n]";
    let mut query = Command::new("rpm");
    query.args(["--query", "--package", "--queryformat", FORM]).arg(rpm);
    told(differences(&step::output(&mut query)?, OF_RPM))
}

/// As many as the binary has commands, each by its name.
pub fn manual_pages(package: &Package) -> Result<()> {
    let mut missing = Vec::new();
    let mut pages = vec![PAGES.to_owned()];
    let help = step::output(package.agent().arg("--help"))?;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A long description goes on in lines that begin further in.
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    pages.extend(names.filter_map(|line| line.split_whitespace().next()).map(|name| format!("{PAGES}-{name}")));
    pages.retain(|page| !page.ends_with("-help"));
    for page in &pages {
        let file = package.root.path().join(page).with_extension("1.gz");
        if !step::output(Command::new("zcat").arg(&file)).is_ok_and(|text| text.contains(".SH NAME")) {
            missing.push(format!("{} is missing, or no page", file.display()));
        }
    }
    if pages.len() < 5 {
        bail!("`--help` names only {}", pages.len() - 1);
    }
    told(missing)
}

/// What a shell reads is what the binary writes for it; and bash, which is always there, knows the program afterwards.
pub fn completions(package: &Package) -> Result<()> {
    let mut wrong = Vec::new();
    for (shell, file) in [
        ("bash", "usr/share/bash-completion/completions/runner-agent"),
        ("zsh", "usr/share/zsh/vendor-completions/_runner-agent"),
        ("fish", "usr/share/fish/vendor_completions.d/runner-agent.fish"),
    ] {
        let file = package.root.path().join(file);
        let said = step::output(package.agent().args(["completions", shell]))?;
        if fs::read_to_string(&file).with_context(|| file.display().to_string())? != said {
            wrong.push(format!("{} is not what the binary writes for {shell}", file.display()));
        }
        if shell == "bash" {
            let mut bash = Command::new("bash");
            step::output(bash.args(["-c", ". \"$0\" && complete -p runner-agent"]).arg(&file))?;
        }
    }
    told(wrong)
}

fn told(wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("; ")) }
}

/// What an upgrade must not overwrite.
pub fn configuration(package: &Package) -> Result<()> {
    let text = fs::read_to_string(package.root.path().join("DEBIAN/conffiles")).context("the list of conffiles")?;
    let mut listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('/')).collect();
    listed.sort_unstable();
    let wanted: Vec<&str> = FILES.iter().map(|(_, path)| *path).filter(|path| path.starts_with("etc/")).collect();
    if listed == wanted { Ok(()) } else { bail!("conffiles are {listed:?}, and should be {wanted:?}") }
}

/// `-rw-r--r-- 0/0   1326 2026-01-15 00:00 ./etc/runner-agent/config.yml`, one a line.
fn differences(listing: &str, besides: &[Entry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut missing: Vec<Entry> = [FILES, besides].concat();
    let mut pages = 0;
    for line in listing.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(rights), Some(owner), Some(path)) = (words.next(), words.next(), words.nth(3)) else {
            wrong.push(format!("can't read {line:?}"));
            continue;
        };
        let path = path.trim_start_matches("./");
        if !matches!(owner, "0/0" | "root/root") {
            wrong.push(format!("{path} belongs to {owner}"));
        }
        let expected = if path.ends_with('/') || path.is_empty() {
            FOLDER
        } else if path.starts_with(PAGES) && path.ends_with(".1.gz") {
            pages += 1;
            FILE
        } else if let Some(at) = missing.iter().position(|(_, known)| *known == path) {
            missing.remove(at).0
        } else {
            wrong.push(format!("{path} is in it and in no list"));
            continue;
        };
        if rights != expected {
            wrong.push(format!("{path} is {rights}, and should be {expected}"));
        }
    }
    wrong.extend(missing.iter().map(|(_, path)| format!("{path} is missing")));
    if pages == 0 {
        wrong.push("there are no manual pages".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> String {
        let line = |rights: &str, path: &str| format!("{rights} 0/0   12 2026-01-15 00:00 ./{path}\n");
        let files: String = FILES.iter().chain(OF_DEB).map(|(rights, path)| line(rights, path)).collect();
        line(FOLDER, "usr/") + &files + &line(FILE, "usr/share/man/man1/runner-agent.1.gz")
    }

    #[test]
    fn a_package_with_all_files_and_no_other_is_right() {
        assert_eq!(differences(&listing(), OF_DEB), Vec::<String>::new());
    }

    #[test]
    fn a_file_too_many_one_too_few_and_wrong_rights_are_told() {
        let listing =
            listing().replace("-rw-r--r-- 0/0   12 2026-01-15 00:00 ./etc/runner-agent/floor.yml\n", "").replace(
                "-rwxr-xr-x 0/0   12 2026-01-15 00:00 ./usr/bin",
                "-rwsr-xr-x 0/0   12 2026-01-15 00:00 ./usr/bin",
            ) + "-rw-r--r-- 1000/1000 3 2026-01-15 00:00 ./etc/cron.d/extra\n";
        assert_eq!(
            differences(&listing, OF_DEB),
            [
                "usr/bin/runner-agent is -rwsr-xr-x, and should be -rwxr-xr-x",
                "etc/cron.d/extra belongs to 1000/1000",
                "etc/cron.d/extra is in it and in no list",
                "etc/runner-agent/floor.yml is missing",
            ]
        );
    }
}
