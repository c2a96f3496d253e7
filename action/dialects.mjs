// What an entry of an allow-list means, by whose words it is written in.
//
// The same line means different things to different actions, so that a list that is carried over opens more or less than it
// did. A dialect says what its own reader took the line for; what we can't say as narrowly is told, and what was never meant
// is an error.

import { network } from './address.mjs';
import { hostName, ports, split } from './endpoint.mjs';
import { UsageError } from './problem.mjs';

/** Entries separated by `separator`; a `#` at the beginning of one takes the rest of its line away. */
function entries(text, separator) {
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, ''));
  return lines.flatMap((line) => line.split(separator)).map((entry) => entry.trim()).filter((entry) => entry !== '');
}

const anySpaceOrComma = (text) => entries(text, /[\s,]+/);
const anySpace = (text) => entries(text, /\s+/);
const lines = (text) => entries(text, /$^/); // matches nowhere: an entry is a line

function target({ host, network: found }) {
  return host === undefined ? { network: found } : { host };
}

/** One rule, with the dialect's ports where none are written. */
function plain(entry, unwritten) {
  const found = split(entry);
  return { ...target(found), ports: found.ports === undefined ? unwritten : ports(found.ports, entry), entry };
}

function onlyAddress(entry, rule) {
  if (rule.host !== undefined) {
    throw new UsageError(`"${entry}" is no address or network; names belong into \`allowed-endpoints\``);
  }
  return rule;
}

const HTTPS = ['443'];

const own = {
  defaultMode: 'audit',
  split: anySpaceOrComma,
  endpoint: (entry) => {
    if (split(entry).bare && entry.includes(':')) {
      throw new UsageError(`"${entry}" has IPv6 without brackets; write [${entry}]:443`);
    }
    return [plain(entry, HTTPS)];
  },
  address: (entry) => [onlyAddress(entry, plain(entry, HTTPS))],
};

// A name alone is that name and port 443, `*.` any depth below it: as ours. It reads addresses up to the first colon.
const hardenRunner = {
  defaultMode: 'block',
  split: anySpace,
  endpoint: (entry) => {
    if (entry.startsWith('**.')) {
      throw new UsageError(`"${entry}": harden-runner takes this for every name there is; write *.${entry.slice(3)} if names below it are meant`);
    }
    const rule = plain(entry, HTTPS);
    if (rule.network?.length === 128) {
      throw new UsageError(`"${entry}": harden-runner reads no IPv6, so this entry never worked; leave it out, or use \`egress-dialect: runner-agent\``);
    }
    return [rule];
  },
  address: own.address,
};

// One entry a line, names and addresses at every port, IPv4 alone. Its patterns may have stars anywhere.
const bullfrog = {
  defaultMode: 'audit',
  split: lines,
  endpoint: (entry) => {
    if (network(entry)) {
      throw new UsageError(`"${entry}" is an address; addresses belong into \`allowed-ips\``);
    }
    // Its stars don't stop at dots, so that two say what one does.
    const name = entry.startsWith('**.') ? entry.slice(1) : entry;
    return [{ host: hostName(name, entry), ports: 'any', entry }];
  },
  address: (entry) => {
    const rule = onlyAddress(entry, plain(entry, 'any'));
    if (rule.network.length === 128 || rule.ports !== 'any') {
      throw new UsageError(`"${entry}": bullfrog takes IPv4 addresses and networks without a port; leave the rest out, or use \`egress-dialect: runner-agent\``);
    }
    return [rule];
  },
};

/** `TARGET:443;80`, every port where none is written. */
function semicolons(entry) {
  const list = /^(.*):([\d;]+)$/.exec(entry);
  // Without a semicolon it may be IPv6 and no port.
  if (!list || !list[2].includes(';')) {
    return plain(entry, 'any');
  }
  const found = split(list[1]);
  if (found.ports !== undefined) {
    throw new UsageError(`"${entry}" has ports twice; write them once, as in example.org:443;80`);
  }
  return { ...target(found), ports: list[2].split(';').flatMap((port) => ports(port, entry)), entry };
}

// One entry a line, every port unless written, and a name means everything below it as well.
const cargowall = {
  defaultMode: 'block',
  split: lines,
  endpoint: (entry, tell) => {
    const star = /^\*{1,2}\./.exec(entry)?.[0];
    const rule = semicolons(star === undefined ? entry : entry.slice(star.length));
    const below = () => ({ ...rule, host: hostName(`*.${rule.host}`, entry), entry });
    if (star !== undefined) {
      if (rule.host === undefined) {
        throw new UsageError(`"${entry}" has a star before an address; write the network as in 198.51.100.0/24`);
      }
      if (star === '*.') {
        tell(`"${entry}": cargowall means one label below it, runner-agent means every depth; this rule is wider than it was`);
      }
      return [below()];
    }
    return rule.host?.includes('.') ? [rule, below()] : [rule];
  },
  address: (entry) => [onlyAddress(entry, semicolons(entry))],
};

/** By the word of `egress-dialect`. */
export const DIALECTS = { 'runner-agent': own, 'harden-runner': hardenRunner, bullfrog, cargowall };
