// The environment of what this action starts: a list, because a step before it may have put anything into ours.

import { userInfo } from 'node:os';

/** Fixed, so that no step's PATH decides which program a policy or a start means. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Where GitHub and a proxy are to be found: rules of presets are made of these. */
const PLACES = [
  'GITHUB_SERVER_URL', 'GITHUB_API_URL', 'GITHUB_GRAPHQL_URL', 'GITHUB_WORKSPACE', 'RUNNER_TEMP',
  'ACTIONS_RESULTS_URL', 'ACTIONS_RUNTIME_URL', 'ACTIONS_CACHE_URL', 'ACTIONS_ID_TOKEN_REQUEST_URL',
  'HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy', 'NO_PROXY', 'no_proxy',
];

const LOOKS_SECRET = /TOKEN|SECRET|PASSWORD|KEY/;
const COMMAND_FILES = ['GITHUB_ENV', 'GITHUB_PATH', 'GITHUB_OUTPUT', 'GITHUB_STATE', 'GITHUB_STEP_SUMMARY'];

/** The home of this user's account, which isn't what a step may have put into HOME. */
function home() {
  try {
    return userInfo().homedir;
  } catch {
    // A container may run as a number that has no account.
    return '/';
  }
}

/** What every program gets. */
export function base() {
  return { PATH, HOME: home(), LANG: 'C.UTF-8', NO_COLOR: '1' };
}

function pick(environment, wanted) {
  return Object.fromEntries(Object.entries(environment).filter(([name, value]) => wanted(name) && value !== ''));
}

/** For the client: the daemon reads from it which job this is. */
export function forClient(environment) {
  const isIdentity = (name) =>
    /^(GITHUB|RUNNER)_[A-Z0-9_]+$/.test(name) && !LOOKS_SECRET.test(name) && !COMMAND_FILES.includes(name);
  return { ...pick(environment, (name) => isIdentity(name) || PLACES.includes(name)), CI: 'true', ...base() };
}

/**
 * For the daemon. RUNNER_TRACKING_ID isn't among it: at the end of a job the runner ends every process that carries it, and
 * the daemon has to outlive the job's last step.
 */
export function forDaemon(environment) {
  return { ...pick(environment, (name) => PLACES.includes(name)), ...base() };
}

/** A proxy's address may have a password in it. */
export function secretsOf(environment) {
  const proxies = Object.entries(environment).filter(([name]) => /_proxy$/i.test(name));
  return proxies.map(([, value]) => /^[a-z0-9+.-]+:\/\/[^/@]*:([^/@]+)@/i.exec(value)?.[1]).filter(Boolean);
}

/** As a file for systemd's `EnvironmentFile=`, where values don't show on a command line. */
export function asFile(environment) {
  const quote = (value) => `"${value.replace(/[\\"`$]/g, '\\$&')}"`;
  const plain = Object.entries(environment).filter(([, value]) => !/[\r\n\0]/.test(value));
  return plain.map(([name, value]) => `${name}=${quote(value)}\n`).join('');
}
