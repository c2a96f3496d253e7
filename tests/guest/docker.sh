#!/bin/bash
# In a guest, as root: Debian's docker, unpacked and not installed, and jobs before it. One through the gate alone, one after it in the
# runner's scope, which asks for the first one's container too.
#
#   docker.sh
set -eu
runner=1001
cd /tmp

say() { printf '── [%s s] %s\n' $SECONDS "$*"; }
fail() {
    echo "failed: $*"
    tail -n 20 /tmp/engine.log || true
    exit 1
}
wait_for() { # SECONDS WHAT COMMAND…
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $until ] || fail "not so within the time: $what"
        sleep 0.2
    done
}
# In the background, for as long as the guest runs: with an output of its own, because the guest ends at the end of this one's.
in_cgroup() { # NAME COMMAND…
    mkdir -p /sys/fs/cgroup/"$1"
    (
        echo $BASHPID >/sys/fs/cgroup/"$1"/cgroup.procs
        shift
        exec "$@"
    ) >>/tmp/"$1".log 2>&1 &
}

# As systemd leaves it: mounts are shared, nobody is in the topmost cgroup, /var/run is /run.
mount --make-rshared /
mkdir /sys/fs/cgroup/init.scope
echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs
ln -s /run /var/run
ln -s iptables-legacy /usr/sbin/iptables
ln -s ip6tables-legacy /usr/sbin/ip6tables
mkdir -p /opt /srv/www /var/lib/docker
mount -t tmpfs none /var/lib/docker

say 'an outside: addresses with a server each, and a resolver'
open=203.0.113.9 closed=203.0.113.7 resolver=203.0.113.53
ip link add outside type dummy
for address in $open $closed $resolver; do ip addr add $address/32 dev outside; done
ip link set outside up
cp /usr/bin/busybox /srv/busybox
cp "$(type -P act)" /srv/act
echo served >/srv/www/index.html
for address in $open $closed; do in_cgroup outside /srv/busybox httpd -f -p $address:8080 -h /srv/www; done
in_cgroup outside /srv/act resolver serve $resolver open.example=$open closed.example=$closed
echo "nameserver $resolver" >/etc/resolv.conf

say 'an engine, and an image'
in_cgroup engine dockerd
is_served() { docker version >/tmp/version 2>&1; }
wait_for 120 'the engine answers' is_served
# Whoever is in its group may ask it, which the job's user is in this way.
chmod 666 /run/docker.sock
docker version --format 'docker {{.Client.Version}}, engine {{.Server.Version}}'
mkdir -p image/bin
cp /usr/bin/busybox image/bin/
for applet in cat echo ls nc nslookup sh sleep; do ln -s busybox image/bin/$applet; done
cat >image/reach <<'REACH'
#!/bin/sh
# What comes of asking each address or name for its page.
for place; do
    said=$(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 "$place" 8080 2>&1 | busybox tail -n 1)
    echo "$place: ${said##*: }"
done
REACH
chmod +x image/reach
tar -C image -c . | docker import - image >/dev/null
docker run --detach --name other image sleep 100000 >/dev/null

home=/home/runner
mkdir -p $home/work/src
echo 'of the job' >$home/work/src/file
printf 'FROM image\nRUN echo built >/built\n' >$home/work/src/Dockerfile
chown -R $runner $home
policy() { # NAME
    cat <<POLICY
version: 1
name: $1
mode: block
guard: { docker: gate }
egress:
  allow:
    - { cidr: $open/32, ports: [8080], why: "is allowed" }
    - { host: open.example, ports: [8080], why: "is allowed" }
POLICY
}
job() { # NAME OPTIONS…: runs job-NAME.sh as the runner's user
    local name=$1
    shift
    (
        cd $home/work
        HOME=$home GITHUB_WORKSPACE=$home/work runner-agent run --policy /tmp/$name.yml --log /tmp/$name.jsonl "$@" -- \
            setpriv --reuid=$runner --regid=$runner --clear-groups bash /tmp/$name.sh
    ) >/tmp/$name.said 2>/tmp/$name.told || { cat /tmp/$name.said /tmp/$name.told; fail "job $name ends well"; }
    cat /tmp/$name.said
}
says() { grep -Fq -- "$2" /tmp/"$1".said || { cat /tmp/"$1".told; fail "job $1 says: $2"; }; }
has() { runner-agent events /tmp/"$1".jsonl --kind attempt | grep -Fq -- "$2"; }
logged() { has "$@" || fail "the log of $1 has: $2"; }

