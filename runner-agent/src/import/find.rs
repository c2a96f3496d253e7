//! Where in a file the list stands: the step of a workflow, a step alone, its inputs, the text of a list, or a file of
//! the action's own.

use std::path::Path;

use super::cargowall;
use super::peer::Peer;
use crate::config::Problem;
use crate::config::check::did_you_mean;
use crate::config::raw::{self, At, Key, Node, Value};

/// A step, or what of one was pasted.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The key of its job.
    pub job: Option<String>,
    /// Its inputs in their order.
    pub inputs: Vec<Input>,
}

/// An input of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in small letters, as GitHub compares them.
    pub name: String,
    /// Where the name stands.
    pub at: At,
    /// What it is given.
    pub value: Node,
    /// Where the next input begins.
    pub end: Option<At>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Something with a step in it.
    Step(Step),
    /// The text of a list.
    List,
    /// cargowall's own configuration.
    Config(Node),
}

/// A step of somebody's action, as it stands in a file.
struct Candidate<'a> {
    job: Option<&'a Key>,
    at: At,
    step: &'a [(Key, Node)],
}

/// Finds the list. `job` chooses among the jobs of a workflow.
pub fn find(peer: Peer, job: Option<&str>, file: &Path, text: &str) -> Result<Found, Problem> {
    let error = |at: At, message: String| Problem::error(file, at, "", message);
    if text.trim().is_empty() {
        return Err(error(At::START, "is empty; give a workflow, a step, or the text of a list".to_owned()));
    }
    if !is_yaml(text) {
        return match job {
            Some(job) => {
                Err(error(At::START, format!("is no workflow, so there is no job {job:?} in it; leave --job out")))
            }
            None => Ok(Found::List),
        };
    }
    let tree = raw::parse(text.as_bytes()).map_err(|wrong| error(wrong.at, wrong.message))?;
    let (all, jobs) = steps(&tree);
    if peer == Peer::Cargowall && all.is_empty() && jobs.is_empty() && job.is_none() && cargowall::is_config(&tree) {
        return Ok(Found::Config(tree));
    }
    let step = chosen(peer, job, &tree).map_err(|(at, message)| error(at, message))?;
    Ok(Found::Step(step))
}

/// Whether a text is YAML with keys in it. A list has none: what stands before a colon there is a host, and has dots or no
/// space behind it.
fn is_yaml(text: &str) -> bool {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).any(|line| {
        let line = line.trim_start_matches("- ").trim_start();
        let key = line.split(':').next().unwrap_or_default().trim_matches(['"', '\'']);
        let is_word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        let is_value = line.split_once(':').is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
        line.starts_with('{') || line.starts_with("---") || is_word(key) && is_value
    })
}

type Wrong = (At, String);

fn chosen(peer: Peer, job: Option<&str>, tree: &Node) -> Result<Step, Wrong> {
    let (all, jobs) = steps(tree);
    let is_workflow = !jobs.is_empty();
    if let Some(name) = job {
        let names: Vec<&str> = jobs.iter().map(|key| key.text.as_str()).collect();
        if !is_workflow {
            return Err((tree.at, format!("is no workflow, so there is no job {name:?} in it; leave --job out")));
        }
        if !names.contains(&name) {
            let hint = match did_you_mean(name, &names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names.join(", ")),
            };
            return Err((tree.at, format!("has no job {name:?}; {hint}")));
        }
    }
    let is_asked = |step: &&Candidate| job.is_none_or(|name| step.job.is_some_and(|key| key.text == name));
    let mine: Vec<&Candidate> = all.iter().filter(is_asked).filter(|step| step.uses(peer)).collect();
    match mine.as_slice() {
        [only] => only.read(),
        [] if all.is_empty() && !is_workflow => match pasted(peer, tree) {
            Some(step) => step,
            None => Err((
                tree.at,
                format!(
                    "has no step and none of {}'s inputs; give a workflow, a step, or the text of a list",
                    peer.as_str()
                ),
            )),
        },
        [] => {
            let other = all.iter().find_map(|step| {
                let other = Peer::ALL.into_iter().find(|&other| other != peer && step.uses(other))?;
                Some((step.at, format!("this step uses {}; write `--from {}`", other.action(), other.as_str())))
            });
            let nothing = || {
                let place = job.map(|name| format!("of job {name:?} ")).unwrap_or_default();
                (tree.at, format!("no step {place}uses {}; give the workflow or the step that does", peer.action()))
            };
            Err(other.unwrap_or_else(nothing))
        }
        [first, ..] => {
            let names: Vec<&str> = mine.iter().filter_map(|step| step.job.map(|key| key.text.as_str())).collect();
            let places: Vec<String> = mine
                .iter()
                .map(|step| match step.job {
                    Some(job) => format!("{} (line {})", job.text, step.at.line),
                    None => format!("line {}", step.at.line),
                })
                .collect();
            let is_one_job = names.windows(2).all(|pair| pair[0] == pair[1]);
            let hint = if is_one_job { "give one step alone" } else { "choose a job with --job NAME" };
            Err((first.at, format!("{} steps use {}: {}; {hint}", mine.len(), peer.action(), places.join(", "))))
        }
    }
}

