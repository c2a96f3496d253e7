// The two ways in which this action can't do what it was asked.

/** What was asked is wrong or contradicts itself; no setting makes it right. */
export class UsageError extends Error {}

/** This runner can't do what was asked. `fail-on-unsupported: false` lets the job go on without it. */
export class UnsupportedError extends Error {}
