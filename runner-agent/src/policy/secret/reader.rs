//! Who reads, and whether that is an owner.

use std::fmt;

use globset::{Glob, GlobMatcher};

use super::Place;

/// A process opening a file.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Absolute path of its executable, as the kernel names it.
    pub exe: &'a str,
    /// Its arguments, the program's own name first.
    pub argv: &'a [String],
    /// Its process id.
    pub pid: u32,
    /// What it opens.
    pub path: &'a str,
}

/// An owner as written: `aws`, `docker-credential-*`, `node:npm-cli.js`, `python:pip`, or `self`.
#[derive(Clone, Debug)]
pub struct ReaderPattern {
    written: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The process that the `/proc/<pid>/…` path is about.
    Own,
    /// A program, by its basename.
    Program(GlobMatcher),
    /// An interpreter, by its basename with or without a version, and what it runs.
    Script { interpreter: GlobMatcher, script: GlobMatcher },
}

/// Why a text is no reader. Each message says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReaderPatternError {
    /// A path, or nothing.
    #[error("{0:?} is not a program's name; write its basename (`aws`), or interpreter and script (`node:npm-cli.js`)")]
    NotName(String),
    /// An interpreter alone would let every script read.
    #[error("{0:?} runs anybody's code, so it owns nothing by itself; add the script, as in \"{0}:{1}\"")]
    Interpreter(String, &'static str),
    /// `*` alone.
    #[error("{0:?} would make every program an owner; name the programs")]
    Everybody(String),
    /// Not a glob.
    #[error("{0:?} is no name pattern: {1}")]
    Glob(String, String),
}

/// Programs that run what they are given, with an example of what to add. A shell is one of them.
const INTERPRETERS: &[(&str, &str)] = &[
    ("node", "npm-cli.js"),
    ("python", "pip"),
    ("python3", "pip"),
    ("ruby", "gem"),
    ("php", "composer"),
    ("java", "org.example.Main"),
    ("perl", "script.pl"),
    ("bash", "script.sh"),
    ("sh", "script.sh"),
    ("dash", "script.sh"),
    ("deno", "main.ts"),
];

/// Directories anybody can write to.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", "/run/shm", "/run/user"];

impl ReaderPattern {
    /// Reads one entry of `readers`.
    pub fn parse(text: &str) -> Result<Self, ReaderPatternError> {
        let own = || text.to_owned();
        let glob = |part: &str| {
            Glob::new(part)
                .map(|glob| glob.compile_matcher())
                .map_err(|error| ReaderPatternError::Glob(own(), error.kind().to_string()))
        };
        if text.is_empty() || text.contains('/') || text.contains(char::is_whitespace) {
            return Err(ReaderPatternError::NotName(own()));
        }
        let everybody = |part: &str| part.bytes().all(|byte| matches!(byte, b'*' | b'?'));
        let kind = match text.split_once(':') {
            None if text == "self" => Kind::Own,
            None => {
                if everybody(text) {
                    return Err(ReaderPatternError::Everybody(own()));
                }
                let program = glob(text)?;
                // Neither by its version (`python3.11`) nor by a pattern that means it among others (`python*`).
                let is_meant = |name: &str| unversioned(text) == name || text == name || program.is_match(name);
                if let Some((_, example)) = INTERPRETERS.iter().find(|(name, _)| is_meant(name)) {
                    return Err(ReaderPatternError::Interpreter(own(), example));
                }
                Kind::Program(program)
            }
            Some((interpreter, script)) if interpreter.is_empty() || script.is_empty() || script.contains(':') => {
                return Err(ReaderPatternError::NotName(own()));
            }
            Some((interpreter, script)) => {
                if everybody(interpreter) || everybody(script) {
                    return Err(ReaderPatternError::Everybody(own()));
                }
                Kind::Script { interpreter: glob(interpreter)?, script: glob(script)? }
            }
        };
        Ok(Self { written: own(), kind })
    }

    /// Whether the reader is the owner meant.
    /// Whether it means the process that the file is about.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own)
    }

    /// Whether a reader is meant.
    pub fn matches(&self, reader: &Reader, place: &Place) -> bool {
        match &self.kind {
            Kind::Own => proc_owner(reader.path) == Some(reader.pid),
            Kind::Program(name) => !is_foreign(reader.exe, place) && name.is_match(basename(reader.exe)),
            Kind::Script { interpreter, script } => {
                let program = basename(reader.exe);
                !is_foreign(reader.exe, place)
                    && (interpreter.is_match(program) || interpreter.is_match(unversioned(program)))
                    && script_of(unversioned(program), reader.argv, place).is_some_and(|found| match found {
                        // A relative path is relative to a directory that nobody vouches for, as a rule the checkout.
                        Script::File(path) => {
                            path.starts_with('/') && !is_foreign(path, place) && script.is_match(basename(path))
                        }
                        Script::Module(name) => script.is_match(name),
                    })
            }
        }
    }
}

