//! Runs the attempts: each form in its job, and a look at what the observer has seen.

use end_to_end::Internet;
use end_to_end::internet::{Packet, Zone};

use crate::ACT;
use crate::attempt::{Attempt, Bound, Expected, Form, In, OPEN_V4, OPEN_V6};
use crate::session::{Session, Told, neighbour};

/// What came of one form.
#[derive(Clone, Default)]
pub struct Outcome {
    /// How it showed in the job.
    pub told: String,
    /// What was seen of it, from its beginning to the end of all.
    pub seen: Vec<String>,
}

/// What came of one attempt. A form that didn't run has none.
#[derive(Clone, Default)]
pub struct Outcomes {
    pub forbidden: Option<Outcome>,
    pub control: Option<Outcome>,
    pub twin: Option<Outcome>,
    /// Why a form did not run.
    pub missing: Option<String>,
}

const JOBS: &[In] = &[In::Plain, In::AnyProtocol, In::Broad, In::Secret, In::Inherited, In::Orphaned, In::Flooded];

/// Runs those attempts, given with their places in the table.
pub fn run(attempts: &[(usize, &Attempt)]) -> Vec<Outcomes> {
    let mut outcomes = vec![Outcomes::default(); attempts.len()];
    for mode in ["block", "audit"] {
        let internet = Internet::create(zone(attempts));
        let _docker = neighbour(&internet, 2375);
        let mut done = Vec::new();
        for &job in JOBS {
            match run_job(&internet, mode, job, attempts) {
                Ok(of_job) => done.extend(of_job),
                Err(reason) => {
                    let forms = forms_of(mode, job, attempts);
                    for at in forms.iter().map(|(at, _)| *at) {
                        outcomes[at].missing = Some(format!("mode {mode}: {reason}"));
                    }
                }
            }
        }
        internet.fence();
        internet.nothing_missed();
        // Looked for again now: what came late, and whatever any other attempt let out.
        for (at, form, start, told) in done {
            let (place, attempt) = attempts[at];
            let bound = Bound::new(attempt, place, form);
            let observer = if attempt.on_loopback { internet.loopback() } else { internet.link() };
            let seen = observer.since(start, |packet| match form {
                Form::Forbidden => bound.is_leak(packet),
                Form::Control | Form::Twin => bound.is_arrival(packet),
            });
            let outcome = Outcome { told: describe(&told), seen: seen.iter().map(Packet::to_string).collect() };
            let slot = match form {
                Form::Forbidden => &mut outcomes[at].forbidden,
                Form::Control => &mut outcomes[at].control,
                Form::Twin => &mut outcomes[at].twin,
            };
            *slot = Some(outcome);
        }
    }
    outcomes
}

/// Forms that run in that job, by place in `attempts`.
fn forms_of(mode: &str, job: In, attempts: &[(usize, &Attempt)]) -> Vec<(usize, Form)> {
    let forms: &[Form] = if mode == "block" { &[Form::Forbidden, Form::Twin] } else { &[Form::Control] };
    let all = attempts.iter().enumerate();
    all.flat_map(|(at, (_, attempt))| forms.iter().map(move |&form| (at, *attempt, form)))
        .filter(|(_, attempt, form)| attempt.job(*form) == job)
        .map(|(at, _, form)| (at, form))
        .collect()
}

/// A form that ran: which, how many packets had been seen before it, and what the job said.
type Ran = (usize, Form, usize, Told);

fn run_job(internet: &Internet, mode: &str, job: In, attempts: &[(usize, &Attempt)]) -> Result<Vec<Ran>, String> {
    let forms = forms_of(mode, job, attempts);
    if forms.is_empty() {
        return Ok(Vec::new());
    }
    let mut session = Session::start(internet, job, &policy(mode, job, attempts))?;
    prepare(&mut session, job);
    let cgroup = (job == In::Orphaned).then(|| {
        let cgroup = session.cgroup();
        session.kill_agent();
        end_to_end::Cgroup::adopt(cgroup)
    });
    let mut done = Vec::new();
    for (at, form) in forms {
        let (place, attempt) = attempts[at];
        let bound = Bound::new(attempt, place, form);
        let observer = if attempt.on_loopback { internet.loopback() } else { internet.link() };
        let start = observer.count();
        let told = session.act(&bound);
        internet.fence();
        done.push((at, form, start, told));
    }
    if cgroup.is_none() {
        let run = session.end();
        if !run.status.success() {
            return Err(run.stderr.trim_end().replace('\n', " | "));
        }
    }
    Ok(done)
}

