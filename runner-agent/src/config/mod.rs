//! Policy files: read, checked, resolved for this runner.