impl fmt::Display for ReaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl PartialEq for ReaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for ReaderPattern {}

/// Whether a file belongs to the job rather than to the machine: temporary, deleted, in memory, or in the workspace.
fn is_foreign(path: &str, place: &Place) -> bool {
    let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    !path.starts_with('/')
        || path.ends_with(" (deleted)")
        || path.starts_with("/memfd:")
        || path.split('/').any(|part| part == "..")
        || TEMPORARY.iter().any(|root| below(root))
        || place.workspaces.iter().any(|root| below(root))
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `python3.11` → `python`, `ruby2.7` → `ruby`.
fn unversioned(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

/// The process a `/proc/<pid>/…` path is about.
fn proc_owner(path: &str) -> Option<u32> {
    path.strip_prefix("/proc/")?.split('/').next()?.parse().ok()
}

/// What an interpreter runs.
enum Script<'a> {
    /// A file, as given.
    File(&'a str),
    /// A module or main class, found by the interpreter on its own path.
    Module(&'a str),
}

/// Options without effect on which code runs, by interpreter. An option that is not here makes nobody an owner: among
/// those left out are the ones that give code inline (`-e`, `-pe`) or load it before the script (`-r`, `-javaagent:`).
const HARMLESS: &[(&str, &[&str], &[&str])] = &[
    (
        "node",
        &["--no-warnings", "--trace-warnings", "--enable-source-maps", "--no-deprecation", "--preserve-symlinks"],
        &[
            "--max-old-space-size=",
            "--max_old_space_size=",
            "--disable-warning=",
            "--stack-size=",
            "--unhandled-rejections=",
        ],
    ),
    ("python", &["-I", "-s", "-S", "-E", "-B", "-u", "-O", "-OO", "-P", "-sE", "-Es"], &["-W", "-X"]),
    (
        "java",
        &["-server", "-ea", "-XshowSettings"],
        &["-Xmx", "-Xms", "-Xss", "-XX:Max", "-XX:+Use", "-D", "--add-opens="],
    ),
];

/// `-m`, also behind other letters: `-Im`.
fn is_module_option(argument: &str) -> bool {
    argument
        .strip_prefix('-')
        .and_then(|letters| letters.strip_suffix('m'))
        .is_some_and(|letters| letters.bytes().all(|letter| b"IsSEBuOP".contains(&letter)))
}

/// What an interpreter runs, from its name and arguments; `None` if that can't be told for sure.
fn script_of<'a>(program: &str, argv: &'a [String], place: &Place) -> Option<Script<'a>> {
    let (_, exact, starts) = HARMLESS.iter().find(|(name, ..)| *name == program).unwrap_or(&("", &[], &[]));
    let mut arguments = argv.iter().skip(1).map(String::as_str);
    // Where java looks for its main class: a class's name says nothing if anybody can say where it comes from.
    let mut class_path = false;
    while let Some(argument) = arguments.next() {
        match (program, argument) {
            ("python", _) if is_module_option(argument) => {
                return arguments.next().map(|name| Script::Module(name.split('.').next().unwrap_or(name)));
            }
            // The value may also be the next argument.
            ("python", "-W" | "-X") => drop(arguments.next()),
            ("java", _)
                if argument
                    .strip_prefix("-javaagent:")
                    .is_some_and(|agent| agent.split('=').next().is_some_and(|jar| !is_foreign(jar, place))) => {}
            ("java", "-jar") => return arguments.next().map(Script::File),
            ("java", "-cp" | "-classpath" | "--class-path") => {
                if arguments.next()?.split(':').any(|entry| is_foreign(entry, place)) {
                    return None;
                }
                class_path = true;
            }
            _ if exact.contains(&argument) || starts.iter().any(|start| argument.starts_with(start)) => {}
            _ if argument.starts_with('-') => return None,
            ("java", _) => return class_path.then_some(Script::Module(argument)),
            _ => return Some(Script::File(argument)),
        }
    }
    None
}
