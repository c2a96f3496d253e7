//! `bench encode`: how many notices a second each form takes on one core, and what it costs against the native one.
//!
//! Optimized as a guest's build is: without link-time optimization, which a release has too and which only helps.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use super::ceiling;
use crate::step;

/// What one form did.
#[derive(Debug, PartialEq)]
struct Measure {
    form: String,
    per_second: f64,
    bytes: f64,
}

pub fn run() -> Result<()> {
    eprintln!("── encoding, which is built optimized first");
    let mut cargo = step::cargo("bench");
    cargo.args(["--quiet", "--profile", "guest", "--package", "runner-agent", "--bench", "encode"]);
    let measures = read(&step::output(&mut cargo)?)?;
    println!("{}", table(&measures)?);
    Ok(())
}

/// One line a form: its word, notices a second, bytes a notice.
fn read(text: &str) -> Result<Vec<Measure>> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [form, per_second, bytes] = words[..] else { bail!("`{line}` is no measurement") };
        Ok(Measure { form: form.to_owned(), per_second: per_second.parse()?, bytes: bytes.parse()? })
    };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

fn is_met(measure: &Measure) -> Option<bool> {
    Some(measure.per_second >= ceiling::encoded_per_second(&measure.form)?)
}

fn table(measures: &[Measure]) -> Result<String> {
    let native = measures.iter().find(|it| it.form == "native").context("the native form was not measured")?;
    let mut text = String::from(
        "| form | notices/s, one core | of native | bytes a notice | floor | |\n|---|--:|--:|--:|--:|---|\n",
    );
    for measure in measures {
        let Measure { form, per_second, bytes } = measure;
        let floor = ceiling::encoded_per_second(form).map_or_else(|| "none".to_owned(), |floor| format!("{floor:.0}"));
        let met = match is_met(measure) {
            Some(true) => "met",
            Some(false) => "not met",
            None => "",
        };
        let ratio = per_second / native.per_second;
        let _ = writeln!(text, "| {form} | {per_second:.0} | {ratio:.2} | {bytes:.0} | {floor} | {met} |");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_form_against_the_native_one_and_its_floor() {
        let measures = read("native 600000 700\nocsf 90000 2100\ncef 300000 900\n").expect("measurements");
        let text = table(&measures).expect("a table");
        assert!(text.contains("| native | 600000 | 1.00 | 700 | 300000 | met |"), "{text}");
        assert!(text.contains("| ocsf | 90000 | 0.15 | 2100 | 100000 | not met |"), "{text}");
        assert!(text.contains("| cef | 300000 | 0.50 | 900 | none |  |"), "{text}");
        assert!(read("warning: something\n").is_err());
    }
}
