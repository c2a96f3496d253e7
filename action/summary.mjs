// The job's summary page: the verdict first, the rest in the order in which it matters.

import { block, code, fit, table } from './markdown.mjs';

// GitHub drops a whole summary above 1 MiB.
const BUDGET = 900 * 1024;
const MOST_FINDINGS = 200;
const MOST_DESTINATIONS = 500;

const VERDICTS = {
  clean: 'Nothing to look at.',
  violations: 'This job did what its policy has no rule for, or what somebody should look at.',
  blocked: 'This job tried what its policy refuses, and was kept from it.',
  tampered: 'Something was done to the agent while this job ran: the record may not be whole.',
  degraded: 'A part of what this job did was not seen.',
};

const number = (value) => (Number.isSafeInteger(value) && value >= 0 ? String(value) : '?');

function more(all, most, what) {
  return all.length > most ? `\n\nAnd ${all.length - most} more ${what}; the log has them.` : '';
}

function head(job) {
  const counts = job.counts ?? {};
  const severities = ['critical', 'high', 'medium', 'low', 'info'].map((name) => `${number(counts.findings?.[name] ?? 0)} ${name}`);
  const rows = [
    ['mode', code(job.mode)],
    ['tier', code(job.tier)],
    ['policy', `${code(job.policy)} ${code(job.policy_sha256)}`],
    ['trust', `${code(job.trust)} ${code(job.trust_reason)}`],
    ['findings', severities.join(', ')],
    ['events', `${number(counts.seen)} seen, ${number(counts.lost)} lost, ${number(counts.blocked)} refused`],
    ['log', code(job.log)],
  ];
  return [`## runner-agent: ${VERDICTS[job.verdict] ? job.verdict : 'unknown verdict'}`, VERDICTS[job.verdict] ?? '', table(['', ''], rows)].join('\n\n');
}

function findings(list) {
  const rows = list.slice(0, MOST_FINDINGS).map((finding) => [code(finding.severity), code(finding.id), code(finding.title), number(finding.occurrences)]);
  return `### Findings\n\n${table(['severity', 'finding', 'what', 'times'], rows)}${more(list, MOST_FINDINGS, 'findings')}`;
}

function destinations(list) {
  const cell = (to) => [code(to.verdict), code(to.host), code(to.ip), number(to.port), code(to.protocol), code(to.by), code(to.rule), number(to.count)];
  const heads = ['verdict', 'name', 'address', 'port', 'protocol', 'by', 'rule', 'times'];
  return `### Destinations\n\n${table(heads, list.slice(0, MOST_DESTINATIONS).map(cell))}${more(list, MOST_DESTINATIONS, 'destinations')}`;
}

const arrayOf = (value) => (Array.isArray(value) ? value.filter((entry) => entry && typeof entry === 'object') : []);

// What was refused is what a reader looks for; the sort is stable, so that the rest keeps its order.
const refusedFirst = (list) => list.toSorted((a, b) => Number(b.verdict === 'blocked') - Number(a.verdict === 'blocked'));

/** The page of a job that was watched. */
export function summaryOf(job, budget = BUDGET) {
  const found = arrayOf(job.findings);
  const reached = refusedFirst(arrayOf(job.destinations));
  const sections = [
    head(job),
    ...(found.length > 0 ? [findings(found)] : []),
    ...(reached.length > 0 ? [destinations(reached)] : []),
    ...(job.summary ? [`### The whole account\n\n${block(job.summary)}`] : []),
  ];
  return fit(sections, budget, (left) => `${left} more ${left === 1 ? 'section is' : 'sections are'} left out, because GitHub takes no larger summary; the report and the log have them.`);
}

/** The page of a job that was not. */
export function unwatchedSummary(reason) {
  return `## runner-agent: this job was not watched\n\n${code(reason)}\n\n`;
}
