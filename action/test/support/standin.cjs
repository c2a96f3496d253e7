// A stand-in for the binary: records how it was called, and answers as it was told. It is copied to where the action puts its
// binary, so that it knows its folder by the constant that the harness writes before it.
/* global SCRATCH */
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');

const words = process.argv.slice(2);
const option = (name) => words[words.indexOf(name) + 1];
const answers = JSON.parse(fs.readFileSync(path.join(SCRATCH, 'answers.json'), 'utf8'));

function record(more) {
  fs.appendFileSync(path.join(SCRATCH, 'calls.jsonl'), `${JSON.stringify({ words, env: process.env, ...more })}\n`);
}

function answer({ code = 0, json, stdout = json === undefined ? '' : JSON.stringify(json), stderr = '' } = {}) {
  fs.writeSync(2, stderr);
  // A pipe takes what it has room for; only when all is written the process may end.
  process.stdout.write(stdout, () => process.exit(code));
}

if (words[0] === 'daemon') {
  const file = option('--config');
  const config = fs.readFileSync(file, 'utf8');
  const folder = path.dirname(file);
  const mode = (name) => (fs.statSync(path.join(folder, name)).mode & 0o777).toString(8);
  const names = ['config.yml', 'environment', 'policies', 'policies/workflow.yml', 'logs', 'state', 'runner-agent'];
  const policy = fs.readFileSync(path.join(folder, 'policies/workflow.yml'), 'utf8');
  const sid = fs.readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')[3];
  record({ config, policy, modes: Object.fromEntries(names.map((name) => [name, mode(name)])), leads: sid === String(process.pid) });
  if (answers.daemon?.code !== undefined) {
    answer(answers.daemon);
  } else {
    const socket = JSON.parse(/^socket: (.*)$/m.exec(config)[1]);
    const owner = Number(/^owner: (.*)$/m.exec(config)[1]);
    // Between its making and this only root can connect, which looks like a daemon that isn't ready.
    const server = net.createServer((client) => client.end()).listen(socket, () => fs.chownSync(socket, owner, -1));
    process.on('SIGTERM', () => server.close(() => process.exit(0)));
  }
} else if (words[1] === 'status') {
  record();
  if (answers.status) {
    answer(answers.status);
  } else {
    net.connect(option('--socket'))
      .on('connect', () => answer({ json: { schema: 'runner-agent/job/1' } }))
      .on('error', (problem) => answer({ code: 125, stderr: `no daemon answers: ${problem.code}\n` }));
  }
} else {
  const policies = words.flatMap((word, index) => (word === '--policy' ? [fs.readFileSync(words[index + 1], 'utf8')] : []));
  record({ policies, parent: process.ppid });
  answer(answers[words[1]]);
}
