//! `bench --block`: what blocking costs. Each load runs without an agent, audited and blocked in the same round, the order
//! changing from round to round.

pub mod load;
mod names;
mod proc;
pub mod quiet;
mod report;
mod rules;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use load::Work;
use world::{KernelStatistics, Watch, World, number, open_loopback};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Connects and datagrams, by three ways to run them, and by the kernel's own count
    Verdict,
    /// The same with ten to ten thousand rules
    Rules,
    /// The resolver: how many questions, how much later
    Names,
    /// The agent itself: time to ready, memory
    Agent,
}

/// Numbers of rules on the curve.
const RULES: [usize; 4] = [10, 100, 1000, 10_000];

/// Rows of values, one value a round: by row, then by column.
#[derive(Debug, Default)]
pub struct Values(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

impl Values {
    fn add(&mut self, row: &str, column: &str, value: f64) {
        self.0.entry(row.to_owned()).or_default().entry(column.to_owned()).or_default().push(value);
    }

    /// Every number of a load's result is a row.
    fn add_all(&mut self, column: &str, result: &Value) {
        for (row, value) in result.as_object().into_iter().flatten() {
            if let Some(value) = value.as_f64() {
                self.add(row, column, value);
            }
        }
    }

    /// The values of one row and column, in the order of the rounds.
    pub fn of(&self, row: &str, column: &str) -> &[f64] {
        self.0.get(row).and_then(|columns| columns.get(column)).map_or(&[], Vec::as_slice)
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What was measured, by part.
#[derive(Debug, Default)]
pub struct Measured {
    pub verdict: Values,
    pub programs: Values,
    pub rules: Values,
    pub names: Values,
    pub agent: Values,
    /// The agent's size in tenths of very many names; of one run.
    pub many_names: Option<Value>,
}

/// Measures, and prints the tables. Waits before each part of a round until the machine is quiet, as long as `patience`.
pub fn run(
    agent: &Path,
    parts: &[Part],
    (rounds, quick): (u32, bool),
    patience: Duration,
    stop: &AtomicBool,
) -> Result<()> {
    let world = World::new(agent)?;
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    let scale = |count: u64| if quick { count.div_ceil(20) } else { count };
    let mut measured = Measured::default();
    for round in 0..rounds {
        for part in parts {
            if stop.load(Ordering::Relaxed) {
                bail!("stopped by a signal");
            }
            if !quiet::wait(patience) {
                eprintln!("the machine stays busy");
            }
            eprintln!("── round {} of {rounds}: {part:?}", round + 1);
            let bench = Round { world: &world, number: round, scale: &scale };
            match part {
                Part::Verdict => bench.verdict(&mut measured)?,
                Part::Rules => bench.rules(&mut measured.rules)?,
                Part::Names => bench.names(&mut measured.names)?,
                Part::Agent => bench.agent(&mut measured)?,
            }
        }
    }
    println!("{}", report::markdown(&measured, rounds, quick));
    Ok(())
}

struct Round<'a> {
    world: &'a World,
    number: u32,
    scale: &'a dyn Fn(u64) -> u64,
}

impl Round<'_> {
    /// These in an order that changes with the round.
    fn ordered<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let mut ordered = all.to_vec();
        ordered.rotate_left(self.number as usize % all.len());
        ordered
    }

    fn verdict(&self, measured: &mut Measured) -> Result<()> {
        const COUNT: u64 = 10_000;
        let policies = self.world.policies("open", &[open_loopback()])?;
        let _server = self.world.beside(Work::Server)?;
        for watch in self.ordered(&[Watch::Nobody, Watch::Audit, Watch::Block]) {
            let (result, _) = self.world.run(watch, &policies, Work::Calls, (self.scale)(COUNT), 0)?;
            measured.verdict.add_all(&format!("{watch:?}"), &result);
        }
        // By itself, because counting costs too.
        let _counting = KernelStatistics::on()?;
        for watch in self.ordered(&[Watch::Audit, Watch::Block]) {
            let (result, _) = self.world.run(watch, &policies, Work::Calls, (self.scale)(COUNT), 0)?;
            for (load, programs) in result.as_object().into_iter().flatten() {
                for (program, ran) in programs.as_object().into_iter().flatten() {
                    let row = format!("{}, {program}", load.trim_end_matches(" programs"));
                    measured.programs.add(&row, &format!("{watch:?}"), number(ran, "ns")?);
                    measured.programs.add(&row, &format!("{watch:?} runs"), number(ran, "runs")?);
                }
            }
        }
        Ok(())
    }

    fn rules(&self, values: &mut Values) -> Result<()> {
        const COUNT: u64 = 10_000;
        for rules in self.ordered(&RULES) {
            let policies = self.world.policies("many", &rules::policies(rules))?;
            for watch in self.ordered(&[Watch::Nobody, Watch::Audit, Watch::Block]) {
                let (result, ready) = self.world.run(watch, &policies, Work::Spread, (self.scale)(COUNT), rules)?;
                for row in ["connect", "sendto", "sendto, in turn"] {
                    values.add(&format!("{rules} {row}"), &format!("{watch:?}"), number(&result, row)?);
                }
                values.add(&format!("{rules} ready"), &format!("{watch:?}"), ready);
            }
        }
        Ok(())
    }

    fn names(&self, values: &mut Values) -> Result<()> {
        let policies = self.world.policies("names", &[open_loopback()])?;
        let _upstream = self.world.beside(Work::Upstream)?;
        for watch in self.ordered(&[Watch::Nobody, Watch::Audit, Watch::Block]) {
            for (work, count) in [(Work::CachedNames, 100_000), (Work::FreshNames, 4_000)] {
                let (result, _) = self.world.run(watch, &policies, work, (self.scale)(count), 0)?;
                values.add_all(&format!("{watch:?}"), &result);
            }
        }
        Ok(())
    }

    fn agent(&self, measured: &mut Measured) -> Result<()> {
        const NAMES: u64 = 100_000;
        let few = self.world.policies("few", &[open_loopback()])?;
        let many = self.world.policies("many", &rules::policies(10_000))?;
        for watch in self.ordered(&[Watch::Audit, Watch::Block]) {
            for (rules, policies) in [("one", &few), ("10,000", &many)] {
                let (memory, ready) = self.world.run(watch, policies, Work::Nothing, 0, 0)?;
                let column = format!("{watch:?}");
                measured.agent.add(&format!("{rules} ready"), &column, ready);
                measured.agent.add(&format!("{rules} resident"), &column, number(&memory, "resident")?);
                measured.agent.add(&format!("{rules} peak"), &column, number(&memory, "peak")?);
                measured.agent.add(&format!("{rules} rules"), &column, number(&memory, "rules")?);
            }
        }
        if self.number == 0 {
            let _upstream = self.world.beside(Work::Upstream)?;
            let (sizes, _) = self.world.run(Watch::Block, &few, Work::ManyNames, (self.scale)(NAMES), 0)?;
            measured.many_names = Some(sizes);
        }
        Ok(())
    }
}
