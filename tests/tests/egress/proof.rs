//! Runs the attempts: each form in its job, and a look at what the observer has seen.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use end_to_end::internet::{Observer, Packet, Zone};
use end_to_end::{Cgroup, Internet, wait_until_every};

use crate::ACT;
use crate::attempt::{Attempt, Expected, Form, In};
use crate::bound::{Bound, OPEN_V4, OPEN_V6};
use crate::session::{Session, Told, User};

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

/// What all attempts came to.
pub struct Proof {
    /// The tier that the agents loaded; empty when none was ready.
    pub tier: String,
    /// In the order of the attempts.
    pub outcomes: Vec<Outcomes>,
}

/// In this order; what takes time to expire is begun before them and ended after them.
const JOBS: &[In] = &[
    In::Plain,
    In::AnyProtocol,
    In::Broad,
    In::Networked,
    In::Secret,
    In::Inherited,
    In::Orphaned,
    In::TakenOver,
    In::Flooded,
];

/// Resolved after the names that expire, so that these have expired when it has.
const CANARY: (&str, &str) = ("canary.expiring.test", "203.0.113.253");
/// How long an answer's addresses may be good: the resolver's floor and grace, and some.
const EXPIRED_WITHIN: Duration = Duration::from_mins(3);

/// Runs those attempts, given with their places in the table, in jobs of that user.
pub fn run(attempts: &[(usize, &Attempt)], user: User) -> Proof {
    let mut tier = String::new();
    let mut outcomes = vec![Outcomes::default(); attempts.len()];
    for mode in ["block", "audit"] {
        let world = World { internet: Internet::create(zone(attempts)), mode, attempts, user };
        let _neighbours = Neighbours::of(&world.internet);
        let mut done = Vec::new();
        let mut note = |job: In, result: Result<Vec<Ran>, String>| match result {
            Ok(of_job) => done.extend(of_job),
            Err(reason) => {
                for (at, _) in world.forms(job) {
                    outcomes[at].missing = Some(format!("mode {mode}: {reason}"));
                }
            }
        };
        let mut begin = |job: In| {
            let session = world.begin(job)?;
            if let Some(session) = &session {
                session.tier().clone_into(&mut tier);
            }
            Ok(session)
        };
        let expiring = begin(In::Expiring);
        for &job in JOBS {
            note(job, begin(job).and_then(|session| world.finish(job, session)));
        }
        note(In::Expiring, expiring.and_then(|session| world.finish(In::Expiring, session)));
        world.internet.settle();
        world.internet.fence();
        world.internet.nothing_missed();
        // Looked for again now: what came late, and whatever any other attempt let out.
        for ran in done {
            let slot = match ran.form {
                Form::Forbidden => &mut outcomes[ran.at].forbidden,
                Form::Control => &mut outcomes[ran.at].control,
                Form::Twin => &mut outcomes[ran.at].twin,
            };
            *slot = Some(world.outcome(&ran));
        }
    }
    Proof { tier, outcomes }
}

/// A form that ran.
struct Ran {
    /// Which of the attempts.
    at: usize,
    form: Form,
    /// How many packets had been seen before it.
    start: usize,
    told: Told,
}

/// One mode, with an internet of its own: what was let out under audit is never taken for a leak.
struct World<'a> {
    internet: Internet,
    mode: &'a str,
    attempts: &'a [(usize, &'a Attempt)],
    user: User,
}

