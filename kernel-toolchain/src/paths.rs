//! Names in place of folders of the machine that builds: what compilers write into programs is the same wherever the sources
//! lie, and tells nobody where that was.

use std::env;
use std::path::{Path, PathBuf};

use crate::Compiler;

/// Flags of rustc that have it write other names for folders: each pair is a folder and the name for it. Where several
/// folders hold a file the last counts.
pub fn remapped(folders: &[(&Path, &str)]) -> Vec<String> {
    folders.iter().map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())).collect()
}

/// What every build here reads besides the workspace, with its name: packages, and the sources of the standard library.
pub fn outside(compiler: &Compiler) -> Vec<(PathBuf, &'static str)> {
    let mut folders: Vec<(PathBuf, &'static str)> = cargo_home().map(|home| (home, "/cargo")).into_iter().collect();
    // With these sources installed, rustc names them where it would otherwise say `/rustc/…`.
    let sysroot = compiler.rustc.parent().and_then(Path::parent);
    folders.extend(sysroot.map(|sysroot| (sysroot.join("lib/rustlib/src/rust"), "/rust")));
    folders
}

/// Where cargo keeps packages.
fn cargo_home() -> Option<PathBuf> {
    let own = env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_gets_its_name_in_the_order_given() {
        let flags = remapped(&[(Path::new("/src"), "/agent"), (Path::new("/src/target"), "/target")]);
        assert_eq!(flags, ["--remap-path-prefix=/src=/agent", "--remap-path-prefix=/src/target=/target"]);
    }
}
