#!/bin/bash
# In a guest, as root: the package laid out, the service started as a machine without systemd starts it, and the hook pair around a
# job, run by a user who is nobody in particular, with an environment and an event recorded from a pull request of a fork.
#
#   installed.sh PACKAGE.deb RECORDED.env RECORDED.json
set -eu
package=$1 environment=$2 event=$3
runner=1001

dpkg-deb -x "$package" /
mkdir -p /sys/fs/bpf /var/log/runner-agent
mountpoint -q /sys/fs/bpf 2>/dev/null || mount -t bpf bpf /sys/fs/bpf
sed -i "s/^#owner: .*/owner: $runner/" /etc/runner-agent/config.yml
runner-agent daemon --check
runner-agent daemon >/tmp/daemon.log 2>&1 &
daemon=$!
until runner-agent job status 2>/dev/null; do
    kill -0 $daemon || { cat /tmp/daemon.log; exit 1; }
    sleep 0.2
done

cp "$event" /tmp/event.json
chown $runner /tmp/event.json
variables=()
while IFS= read -r line; do
    case $line in '' | '#'* | GITHUB_EVENT_PATH=*) ;; *) variables+=("$line") ;; esac
done <"$environment"
variables+=("GITHUB_EVENT_PATH=/tmp/event.json" "PATH=$PATH" "HOME=/tmp/home")
mkdir -p /tmp/home/.aws
printf '[default]\naws_access_key_id = dummy\n' >/tmp/home/.aws/credentials
chown -R $runner /tmp/home

cat >/tmp/job.sh <<'JOB'
/usr/lib/runner-agent/hooks/job-started.sh
echo "started hook: $?"
(exec 3<>/dev/tcp/203.0.113.7/443) 2>&1 | grep -o 'not permitted' | sed 's/^/a public address: /'
cat "$HOME/.aws/credentials" >/dev/null && echo "a secret was read"
/usr/lib/runner-agent/hooks/job-completed.sh
echo "completed hook: $?"
JOB
env -i "${variables[@]}" setpriv --reuid=$runner --regid=$runner --clear-groups bash /tmp/job.sh 2>&1 | tee /tmp/said
for line in 'started hook: 0' 'a public address: not permitted' 'completed hook: 0'; do
    grep -q "^$line\$" /tmp/said || { echo "not said: $line"; cat /tmp/daemon.log; exit 1; }
done
grep -q 'CRITICAL secret-read' /tmp/said || { echo "the summary lacks the secret that was read"; exit 1; }

until runner-agent job list | grep -q 'no jobs'; do sleep 0.2; done
log=$(ls /var/log/runner-agent/*.jsonl)
runner-agent verify "$log"
runner-agent job metrics >/tmp/figures
for line in 'jobs_ended_total 1' 'receipts_issued_total 1' 'records_unaccounted_total 0'; do
    grep -q "^runner_agent_$line\$" /tmp/figures || { echo "not among the figures: $line"; cat /tmp/figures; exit 1; }
done
kill $daemon
wait $daemon || true
cat /tmp/daemon.log
