// Findings as annotations: one for each kind of finding, as GitHub shows ten of a level and drops the rest.

import { annotate, printable, shorten } from './commands.mjs';

const MOST = 9;
const MOST_TITLES = 5;
const ORDER = ['critical', 'high', 'medium', 'low', 'info'];
const LEVELS = { critical: 'error', high: 'error', medium: 'warning' };

const rank = (severity) => (ORDER.includes(severity) ? ORDER.indexOf(severity) : ORDER.length);

function grouped(findings) {
  const groups = new Map();
  for (const finding of findings) {
    const key = String(finding.id);
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  const worst = (group) => Math.min(...group.map(({ severity }) => rank(severity)));
  return [...groups.entries()].map(([id, group]) => ({ id, group, rank: worst(group) })).sort((a, b) => a.rank - b.rank);
}

/** Prints them; how many is what it returns. */
export function annotateFindings(findings) {
  const groups = grouped(Array.isArray(findings) ? findings.filter((finding) => finding && typeof finding === 'object') : []);
  for (const { id, group, rank: worst } of groups.slice(0, MOST)) {
    const times = group.reduce((sum, { occurrences }) => sum + (Number.isSafeInteger(occurrences) ? occurrences : 1), 0);
    const lines = group.slice(0, MOST_TITLES).map(({ title }) => shorten(printable(title ?? ''), 300).replace(/\s+/g, ' '));
    const rest = group.length > MOST_TITLES ? [`and ${group.length - MOST_TITLES} more`] : [];
    const severity = ORDER[worst] ?? 'unknown';
    annotate(LEVELS[severity] ?? 'notice', [...lines, ...rest].join('\n'), `${severity} ${shorten(id, 80)} ×${times}`);
  }
  if (groups.length > MOST) {
    annotate('notice', `and ${groups.length - MOST} more kinds of findings in the job's summary`, 'runner-agent');
  }
  return Math.min(groups.length, MOST);
}
