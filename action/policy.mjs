// From what the inputs allow to the text of a policy file.
//
// Every word that comes from outside is written as a JSON string, which is a YAML string too: nothing in an entry can end its
// line and begin a key.

import { classOf } from './address.mjs';
import { DIALECTS } from './dialects.mjs';
import { UsageError } from './problem.mjs';

/** The name of the policy, which rule ids begin with. */
export const POLICY_NAME = 'workflow';

// More would be no list that anybody reads, and the binary takes no file above 256 KiB.
const MOST_RULES = 1000;

/** Reads both lists. Every wrong entry is told at once; `tell` hears of what is read wider than it was meant. */
export function readRules({ dialect, endpoints, addresses }, tell) {
  const { split, endpoint, address } = DIALECTS[dialect];
  const problems = [];
  const collect = (input, read, text) => split(text).flatMap((entry) => {
    try {
      return read(entry, tell).map((rule) => ({ ...rule, input }));
    } catch (problem) {
      if (!(problem instanceof UsageError)) {
        throw problem;
      }
      problems.push(`${input}: ${problem.message}`);
      return [];
    }
  });
  const rules = [...collect('allowed-endpoints', endpoint, endpoints), ...collect('allowed-ips', address, addresses)];
  for (const { input, entry, network: found } of rules) {
    const kind = found && classOf(found);
    if (kind && !['public', 'private', 'loopback'].includes(kind)) {
      problems.push(`${input}: "${entry}" is ${kind}, which a list of addresses can't open; write a \`policy\` file with \`class: ${kind}\``);
    }
  }
  if (rules.length > MOST_RULES) {
    problems.push(`the lists have ${rules.length} entries, and ${MOST_RULES} is the most; write networks or a \`policy\` file`);
  }
  if (problems.length > 0) {
    throw new UsageError(problems.join('\n'));
  }
  return unique(rules);
}

function keyOf(rule) {
  return `${rule.host ?? rule.network.cidr} ${rule.ports}`;
}

/** The same rule twice would only be warned of. */
function unique(rules) {
  const seen = new Set();
  return rules.filter((rule) => !seen.has(keyOf(rule)) && seen.add(keyOf(rule)));
}

function line(rule) {
  const kind = rule.network ? classOf(rule.network) : 'public';
  const ports = rule.ports === 'any' ? 'any' : `[${rule.ports.join(', ')}]`;
  const parts = [
    rule.host === undefined ? `cidr: ${JSON.stringify(rule.network.cidr)}` : `host: ${JSON.stringify(rule.host)}`,
    `ports: ${ports}`,
    ...(kind === 'public' ? [] : [`class: ${kind}`]),
    `why: ${JSON.stringify(`the workflow's ${rule.input} has ${rule.entry}`)}`,
  ];
  return `    - { ${parts.join(', ')} }`;
}

// What `presets/default` has besides the catalogue of secret files.
const CLOSED = [
  '    - { class: loopback, ports: [2375], why: "a container engine on TCP is root for whoever connects" }',
  '    - { class: loopback, ports: [40342], why: "hands out the credentials of an Azure Arc machine" }',
];

/** The policy file. `secretFiles: false` leaves out the catalogue of secret files. */
export function policyText({ mode, rules, sudo, containers, secretFiles }) {
  const first = secretFiles ? 'presets/default' : undefined;
  const guard = [...(sudo ? ['sudo: deny'] : []), ...(containers ? ['docker: deny'] : [])];
  return [
    '# Written by the action from the inputs of its step; the next start writes it anew.',
    'version: 1',
    `name: ${POLICY_NAME}`,
    `mode: ${mode}`,
    `include: [${[first, 'presets/github-actions'].filter(Boolean).join(', ')}]`,
    'egress:',
    ...(rules.length > 0 ? ['  allow:', ...rules.map(line)] : []),
    ...(secretFiles ? [] : ['  deny:', ...CLOSED]),
    '  dns: { refuse-with: nxdomain }',
    ...(guard.length > 0 ? [`guard: { ${guard.join(', ')} }`] : []),
    '',
  ].join('\n');
}
