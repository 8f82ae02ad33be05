package node

// MountScript makes a node's mount namespace look like a machine of its own to the programs of Kubernetes, which use well-known
// paths: /run, /var/log and /var/lib are the node's. Arguments: the node's directory, the cluster's directory, the network's
// directory. It may run again after being cut off anywhere; the last thing it does is leave a mark.
const MountScript = `
set -eu
node=$1 cluster=$2 network=$3
mark=/run/crossfade-ready
test -e $mark && exit 0
exec 9<"$cluster"
while umount --recursive --lazy "$network" 2>/dev/null; do :; done
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lib/upper /run/lib/work /run/netns /run/sys "$node/log" "$node/kubelet" "$node/containerd"
mount --bind "$node/log" /var/log
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/lib/upper,workdir=/run/lib/work crossfade /var/lib
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni "$cluster"
mount --no-canonicalize --bind /proc/self/fd/9 "$cluster"
mount --bind "$node/kubelet" /var/lib/kubelet
mount --bind "$node/containerd" /var/lib/containerd
# kubelet sets these for the whole machine. What it finds here, it leaves alone.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file=/proc/sys/${setting%%=*}
	test -e $file || continue
	copy=/run/sys/$(echo ${setting%%=*} | tr / .)
	echo ${setting#*=} >$copy
	mount --bind $copy $file
done
touch $mark
`

// SettingsScript makes a node's network namespace route between pods, services and other nodes. Arguments: the subnet of all
// pods, then for each other node the subnet of its pods and its address.
const SettingsScript = `
set -eu
pods=$1; shift
echo 1 >/proc/sys/net/ipv4/ip_forward
# No packet from a node's pods to the outside of the cluster may have an address that means nothing there.
nft -f - <<RULES
table ip crossfade
delete table ip crossfade
table ip crossfade {
	chain postrouting {
		type nat hook postrouting priority srcnat + 10
		ip saddr $pods ip daddr != $pods oifname "eth0" masquerade
	}
}
RULES
while test $# -gt 0; do
	ip route replace "$1" via "$2"
	shift 2
done
`