/// Every step of a file that uses an action, and the jobs if it is a workflow.
fn steps(tree: &Node) -> (Vec<Candidate<'_>>, Vec<&Key>) {
    if let Some(Value::Map(jobs)) = get(tree, "jobs").map(|node| &node.value) {
        let steps = jobs.iter().filter_map(|(key, job)| get(job, "steps").map(|list| items(list, Some(key))));
        return (steps.flatten().collect(), jobs.iter().map(|(key, _)| key).collect());
    }
    // A composite action, a job alone, a list of steps, or one step.
    let list = get(tree, "runs").and_then(|runs| get(runs, "steps")).or_else(|| get(tree, "steps")).unwrap_or(tree);
    let found = match &list.value {
        Value::List(_) => items(list, None),
        Value::Map(step) if get(list, "uses").is_some() => vec![Candidate { job: None, at: list.at, step }],
        _ => Vec::new(),
    };
    (found, Vec::new())
}

fn items<'a>(list: &'a Node, job: Option<&'a Key>) -> Vec<Candidate<'a>> {
    let Value::List(items) = &list.value else { return Vec::new() };
    let step = |node: &'a Node| match &node.value {
        Value::Map(step) if get(node, "uses").is_some() => Some(Candidate { job, at: node.at, step }),
        _ => None,
    };
    items.iter().filter_map(step).collect()
}

/// The first value of a key.
pub(super) fn get<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value)
}

impl Candidate<'_> {
    fn uses(&self, peer: Peer) -> bool {
        let found = self.step.iter().find(|(key, _)| key.text == "uses").map(|(_, node)| &node.value);
        let Some(Value::Text { text, .. }) = found else { return false };
        text.split('@').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(peer.action()))
    }

    fn read(&self) -> Result<Step, Wrong> {
        let job = self.job.map(|key| key.text.clone());
        let mut with = self.step.iter().filter(|(key, _)| key.text == "with");
        let inputs = match (with.next(), with.next()) {
            (_, Some((second, _))) => return Err((second.at, "`with` stands here a second time; keep one".to_owned())),
            (None, None) => Vec::new(),
            (Some((_, node)), None) => inputs(node)?,
        };
        Ok(Step { job, inputs })
    }
}

/// The inputs of a step without the step: below `with:`, or alone.
fn pasted(peer: Peer, tree: &Node) -> Option<Result<Step, Wrong>> {
    let inside = get(tree, "with").unwrap_or(tree);
    let is_input = |name: &str| peer.inputs().iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let Value::Map(entries) = &inside.value else { return None };
    let known = entries.iter().any(|(key, _)| is_input(&key.text));
    known.then(|| Ok(Step { job: None, inputs: inputs(inside)? }))
}

