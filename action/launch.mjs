// The command that starts a daemon so that it outlives the step and the job.

/** The name of a unit of ours, and nothing else that somebody could have put into the step's state. */
export const UNIT = /^runner-agent-action-[0-9a-f]{16}$/;

/**
 * As a unit of systemd. It isn't a child of the runner then, and carries nothing of its environment.
 *
 * `KillMode=process`: the job's own processes may stand in cgroups below the unit's, and stopping it must not end them.
 * `Delegate=yes` leaves those cgroups to the daemon.
 */
export function asUnit({ unit, folder, binary }) {
  return [
    'systemd-run', '--quiet', '--collect', `--unit=${unit}`, '--service-type=exec',
    '--property=KillMode=process', '--property=Delegate=yes', '--property=LimitMEMLOCK=infinity',
    `--property=EnvironmentFile=${folder}/environment`, `--property=StandardError=append:${folder}/daemon.log`,
    binary, 'daemon', '--config', `${folder}/config.yml`,
  ];
}

/** As a process in a session of its own. sudo drops the environment, but for what it is told to keep. */
export function asProcess({ folder, binary, environment, uid }) {
  const words = [binary, 'daemon', '--config', `${folder}/config.yml`];
  return uid === 0 ? words : ['sudo', '-n', `--preserve-env=${Object.keys(environment).join(',')}`, '--', ...words];
}

/** The daemon's configuration. */
export function configText({ socket, folder, uid }) {
  const text = JSON.stringify;
  return [
    '# Written by the action for one job.',
    'version: 1',
    `socket: ${text(socket)}`,
    `policies: ${text(`${folder}/policies`)}`,
    `logs: ${text(`${folder}/logs`)}`,
    `state: ${text(`${folder}/state`)}`,
    'tier: auto',
    'on-end: { leftovers: end }',
    `owner: ${uid}`,
    '',
  ].join('\n');
}