impl World<'_> {
    fn bound(&self, at: usize, form: Form) -> Bound<'_> {
        let (place, attempt) = self.attempts[at];
        Bound::new(attempt, place, form)
    }

    fn observer(&self, at: usize) -> &Observer {
        if self.attempts[at].1.on_loopback { self.internet.loopback() } else { self.internet.link() }
    }

    /// Forms that run in that job, by place in `attempts`.
    fn forms(&self, job: In) -> Vec<(usize, Form)> {
        let forms: &[Form] = if self.mode == "block" { &[Form::Forbidden, Form::Twin] } else { &[Form::Control] };
        let all = (0..self.attempts.len()).flat_map(|at| forms.iter().map(move |&form| (at, form)));
        all.filter(|&(at, form)| self.attempts[at].1.job(form) == job).collect()
    }

    /// Starts a job and brings it to where its attempts begin; nothing when there are none.
    fn begin(&self, job: In) -> Result<Option<Session<'_>>, String> {
        let forms = self.forms(job);
        if forms.is_empty() {
            return Ok(None);
        }
        let mut session = Session::start(&self.internet, job, &policy(self.mode, job, self.attempts), self.user)?;
        match job {
            In::Flooded => {
                session.run(&[ACT, "udp", "flood", "203.0.113.251", "443", "flood", "3000"]);
                session.run(&[ACT, "dns", "many", "192.0.2.53", "last.flood.test", "A", "3000"]);
            }
            In::Expiring => {
                for (at, form) in forms.into_iter().filter(|(_, form)| *form != Form::Twin) {
                    let host = self.bound(at, form).expand("{host}", ACT, "");
                    session.run(&[ACT, "dns", "udp", "192.0.2.53", &host, "A"]);
                }
                session.run(&[ACT, "dns", "udp", "192.0.2.53", CANARY.0, "A"]);
            }
            _ => {}
        }
        Ok(Some(session))
    }

    /// Does the attempts, and ends the job.
    fn finish(&self, job: In, session: Option<Session>) -> Result<Vec<Ran>, String> {
        let Some(mut session) = session else { return Ok(Vec::new()) };
        // An audited job has nobody to take it over, and keeps its agent.
        let is_left = job == In::Orphaned || (job == In::TakenOver && self.mode == "block");
        let left = is_left.then(|| Cgroup::adopt(session.cgroup()));
        match job {
            In::Expiring if self.mode == "block" => {
                let expired = || session.run(&[ACT, "udp", "connected", CANARY.1, "443", "canary"]).code != Some(0);
                if !wait_until_every(Duration::from_secs(1), EXPIRED_WITHIN, expired) {
                    return Err(format!("{} is still allowed", CANARY.0));
                }
            }
            In::Orphaned => session.kill_agent(),
            In::TakenOver if is_left => {
                session.kill_agent();
                session.start_successor()?;
            }
            _ => {}
        }
        let mut done = Vec::new();
        for (at, form) in self.forms(job) {
            let start = self.observer(at).count();
            let told = session.act(&self.bound(at, form));
            self.internet.fence();
            done.push(Ran { at, form, start, told });
        }
        if left.is_none() {
            let run = session.end();
            if !run.status.success() {
                return Err(run.stderr.trim_end().replace('\n', " | "));
            }
        } else if job == In::TakenOver {
            drop(left);
            session.wait_for_keeper();
        }
        Ok(done)
    }

    fn outcome(&self, ran: &Ran) -> Outcome {
        let bound = self.bound(ran.at, ran.form);
        let seen = self.observer(ran.at).since(ran.start, |packet| match ran.form {
            Form::Forbidden => bound.is_leak(packet),
            Form::Control | Form::Twin => bound.is_arrival(packet),
        });
        Outcome { told: describe(&ran.told), seen: seen.iter().map(Packet::to_string).collect() }
    }
}

/// Listeners on the job's own machine that are not the job's.
struct Neighbours {
    _streams: Vec<TcpListener>,
    _datagrams: UdpSocket,
}

impl Neighbours {
    fn of(internet: &Internet) -> Self {
        internet.job().inside(|| Self {
            _streams: [2375, 4444].map(|port| TcpListener::bind(("::", port)).expect("the port is free")).into(),
            _datagrams: UdpSocket::bind(("::", 4444)).expect("the port is free"),
        })
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
    if job == In::Expiring {
        allow.push(format!("{{ host: {}, ports: [443], protocol: udp, why: expires last }}", CANARY.0));
    }
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
    let besides = match job {
        In::Secret => "carry: { after-secret-read: block }\ninclude: [presets/secrets]\n",
        In::Networked => "guard: { network: allow }\n",
        _ => "",
    };
    format!(
        "version: 1\nname: proof\nmode: {mode}\n{besides}egress:\n  deny:\n    \
         - {{ class: loopback, ports: [2375], why: a container engine }}\n  allow:\n{}",
        allow.concat()
    )
}

fn zone(attempts: &[(usize, &Attempt)]) -> Zone {
    let mut zone = Zone::default();
    for line in ["*.open.test 60 A 198.51.100.9", "*.flood.test 60 A 203.0.113.251"] {
        zone.add(line);
    }
    zone.add(&format!("{} 1 A {}", CANARY.0, CANARY.1));
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
