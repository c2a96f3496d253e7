//! What an attempt is: one technique in two forms, the places they reach for, and what tells that something arrived.

/// Where a form of an attempt wants to get.
#[derive(Clone, Copy)]
pub enum Place {
    /// An IPv4 address of its own, at this port.
    V4(u16),
    /// An IPv6 address of its own, at this port.
    V6(u16),
    /// This address, at this port; 0 for any. `{n}` in it is the attempt's number.
    At(&'static str, u16),
    /// Wherever names are resolved; only the payload tells.
    Question,
}

/// What tells that a form has arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// A packet that holds the payload.
    Payload,
    /// Any packet to the place: the technique sends no data, or only when somebody answers.
    Packet,
}

/// How a refusal shows in the job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The call fails with EPERM.
    Refused,
    /// The call is taken, and nothing comes of it.
    Dropped,
    /// The process is ended.
    Killed,
    /// The resolver says that there is no such name.
    NoName,
    /// The resolver answers, without what was to be smuggled.
    Answered,
    /// The resolver takes it for a bad question.
    BadQuestion,
    /// No name, as libraries say it.
    Unresolved,
    /// The descriptor is not open.
    Closed,
}

/// Which job an attempt runs in: jobs differ in their policy, and in how they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// Rules for the twins alone, each for one address, protocol and port.
    Plain,
    /// Some twins may use any protocol, so that raw sockets can be made at all.
    AnyProtocol,
    /// Every address is allowed, over every protocol and port.
    Broad,
    /// The machine's network may be changed.
    Networked,
    /// A process that read a secret needs a rule that says so.
    Secret,
    /// Sockets were open before the agent started.
    Inherited,
    /// The agent is killed before the attempts.
    Orphaned,
    /// Thousands of names and flows come first.
    Flooded,
    /// Names were resolved, and their answers have become too old.
    Expiring,
    /// The agent was killed, and the next one has taken over.
    TakenOver,
}

/// What happens outside while the job acts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// Somebody calls the job at this port over TCP, from the form's own address.
    Calls(u16),
    /// Somebody sends the job a datagram at this port, from the form's own address.
    Sends(u16),
}

/// Which form of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Forbidden, where the policy is in force.
    Forbidden,
    /// The same, where the policy is only watched.
    Control,
    /// The same technique to where a rule allows it.
    Twin,
}

/// One technique.
#[derive(Clone, Copy)]
pub struct Attempt {
    pub name: &'static str,
    /// What is tried, in a few words.
    pub what: &'static str,
    /// The command, with placeholders; see [`Bound::expand`](crate::bound::Bound::expand).
    pub act: &'static str,
    /// The twin's command, where it is another.
    pub twin_act: Option<&'static str>,
    pub forbidden: Place,
    pub allowed: Place,
    /// Lines under `egress.allow` that allow the twin.
    pub rules: &'static [&'static str],
    /// Lines under `egress.allow` that must not be enough for the forbidden form.
    pub given: &'static [&'static str],
    /// Records that both resolvers know, for each form.
    pub zone: &'static [&'static str],
    pub expected: Expected,
    /// How the refusal shows where the tracing tier is loaded, which refuses earlier steps than the other can.
    pub expected_on_tracing: Option<Expected>,
    /// Kernels before this release (major, minor) refuse it too, and don't tell who tries: nothing comes of it.
    pub told_since: Option<(u32, u32)>,
    pub sight: Sight,
    pub twin_sight: Sight,
    pub forbidden_in: In,
    pub allowed_in: In,
    pub meanwhile: Meanwhile,
    /// Whether packets stay on the job's loopback device, where they are looked for.
    pub on_loopback: bool,
    /// Why no tier can hold it, if that is so: it is run and told, and not counted.
    pub beyond: Option<&'static str>,
    /// Why the tracepoint tier can't, if that is so.
    pub beyond_tracepoint: Option<&'static str>,
    /// Whether packets to the place are no leak by themselves: the form shares it with others.
    pub shared: bool,
}

/// A rule for TCP to the place.
pub const TCP: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], why: a twin }"];
/// A rule for UDP to the place.
pub const UDP: &[&str] = &["{ cidr: \"{net}\", ports: [{port}], protocol: udp, why: a twin }"];
/// A rule for everything to the place.
pub const ANY: &[&str] = &["{ cidr: \"{net}\", ports: any, protocol: any, why: a twin }"];

