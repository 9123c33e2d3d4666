#!/bin/sh
# enter.sh COMMAND...: the first process of new network, mount and process namespaces. It hides the places of the machine that the
# programs of a node write to by fixed paths, sets up the bridge of the Pods, and runs the command. When it ends, the kernel ends all
# other processes, and takes mounts, interfaces, nftables and network settings back.
set -eu
for place in /run /var/lib /var/log /opt; do mount -t tmpfs tmpfs "$place"; done
# kubelet sets these for the whole machine; it finds its own values already.
set_for_kubelet() {
  printf '%s\n' "$2" >"/run/sysctl-${1##*/}"
  mount --bind "/run/sysctl-${1##*/}" "/proc/sys/$1"
}
set_for_kubelet vm/overcommit_memory 1
set_for_kubelet vm/panic_on_oom 0
set_for_kubelet kernel/panic 10
set_for_kubelet kernel/panic_on_oops 1
set_for_kubelet kernel/keys/root_maxkeys 1000000
set_for_kubelet kernel/keys/root_maxbytes 25000000
ip link set lo up
ip link add pods type bridge
ip addr add 198.18.0.1/24 dev pods
ip link set pods up
echo 1 >/proc/sys/net/ipv4/ip_forward
status=0
"$@" || status=$?
exit "$status"
