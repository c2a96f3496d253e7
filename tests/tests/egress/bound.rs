//! A form of an attempt with addresses and a payload of its own, and how to tell its packets.

use std::net::IpAddr;

use end_to_end::internet::{FOREIGN_RESOLVER, JOB_V4, Packet, RESOLVER_V4, RESOLVER_V6, UPLINK};

use crate::attempt::{Attempt, Form, Place, Sight};

/// An address that every job may use as it likes, over TCP and UDP: where harmless first steps go.
pub const OPEN_V4: &str = "198.51.100.9";
/// The same, over IPv6.
pub const OPEN_V6: &str = "2001:db8:a::9";
/// The number of the first attempt, which is the last part of its addresses.
const FIRST_NUMBER: usize = 10;
/// The first number that is no attempt's: some have addresses from there on to share between their forms.
const END_NUMBER: usize = 240;

/// A form of an attempt with its number, which gives it addresses and a payload of its own.
pub struct Bound<'a> {
    pub attempt: &'a Attempt,
    pub form: Form,
    number: usize,
}

impl<'a> Bound<'a> {
    /// The form of the attempt at that place in the table.
    pub fn new(attempt: &'a Attempt, at: usize, form: Form) -> Self {
        let number = at + FIRST_NUMBER;
        assert!(number < END_NUMBER, "more attempts than addresses; give them another network");
        Self { attempt, form, number }
    }

    fn is_twin(&self) -> bool {
        self.form == Form::Twin
    }

    fn place(&self) -> Place {
        if self.is_twin() { self.attempt.allowed } else { self.attempt.forbidden }
    }

    /// What shall get out: letters and digits, so that it can be a label of a name.
    pub fn payload(&self) -> String {
        let form = match self.form {
            Form::Forbidden => "forbidden",
            Form::Control => "control",
            Form::Twin => "twin",
        };
        format!("zq{:03}{form}", self.number)
    }

    /// An address of its own: the forms never share one, and forbidden form and control run in two internets.
    fn own(&self, is_v4: bool) -> String {
        let number = self.number;
        match (is_v4, self.is_twin()) {
            (true, false) => format!("203.0.113.{number}"),
            (true, true) => format!("198.51.100.{number}"),
            (false, false) => format!("2001:db8:f::{number}"),
            (false, true) => format!("2001:db8:a::{number}"),
        }
    }

    fn to(&self) -> String {
        match self.place() {
            Place::V4(_) | Place::Question => self.own(true),
            Place::V6(_) => self.own(false),
            Place::At(address, _) => address.replace("{n}", &self.number.to_string()),
        }
    }

    fn port(&self) -> u16 {
        match self.place() {
            Place::V4(port) | Place::V6(port) | Place::At(_, port) => port,
            Place::Question => 443,
        }
    }

    /// The form's own address as an address.
    pub fn address(&self) -> IpAddr {
        self.to().parse().expect("a place is an address")
    }

    /// Fills the placeholders in.
    pub fn expand(&self, text: &str, act: &str, home: &str) -> String {
        let to = self.to();
        let width = if to.contains(':') { 128 } else { 32 };
        let (zone, kind) = if self.is_twin() { ("open", "t") } else { ("refused", "f") };
        let payload = self.payload();
        let all: [(&str, String); 20] = [
            ("{name}", format!("{payload}.{zone}.test")),
            ("{below}", format!("{payload}.{kind}{}.below.test", self.number)),
            ("{parent}", format!("{kind}{}.below.test", self.number)),
            ("{host}", format!("{kind}{}.host.test", self.number)),
            ("{other}", format!("{kind}{}.other.test", self.number)),
            ("{net}", format!("{to}/{width}")),
            ("{to}", to),
            ("{v4}", self.own(true)),
            ("{v6}", self.own(false)),
            ("{port}", self.port().to_string()),
            ("{payload}", payload),
            ("{n}", self.number.to_string()),
            ("{act}", act.to_owned()),
            ("{home}", home.to_owned()),
            ("{open}", OPEN_V4.to_owned()),
            ("{open6}", OPEN_V6.to_owned()),
            ("{resolver}", RESOLVER_V4.to_string()),
            ("{resolver6}", RESOLVER_V6.to_string()),
            ("{foreign}", FOREIGN_RESOLVER.to_string()),
            ("{uplink}", UPLINK.to_owned()),
        ];
        let own = text.replace("{runner}", &JOB_V4.to_string());
        all.iter().fold(own, |text, (placeholder, value)| text.replace(placeholder, value))
    }

    /// The words of its commands, which are done one after the other; the last one counts.
    pub fn commands(&self, act: &str, home: &str) -> Vec<Vec<String>> {
        let all = self.attempt.twin_act.filter(|_| self.is_twin()).unwrap_or(self.attempt.act);
        let words = |command| words_of(command).into_iter().map(|word| self.expand(word, act, home)).collect();
        all.split(" ; ").map(words).collect()
    }

    /// Whether that packet says that something of this form got out.
    pub fn is_leak(&self, packet: &Packet) -> bool {
        packet.holds(self.payload().as_bytes()) || !self.attempt.shared && self.is_to_place(packet)
    }

    /// Whether that packet says that this form has arrived.
    pub fn is_arrival(&self, packet: &Packet) -> bool {
        let sight = if self.is_twin() { self.attempt.twin_sight } else { self.attempt.sight };
        match sight {
            Sight::Payload => packet.holds(self.payload().as_bytes()),
            Sight::Packet => self.is_to_place(packet),
        }
    }

    fn is_to_place(&self, packet: &Packet) -> bool {
        match self.place() {
            Place::Question => false,
            Place::V4(_) | Place::V6(_) => packet.to == self.address(),
            Place::At(_, port) => {
                // Without a port it may be a later fragment; on loopback it is an error about somebody else's datagram.
                let fits = packet.port.map_or(!self.attempt.on_loopback, |of_packet| of_packet == port);
                packet.to == self.address() && (port == 0 || fits)
            }
        }
    }
}

/// Words between spaces; what stands between quotes is one.
fn words_of(command: &str) -> Vec<&str> {
    let (plain, quoted) = command.split_once(" '").unwrap_or((command, ""));
    plain.split(' ').chain(quoted.strip_suffix('\'')).collect()
}