/// An attempt to reach a place of its own at port 443 over TCP, which fails with EPERM.
pub const fn attempt(name: &'static str, what: &'static str, act: &'static str) -> Attempt {
    Attempt {
        name,
        what,
        act,
        twin_act: None,
        forbidden: Place::V4(443),
        allowed: Place::V4(443),
        rules: TCP,
        given: &[],
        zone: &[],
        expected: Expected::Refused,
        expected_on_tracing: None,
        told_since: None,
        sight: Sight::Payload,
        twin_sight: Sight::Payload,
        forbidden_in: In::Plain,
        allowed_in: In::Plain,
        meanwhile: Meanwhile::Nothing,
        on_loopback: false,
        beyond: None,
        beyond_tracepoint: None,
        shared: false,
    }
}

impl Attempt {
    /// Both forms reach for addresses of their own, of this kind.
    pub const fn over(self, place: Place) -> Self {
        Self { forbidden: place, allowed: place, ..self }
    }

    /// Where the forms reach for.
    pub const fn between(self, forbidden: Place, allowed: Place) -> Self {
        Self { forbidden, allowed, ..self }
    }

    /// What allows the twin.
    pub const fn rules(self, rules: &'static [&'static str]) -> Self {
        Self { rules, ..self }
    }

    /// What must not be enough.
    pub const fn given(self, given: &'static [&'static str]) -> Self {
        Self { given, ..self }
    }

    /// What the resolvers know.
    pub const fn zone(self, zone: &'static [&'static str]) -> Self {
        Self { zone, ..self }
    }

    /// Another command for the twin.
    pub const fn twin(self, act: &'static str) -> Self {
        Self { twin_act: Some(act), ..self }
    }

    /// How the refusal shows.
    pub const fn expect(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// How the refusal shows on the tracing tier.
    pub const fn on_tracing(self, expected: Expected) -> Self {
        Self { expected_on_tracing: Some(expected), ..self }
    }

    /// No payload arrives at first: any packet to the place tells.
    pub const fn without_payload(self) -> Self {
        Self { sight: Sight::Packet, twin_sight: Sight::Packet, ..self }
    }

    /// Any packet to the forbidden place tells.
    pub const fn sees_packet(self) -> Self {
        Self { sight: Sight::Packet, ..self }
    }

    /// Which job both forms run in.
    pub const fn in_job(self, job: In) -> Self {
        Self { forbidden_in: job, allowed_in: job, ..self }
    }

    /// Which job the twin runs in.
    pub const fn twin_in(self, job: In) -> Self {
        Self { allowed_in: job, ..self }
    }

    /// What happens outside.
    pub const fn meanwhile(self, meanwhile: Meanwhile) -> Self {
        Self { meanwhile, ..self }
    }

    /// Packets stay on the loopback device.
    pub const fn on_loopback(self) -> Self {
        Self { on_loopback: true, ..self }
    }

    /// No tier can hold it, for this reason.
    pub const fn beyond(self, reason: &'static str) -> Self {
        Self { beyond: Some(reason), ..self }
    }

    /// The tracepoint tier can't hold it, for this reason.
    pub const fn beyond_tracepoint(self, reason: &'static str) -> Self {
        Self { beyond_tracepoint: Some(reason), ..self }
    }

    /// Why this tier can't hold it, if that is so.
    pub fn beyond_on(&self, tier: &str) -> Option<&'static str> {
        self.beyond.or(self.beyond_tracepoint.filter(|_| tier != "tracing"))
    }

    /// Packets to the place are no leak by themselves.
    pub const fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Kernels before this release don't tell who tries.
    pub const fn told_since(self, major: u32, minor: u32) -> Self {
        Self { told_since: Some((major, minor)), ..self }
    }

    /// How the refusal shows on this tier, and on this kernel.
    pub fn expected_on(&self, tier: &str) -> Expected {
        if self.told_since.is_some_and(|release| end_to_end::host::kernel() < release) {
            return Expected::Dropped;
        }
        self.expected_on_tracing.filter(|_| tier == "tracing").unwrap_or(self.expected)
    }

    /// The job that a form runs in.
    pub fn job(&self, form: Form) -> In {
        if form == Form::Twin { self.allowed_in } else { self.forbidden_in }
    }
}