fn prepare(session: &mut Session, job: In) {
    if job == In::Flooded {
        for flood in ["udp flood 203.0.113.251 443 flood 3000", "dns many 192.0.2.53 last.flood.test A 3000"] {
            let words: Vec<&str> = std::iter::once(ACT).chain(flood.split(' ')).collect();
            session.run(&words);
        }
    }
}

fn policy(mode: &str, job: In, attempts: &[(usize, &Attempt)]) -> String {
    let mut allow: Vec<String> = [(OPEN_V4, "32"), (OPEN_V6, "128")]
        .iter()
        .flat_map(|(address, width)| {
            ["tcp", "udp"].map(|protocol| {
                format!("{{ cidr: \"{address}/{width}\", ports: any, protocol: {protocol}, why: first steps }}")
            })
        })
        .collect();
    if job == In::Broad {
        for net in ["0.0.0.0/0", "::/0"] {
            allow.push(format!("{{ cidr: \"{net}\", ports: any, protocol: any, why: a broad rule }}"));
        }
    }
    allow.push("{ host: \"*.open.test\", names: 1000, ports: [443], why: twins of questions }".into());
    allow.push("{ host: \"*.flood.test\", names: 5000, ports: [443], why: a flood of names }".into());
    for (place, attempt) in attempts {
        for (form, lines) in [(Form::Twin, attempt.rules), (Form::Forbidden, attempt.given)] {
            let bound = Bound::new(attempt, *place, form);
            if attempt.job(form) == job {
                allow.extend(lines.iter().map(|line| bound.expand(line, ACT, "")));
            }
        }
    }
    allow.sort_unstable();
    allow.dedup();
    let allow: Vec<String> = allow.iter().map(|line| format!("    - {line}\n")).collect();
    let carry =
        if job == In::Secret { "carry: { after-secret-read: block }\ninclude: [presets/secrets]\n" } else { "" };
    format!(
        "version: 1\nname: proof\nmode: {mode}\n{carry}egress:\n  deny:\n    \
         - {{ class: loopback, ports: [2375], why: a container engine }}\n  allow:\n{}",
        allow.concat()
    )
}

fn zone(attempts: &[(usize, &Attempt)]) -> Zone {
    let mut zone = Zone::default();
    for line in ["*.open.test 60 A 198.51.100.9", "*.flood.test 60 A 203.0.113.251"] {
        zone.add(line);
    }
    for (place, attempt) in attempts {
        for form in [Form::Forbidden, Form::Twin] {
            let bound = Bound::new(attempt, *place, form);
            attempt.zone.iter().for_each(|line| zone.add(&bound.expand(line, ACT, "")));
        }
    }
    zone
}

/// How a command's end reads in the table.
fn describe(told: &Told) -> String {
    let last = told.said.lines().last().unwrap_or_default();
    match told.code {
        Some(0) if last.starts_with("answered") => last.to_owned(),
        Some(0) => "sent".to_owned(),
        Some(-9) => "killed".to_owned(),
        Some(_) if last.contains("(os error 1)") => "EPERM".to_owned(),
        Some(code) if last.is_empty() => format!("ended with {code}"),
        Some(_) => last.rsplit_once(": ").map_or(last, |(_, error)| error).to_owned(),
        None => "late".to_owned(),
    }
}

impl Expected {
    /// As the table says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Refused => "EPERM",
            Self::Dropped => "dropped",
            Self::Killed => "killed",
            Self::NoName => "NXDOMAIN",
            Self::Answered => "answered",
            Self::BadQuestion => "bad question",
            Self::Unresolved => "no such name",
            Self::Closed => "closed",
        }
    }
}