fn inputs(node: &Node) -> Result<Vec<Input>, Wrong> {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => return Err((node.at, "`with` is no map; write the inputs below it, each with its value".to_owned())),
    };
    let mut found: Vec<Input> = Vec::new();
    for (index, (key, value)) in entries.iter().enumerate() {
        let name = key.text.to_ascii_lowercase();
        if let Some(first) = found.iter().find(|input| input.name == name) {
            let line = first.at.line;
            return Err((key.at, format!("{name:?} stands here a second time; it is already on line {line}")));
        }
        if matches!(value.value, Value::List(_) | Value::Map(_)) {
            return Err((
                value.at,
                format!("{name:?} is no text; GitHub gives actions text alone, so write it with `|`"),
            ));
        }
        let end = entries.get(index + 1).map(|(next, _)| next.at);
        found.push(Input { name, at: key.at, value: value.clone(), end });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, job: Option<&str>) -> Result<Found, String> {
        find(Peer::Bullfrog, job, Path::new("w.yml"), text).map_err(|problem| problem.to_string())
    }

    fn names(text: &str, job: Option<&str>) -> (Option<String>, Vec<String>) {
        match found(text, job) {
            Ok(Found::Step(step)) => (step.job, step.inputs.into_iter().map(|input| input.name).collect()),
            other => panic!("{text}: {other:?}"),
        }
    }

    const STEP: &str = "uses: bullfrogsec/bullfrog@v0 # pinned\nwith:\n  Allowed-Domains: a.example.org\n";

    #[test]
    fn a_step_is_found_however_much_around_it_is_given() {
        let inputs = vec!["allowed-domains".to_owned()];
        assert_eq!(names(STEP, None), (None, inputs.clone()));
        let item = format!("- {}", STEP.trim_end().replace('\n', "\n  "));
        assert_eq!(names(&item, None), (None, inputs.clone()));
        let composite = format!("runs:\n  steps:\n{}", indented(&item, 4));
        assert_eq!(names(&composite, None), (None, inputs.clone()));
        let workflow = format!("on: push\njobs:\n  build:\n    steps:\n      - run: true\n{}", indented(&item, 6));
        assert_eq!(names(&workflow, None), (Some("build".to_owned()), inputs.clone()));
        assert_eq!(names("with:\n  allowed-domains: x\n", None), (None, inputs.clone()));
        assert_eq!(names("allowed-domains: x\n", None), (None, inputs));
    }

    fn indented(text: &str, spaces: usize) -> String {
        text.lines().flat_map(|line| [" ".repeat(spaces), line.to_owned(), "\n".to_owned()]).collect()
    }

    #[test]
    fn the_text_of_a_list_is_no_yaml() {
        for text in [
            "a.example.org:443 b.example.org:443",
            "# hosts:\n*.example.org\n**.example.net",
            "localhost:80",
            "[2001:db8::1]:443",
        ] {
            assert_eq!(found(text, None), Ok(Found::List), "{text}");
        }
    }

    #[test]
    fn of_several_steps_one_must_be_chosen() {
        let job = |name: &str| format!("  {name}:\n    steps:\n      - uses: bullfrogsec/bullfrog@v0\n");
        let workflow = format!("jobs:\n{}{}  other:\n    steps: []\n", job("build"), job("test"));
        let told =
            "w.yml:4:9: 2 steps use bullfrogsec/bullfrog: build (line 4), test (line 7); choose a job with --job NAME";
        assert_eq!(found(&workflow, None), Err(told.to_owned()));
        assert_eq!(names(&workflow, Some("test")).0.as_deref(), Some("test"));
        assert!(found(&workflow, Some("tset")).unwrap_err().ends_with("has no job \"tset\"; did you mean \"test\"?"));
        assert!(found(&workflow, Some("other")).unwrap_err().contains("no step of job \"other\" uses"));
        assert!(found("a.example.org", Some("build")).unwrap_err().contains("leave --job out"));
        let twice = "- uses: bullfrogsec/bullfrog@v0\n- uses: bullfrogsec/bullfrog@v0\n";
        assert!(found(twice, None).unwrap_err().ends_with("line 1, line 2; give one step alone"));
    }

    #[test]
    fn what_has_no_list_is_told_what_would_be_right() {
        assert!(found(" \n", None).unwrap_err().contains("w.yml:1:1: is empty"));
        let other = "- uses: step-security/harden-runner@v2\n";
        assert!(
            found(other, None)
                .unwrap_err()
                .ends_with("w.yml:1:3: this step uses step-security/harden-runner; write `--from harden-runner`")
        );
        assert!(
            found("- uses: actions/checkout@v5\n", None).unwrap_err().contains("no step uses bullfrogsec/bullfrog")
        );
        assert!(found("name: x\n", None).unwrap_err().contains("has no step and none of bullfrog's inputs"));
        assert!(found("allowed-domains: [a]\n", None).unwrap_err().contains("is no text"));
        assert!(
            found("allowed-ips: a\nAllowed-IPs: b\n", None)
                .unwrap_err()
                .contains("w.yml:2:1: \"allowed-ips\" stands here")
        );
        let config = "{\"defaultAction\": \"deny\", \"rules\": []}";
        let asked = |peer| find(peer, None, Path::new("c.json"), config);
        assert!(matches!(asked(Peer::Cargowall), Ok(Found::Config(_))));
        assert!(asked(Peer::Bullfrog).unwrap_err().to_string().contains("none of bullfrog's inputs"));
        assert!(found("a: [\n", None).unwrap_err().contains("is no YAML"));
    }
}
