//! What a guest is to do, as it finds it in its own files.

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

/// Where a guest finds its plan.
pub const PLACE: &str = "/plan.json";

/// Commands in their order, with one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files of kernel modules, in the order of loading.
    pub modules: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub commands: Vec<Vec<String>>,
    /// What the first process becomes once the commands' own process runs: an init with its arguments, or nothing.
    pub init: Vec<String>,
}

impl Plan {
    pub fn to_json(&self) -> Vec<u8> {
        let Self { modules, environment, commands, init } = self;
        let plan = json!({ "modules": modules, "environment": environment, "commands": commands, "init": init });
        plan.to_string().into_bytes()
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(bytes).context("the plan is JSON")?;
        let environment = list(&value["environment"])?.iter().map(|pair| match texts(pair)?.as_slice() {
            [name, content] => Ok((name.clone(), content.clone())),
            _ => Err(anyhow!("a variable of the plan is a name and a value")),
        });
        Ok(Self {
            modules: texts(&value["modules"])?,
            environment: environment.collect::<Result<_>>()?,
            commands: list(&value["commands"])?.iter().map(texts).collect::<Result<_>>()?,
            init: texts(&value["init"])?,
        })
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("the plan has a list here")
}

fn texts(value: &Value) -> Result<Vec<String>> {
    list(value)?.iter().map(|text| text.as_str().map(str::to_owned).context("the plan has text here")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_out_as_it_went_in() {
        let plan = Plan {
            modules: vec!["/modules/veth.ko".into()],
            environment: vec![("NAME".into(), "va lue".into())],
            commands: vec![vec!["true".into()], vec!["echo".into(), "\"x\"\n".into()]],
            init: vec!["/lib/systemd/systemd".into()],
        };
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
        assert!(Plan::from_json(b"{}").is_err());
    }
}
