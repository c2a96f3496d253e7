import assert from 'node:assert/strict';
import { test } from 'node:test';

import { annotateFindings } from '../annotations.mjs';
import { escapeData, escapeProperty, printable } from '../commands.mjs';
import { block, code, fit } from '../markdown.mjs';
import { summaryOf } from '../summary.mjs';
import { commandsIn, DONE, JOB, needsRoot, Runner } from './support/runner.mjs';

/** Runs something that prints, and returns what it printed. */
function printed(what) {
  const { write } = process.stdout;
  let text = '';
  process.stdout.write = (chunk) => {
    text += chunk;
    return true;
  };
  try {
    what();
  } finally {
    process.stdout.write = write;
  }
  return text;
}

const EVIL = [
  '::set-env name=PATH::/evil', '\n::add-path::/evil', '##[add-path]/evil', 'x\r\n::error::forged', '%0A::add-mask::e', ' ::stop-commands::now',
  '| cell | <script>alert(1)</script>', '![image](https://evil.example/p.png)', '[link](https://evil.example)', '`code` </code></pre>', '@everyone', 'https://evil.example www.evil.example',
  '\u001b[2K\u001b[1Ahidden', 'a\u202eb', '```\n# heading', '\\| escaped', '&lt;b&gt;', '\u0000', 'value\nEOF\nverdict=clean',
];

test('a command ends where it ends', () => {
  assert.equal(escapeData('100%\r\n::x'), '100%25%0D%0A::x');
  assert.equal(escapeProperty('a:b,c'), 'a%3Ab%2Cc');
  assert.equal(printable('a\u001bb\u202ec\td\n'), 'a\\u{1b}b\\u{202e}c\td\n');
});

test('nothing that a job chose becomes a command, an output of its own or Markdown', { skip: needsRoot }, async (t) => {
  const findings = EVIL.map((text) => ({ id: text, severity: text, title: text, occurrences: text }));
  const destinations = EVIL.map((text) => ({ verdict: text, host: text, ip: text, port: text, protocol: text, by: text, rule: text, count: text }));
  const evil = EVIL.join('\n');
  const stop = { json: { ...DONE, verdict: evil, findings, destinations, summary: evil } };
  const runner = new Runner(t, { start: { json: { ...JOB, job: evil, trust: evil, trust_reason: evil, policy: evil, log: evil } }, stop });
  const main = await runner.run('main');
  const post = await runner.run('post');
  for (const { name } of [...main.commands, ...post.commands]) {
    assert.ok(['stop-commands', 'error', 'warning', 'notice'].includes(name), name);
  }
  // What is inside stop-commands stays there; every other command is ours and has our title, or a finding's.
  assert.ok(post.commands.filter(({ name }) => name === 'error').every(({ data }) => data !== 'forged'));
  assert.equal(main.outputs['job-id'], evil);
  assert.equal(main.outputs['effective-mode'], 'audit');
  assert.equal(post.outputs.verdict, evil, 'one value, whatever it holds');
  assert.equal(post.outputs.blocked, '0');
  assert.doesNotMatch(post.summary, /<script|!\[|\]\(|https:|www\.|@everyone|`|\u001b|\u202e|&lt;/);
  const rows = post.summary.split('\n').filter((line) => line.startsWith('| <code>') || line.startsWith('| –'));
  assert.equal(rows.length, 2 * EVIL.length);
  // Four and eight cells, and what stands before the first and after the last sign.
  assert.ok(rows.every((row) => [6, 10].includes(row.split('|').length)), 'no cell ends early');
});

test('what a client complains of may hold anything', { skip: needsRoot }, async (t) => {
  const runner = new Runner(t, { start: { code: 125, stderr: `${EVIL.join('\n')}\n` } });
  const main = await runner.run('main');
  assert.deepEqual([...new Set(main.commands.map(({ name }) => name))].sort(), ['error']);
});

test('the harness finds the commands that the runner would', () => {
  assert.deepEqual(commandsIn('  ::add-path::x\ny ##[set-env name=a]b\n::stop-commands::t\n::error::no\n::t::\n::error::yes').map(({ name }) => name), ['add-path', 'set-env', 'stop-commands', 'error']);
});

test('code and blocks leave nothing that Markdown or HTML reads', () => {
  for (const text of EVIL) {
    assert.match(code(text), /^(–|<code>[A-Za-z0-9 ,/&#;-]*<\/code>)$/u, text);
    assert.match(block(text), /^<pre>[A-Za-z0-9 ,/&#;\n-]*<\/pre>$/u, text);
  }
  assert.ok(code('x'.repeat(10_000)).length < 400);
});

test('a summary stays within what GitHub takes, and says what is missing', () => {
  const long = '&'.repeat(300);
  const job = {
    ...DONE,
    findings: Array.from({ length: 5000 }, (_, index) => ({ id: long, severity: 'high', title: `${index} ${long}`, occurrences: 1 })),
    destinations: Array.from({ length: 5000 }, () => ({ verdict: 'blocked', host: long, ip: long, port: 443, by: long, rule: long })),
    summary: long.repeat(5000),
  };
  const text = summaryOf(job);
  assert.ok(Buffer.byteLength(text) <= 900 * 1024, String(Buffer.byteLength(text)));
  assert.match(text, /## runner-agent: clean/);
  assert.match(text, /And 4800 more findings/);
  assert.match(text, /more sections are left out/);
});

test('sections are dropped from the end', () => {
  const text = fit(['first', 'x'.repeat(3000), 'third'], 2048, (left) => `${left} left out`);
  assert.equal(text, 'first\n\n2 left out\n');
});

test('what was refused stands first among the destinations', () => {
  const to = (verdict, host) => ({ verdict, host, ip: '', port: 443, protocol: 'tcp', by: 'curl', rule: '', count: 1 });
  const text = summaryOf({ ...DONE, destinations: [to('allowed', 'first'), to('blocked', 'second')] });
  assert.ok(text.indexOf('second') < text.indexOf('first'));
});

test('an account with parts missing is still told', () => {
  const text = summaryOf({ ...JOB, verdict: 'clean', findings: 'none', destinations: [null, 7, { host: 'a' }] });
  assert.match(text, /runner-agent: clean/);
  assert.doesNotMatch(text, /undefined|NaN|null/);
});

test('annotations are one for each kind of finding, the worst first, nine at most', () => {
  const findings = Array.from({ length: 14 }, (_, index) => ({ id: `kind-${index}`, severity: index === 13 ? 'critical' : 'low', title: `title ${index}`, occurrences: 1 }));
  findings.push({ id: 'kind-13', severity: 'medium', title: 'again', occurrences: 3 });
  const commands = commandsIn(printed(() => annotateFindings(findings)));
  assert.equal(commands.length, 10);
  assert.deepEqual(commands[0], { name: 'error', properties: 'title=critical kind-13 ×4', data: 'title 13\nagain' });
  assert.deepEqual(commands[9].data, "and 5 more kinds of findings in the job's summary");
});

test('secrets among the inputs are masked before anything else is said', { skip: needsRoot }, async (t) => {
  const main = await new Runner(t).run('main', { token: 'ghs_x', 'webhook-secret': 'whsec_y' });
  assert.deepEqual(main.commands.slice(0, 2).map(({ name, data }) => [name, data]).sort(), [['add-mask', 'ghs_x'], ['add-mask', 'whsec_y']]);
  assert.match(main.errors, /`webhook-secret` is not there yet/);
  assert.ok(!main.errors.includes('whsec_y'));
});
