//! What the tests of the Action take besides node: who knows the shape of an action and of a workflow.

use std::path::PathBuf;

use anyhow::Result;

use super::Need;
use super::python::Environment;

/// Its schemas come with it.
const CHECK_JSONSCHEMA: Environment =
    Environment { name: "check-jsonschema", packages: &[("check-jsonschema", "0.39.0")] };

pub(super) const NEEDS: &[Need] = &[Need {
    name: "check-jsonschema",
    only_for: Some("the check of action.yml and of the workflows that use it"),
    look: || CHECK_JSONSCHEMA.look(),
    supply: |packages| CHECK_JSONSCHEMA.supply(packages),
}];

/// The program, whether or not it is there yet.
pub fn check_jsonschema() -> Result<PathBuf> {
    CHECK_JSONSCHEMA.program("check-jsonschema")
}
