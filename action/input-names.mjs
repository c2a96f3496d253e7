// Every name that an input may have: ours, those of other actions, and what becomes of the rest.
//
// A line of a workflow that changes its `uses:` brings its inputs along. None is dropped without a word: it is read, told to
// be without effect, or refused.

import { UsageError } from './problem.mjs';

const text = (raw) => raw;

/** A truth value as YAML writes one. */
export function truth(raw, name) {
  if (/^true$/i.test(raw) || /^false$/i.test(raw)) {
    return raw.toLowerCase();
  }
  throw new UsageError(`\`${name}\` is "${raw}"; write true or false`);
}

const not = (raw, name) => (truth(raw, name) === 'true' ? 'false' : 'true');

const oneOf = (words) => (raw, name) => {
  const word = words[raw.toLowerCase()];
  if (word === undefined) {
    throw new UsageError(`\`${name}\` is "${raw}"; write one of ${Object.keys(words).join(', ')}`);
  }
  return word;
};

const same = (...words) => Object.fromEntries(words.map((word) => [word, word]));
const modes = { audit: 'audit', block: 'block', enforce: 'block', analyze: 'audit', monitor: 'audit' };
const ifTrue = (yes, no) => (raw, name) => (truth(raw, name) === 'true' ? yes : no);

/** Ours, each with the names it is read from. The first name is ours. */
export const INPUTS = {
  'egress-policy': {
    'egress-policy': oneOf(same('audit', 'block')),
    mode: oneOf(modes),
    prevent: ifTrue('block', 'audit'),
    audit: ifTrue('audit', 'block'),
  },
  'egress-dialect': { 'egress-dialect': oneOf(same('runner-agent', 'harden-runner', 'bullfrog', 'cargowall')) },
  'allowed-endpoints': { 'allowed-endpoints': text, 'allowed-domains': text, 'allowed-hosts': text },
  'allowed-ips': { 'allowed-ips': text, 'allowed-cidrs': text },
  'dns-policy': { 'dns-policy': oneOf(same('allowed-domains-only', 'any')) },
  policy: { policy: text, 'policy-file': text, 'config-file': text, config: text },
  'disable-sudo': { 'disable-sudo': truth, 'sudo-lockdown': truth, 'enable-sudo': not, 'allow-sudo': not },
  'disable-docker': { 'disable-docker': truth },
  'disable-sudo-and-containers': { 'disable-sudo-and-containers': truth },
  'disable-file-monitoring': { 'disable-file-monitoring': truth },
  'socket-path': { 'socket-path': text },
  'state-path': { 'state-path': text },
  'binary-path': { 'binary-path': text },
  'binary-sha256': { 'binary-sha256': text },
  version: { version: text },
  'start-timeout': { 'start-timeout': text },
  'fail-on': {
    'fail-on': oneOf(same('never', 'denied', 'low', 'medium', 'high')),
    // A destination that no rule allows is a finding of this severity, refused or not.
    'fail-on-violations': ifTrue('medium', 'never'),
  },
  'fail-on-unsupported': { 'fail-on-unsupported': truth },
  'job-summary': { 'job-summary': truth, 'audit-summary': truth },
};

const NO_SERVICE = 'there is no service that this action talks to';

/** Names of other actions that change nothing here, each with the reason. */
export const IGNORED = {
  token: NO_SERVICE,
  'github-token': NO_SERVICE,
  'api-key': NO_SERVICE,
  'api-token': NO_SERVICE,
  'api-url': NO_SERVICE,
  offline: NO_SERVICE,
  'disable-telemetry': 'nothing is ever sent',
  debug: "the step's own debug logging shows what there is",
  'log-directory': 'the output `log-path` says where the log is',
  'collect-process-info': 'programs are always in the log',
  'deploy-on-self-hosted-vm': 'a daemon is used where there is one and started where there is none',
  'exempt-files': 'writes to source files are no finding here',
};

/** Values among the ignored that nobody should read. */
export const SECRET = ['token', 'github-token', 'api-key', 'api-token', 'webhook-url', 'webhook-secret'];

const NOT_YET = 'is not there yet; leave it out';

/** Names that ask for something that isn't done, each with what to do about it. */
export const REFUSED = {
  'webhook-url': NOT_YET,
  'webhook-secret': NOT_YET,
  sarif: NOT_YET,
  attestation: NOT_YET,
  'report-artifact': 'is not there; upload the file that the output `log-path` names with a step of your own',
  'sudo-allow-commands': 'is not there: sudo is refused whole, or not at all; leave it out',
  'dns-upstream': "is not there: the runner's own resolvers are asked; leave it out",
  'github-service-hosts': 'is not there: what GitHub itself needs is allowed already; write other names into `allowed-endpoints`',
  'azure-infra-hosts': 'is not there: everyone can have a name below such a suffix; write exact names into `allowed-endpoints`',
  'agent-download-base-url': 'is not there; use `binary-path` for a binary of your own',
};

/** Names that are right with one value, which asks for nothing, and refused with any other. */
export const ONLY = {
  'use-policy-store': ['false', 'there is no service that keeps policies; write them into the workflow, or a file named by `policy`'],
  'allow-existing-connections': ['true', 'connections that stand keep their ruling; leave it out'],
};
