import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { classOf, network } from '../address.mjs';
import { readInputs } from '../inputs.mjs';
import { requestOf } from '../request.mjs';
import { settle } from '../settings.mjs';
import { GOLDEN, isGolden } from './support/golden.mjs';

/** From inputs as a workflow has them to the policy, and what people are told. */
function read(inputs) {
  const environment = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]));
  const { settings } = settle(readInputs(environment).values, '/nowhere');
  const told = [];
  return { ...requestOf(settings, (text) => told.push(text)), told };
}

// The lists of other actions stand in a file of their own: `runner-agent policy import` is tested with the same ones, so that the
// two don't drift apart. `policies` has inputs by the file beside it, `wrong` has dialect, entry and a part of the message.
const LISTS = JSON.parse(readFileSync(new URL('lists.json', GOLDEN), 'utf8'));

const GOLDENS = {
  'nothing.yml': {},
  'own.yml': {
    'egress-policy': 'block',
    'allowed-endpoints': `
      # the browser of the tests
      downloads.example.org
      Mirror.Example.org.:8443, staging.example.org:8000-8010   # two on one line
      *.cdn.example.net  any.example.org:*
      198.51.100.7:5432
      [2001:db8::1]:443 [2001:db8::2]
      downloads.example.org:443`,
    'allowed-ips': '203.0.113.0/24 10.20.0.0/16:5432 2001:db8:1::/48 [2001:db8:2::/48]:8443 127.0.0.1:8080 198.51.100.9:*',
  },
  'guarded.yml': { 'egress-policy': 'block', 'disable-sudo-and-containers': 'true', 'disable-file-monitoring': 'true' },
  ...LISTS.policies,
};

for (const [name, inputs] of Object.entries(GOLDENS)) {
  test(`the policy of ${name} is what it was`, () => isGolden(name, read(inputs).policy));
}

test('what cargowall means more narrowly is told', () => {
  const { told } = read(GOLDENS['cargowall.yml']);
  assert.equal(told.length, 1);
  assert.match(told[0], /\*\.one\.example\.org.*wider than it was/);
});

const WRONG = [
  ['runner-agent', '**.example.org', /would match every name/],
  ['runner-agent', '*', /would match every name/],
  ['runner-agent', '*.org', /whole top-level domain/],
  ['runner-agent', 'api-*.example.org', /star where none can stand/],
  ['runner-agent', 'a.*.example.org', /star where none can stand/],
  ['runner-agent', '*.*.example.org', /star where none can stand/],
  ['runner-agent', 'https://example.org/path', /no host and port/],
  ['runner-agent', 'example.org/path', /no host name/],
  ['runner-agent', 'user@example.org', /no host name/],
  ['runner-agent', 'example.org:', /for a port/],
  ['runner-agent', 'example.org:0', /for a port/],
  ['runner-agent', 'example.org:65536', /for a port/],
  ['runner-agent', 'example.org:90-80', /for a port/],
  ['runner-agent', 'example.org:443;80', /for a port/],
  ['runner-agent', '2001:db8::1', /IPv6 without brackets; write \[2001:db8::1\]:443/],
  ['runner-agent', '[example.org]:443', /no IPv6 address in its brackets/],
  ['runner-agent', '2001:db8::1:443:x', /no host and port/],
  ['runner-agent', '1.2.3.256', /neither an address nor a name/],
  ['runner-agent', '10.0.0.1/8', /bits set after the first 8; write 10\.0\.0\.0\/8/],
  ['runner-agent', '198.51.100.0/33', /no network/],
  ['runner-agent', '::ffff:198.51.100.7/128', /IPv4 written as IPv6/],
  ['runner-agent', 'ex\u00e4mple.org', /xn--/],
  ['runner-agent', 'a..example.org', /no host name/],
  ['runner-agent', `${'a'.repeat(64)}.example.org`, /no host name/],
  ['runner-agent', '169.254.169.254:80', /is link-local, which a list of addresses can't open/],
  ['runner-agent', '0.0.0.0', /is unspecified/],
  ...LISTS.wrong.map(([dialect, entry, message]) => [dialect, entry, new RegExp(message)]),
];

for (const [dialect, entry, message] of WRONG) {
  test(`${dialect}: ${entry} is an error`, () => {
    assert.throws(() => read({ 'egress-dialect': dialect, 'allowed-endpoints': entry }), message);
  });
}

test('names among the addresses, and ports where bullfrog has none, are errors', () => {
  assert.throws(() => read({ 'allowed-ips': 'example.org' }), /no address or network/);
  assert.throws(() => read({ 'egress-dialect': 'bullfrog', 'allowed-ips': '198.51.100.7:443' }), /without a port/);
  assert.throws(() => read({ 'egress-dialect': 'bullfrog', 'allowed-ips': '2001:db8::/32' }), /without a port/);
});

test('every wrong entry is told at once, with the list it stands in', () => {
  assert.throws(() => read({ 'allowed-endpoints': '**.a.example.org ok.example.org b/', 'allowed-ips': 'c.example.org' }), (problem) => {
    assert.deepEqual(problem.message.split('\n').map((line) => line.split(':')[0]), ['allowed-endpoints', 'allowed-endpoints', 'allowed-ips']);
    return true;
  });
});

test('no entry can add a key to the policy', () => {
  for (const entry of ['a.example.org", class: "private', 'a.example.org}\n  - {host: evil.example', 'a.example.org:443", why: "']) {
    assert.throws(() => read({ 'egress-dialect': 'cargowall', 'allowed-endpoints': entry }));
  }
});

test('a list without an end is an error', () => {
  const many = Array.from({ length: 1001 }, (_, index) => `h${index}.example.org`).join(' ');
  assert.throws(() => read({ 'allowed-endpoints': many }), /1001 entries/);
});

test('addresses have the class that the agent gives them', () => {
  const classes = {
    '10.0.0.0/8': 'private', '100.64.0.0/10': 'private', 'fc00::/7': 'private', '127.0.0.1': 'loopback', '::1': 'loopback',
    'fe80::1': 'link-local', '255.255.255.255': 'multicast',
    // A network that is wider than a class isn't in it.
    '0.0.0.0/0': 'public', '8.0.0.0/5': 'public', '::/0': 'public', '198.51.100.0/24': 'public',
  };
  for (const [text, expected] of Object.entries(classes)) {
    assert.equal(classOf(network(text)), expected, text);
  }
});

test('IPv6 is written in its one form', () => {
  assert.equal(network('2001:0DB8:0:0:1:0:0:1').cidr, '2001:db8::1:0:0:1/128');
  assert.equal(network('2001:db8::/32').cidr, '2001:db8::/32');
  assert.equal(network('64:ff9b::198.51.100.7').cidr, '64:ff9b::c633:6407/128');
});