say 'a job through the gate'
policy gate >gate.yml
cat >gate.sh <<'JOB'
docker run --rm image echo hi
refused() { docker run --rm "$@" image echo 'this ran' 2>&1; }
refused --privileged
refused --volume /:/host
refused --network host
refused --pid host
refused --cap-add SYS_ADMIN
refused --device /dev/null
refused --network container:other
DOCKER_BUILDKIT=0 docker build --quiet --tag built src >/dev/null && echo 'the classic builder: built'
DOCKER_BUILDKIT=1 docker build --quiet --tag built src 2>&1 | sed 's/^/BuildKit: /'
docker run --detach --name own --volume "$PWD/src:/src:ro" built sleep 100000 >/dev/null
docker exec own cat /built /src/file
docker exec own /reach 203.0.113.7
docker exec --privileged own echo 'this ran' 2>&1
docker exec other echo 'this ran' 2>&1
docker rm --force other 2>&1
(exec 3<>/dev/tcp/203.0.113.7/8080) 2>&1 | sed 's/^/the job itself: /'
env -u DOCKER_HOST docker ps 2>&1 | sed 's/^/the socket itself: /'
true
JOB
job gate
says gate hi
why='(policy gate, guard.docker: gate). Instead: '
for asked in privileged 'host-mount /' host-network host-pid 'capability SYS_ADMIN' 'device ' 'container-of-others other'; do
    says gate "refused POST /containers/create, which asks for: $asked"
    logged gate "asked a container engine for $asked"
done
[ "$(grep -Fc -- "$why" gate.said)" = 10 ] || fail 'each refusal says which policy it is, and what to do instead'
grep 'this ran' gate.said && fail 'what is refused does not run'
says gate 'the classic builder: built'
says gate 'BuildKit: failed to dial gRPC: unable to upgrade to h2c, received 403'
logged gate 'asked a container engine for opaque-stream (POST /session): blocked'
says gate built
says gate 'of the job'
says gate 'refused POST /containers/own/exec, which asks for: privileged'
says gate 'refused GET /containers/other/json, which asks for: container-of-others other'
says gate 'refused DELETE /containers/other, which asks for: container-of-others other'
says gate 'the job itself: /tmp/gate.sh: connect: Operation not permitted'
says gate 'the socket itself: permission denied'
logged gate 'engine-socket at /run/docker.sock: blocked'
# As the documentation says: a container is none of the job's processes.
says gate '203.0.113.7: served'

say 'a job in the scope of the runner, with the container of the one before'
{
    policy scope
    cat <<'POLICY'
platform:
  - { cgroup: /outside, exe: [/srv/busybox, /srv/act], why: "stands for other machines" }
  - cgroup: /engine
    exe: [/usr/bin/containerd-shim-runc-v2, /usr/sbin/runc, /usr/sbin/xtables-legacy-multi]
    why: "make containers and their networks"
POLICY
} >scope.yml
cat >scope.sh <<'JOB'
docker exec own echo 'this ran' 2>&1
docker network create users >/dev/null
docker run --detach --name default image sleep 100000 >/dev/null
docker run --detach --name user --network users image sleep 100000 >/dev/null
for name in default user; do
    docker exec $name /reach 203.0.113.7 203.0.113.9 open.example closed.example user | sed "s/^/$name: /"
done
docker exec --user 65534 default /reach 203.0.113.7 | sed 's/^/65534: /'
true
JOB
job scope --scope runner
says scope 'refused GET /containers/own/json, which asks for: container-of-others own'
for name in default user; do
    says scope "$name: 203.0.113.7: Operation not permitted"
    says scope "$name: 203.0.113.9: served"
    says scope "$name: open.example: served"
    says scope "$name: closed.example: bad address 'closed.example'"
    # As the documentation says: their names for each other are the engine's, whom nobody asks.
    says scope "$name: user: bad address 'user'"
done
connects() { # VERDICT: of containers, which are outside the job
    grep '"kind":"connect"' scope.jsonl | grep '"container":true' | grep '"scope":"runner"' | grep '"port":8080' | grep -c "\"verdict\":\"$1\""
}
[ "$(connects blocked)/$(connects allowed)" = 3/4 ] || fail 'the log has each connect of the containers, and no other'
grep -q 'egress-denied: busybox (pid [0-9]*, outside the job) was kept from 203.0.113.7:8080' scope.told || fail 'it is told who it was'
grep -Eq '^left over .*busybox' scope.told || fail 'what runs on is told at the end'
has scope 'tried cgroup' && fail 'what makes containers is exempt'
say 'all of it held'
