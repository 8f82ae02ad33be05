package local

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// The subnets inside of a cluster. They are the same in all clusters: what leaves a node has the node's address.
var (
	podSubnet     = netip.MustParsePrefix("10.244.0.0/16")
	serviceSubnet = netip.MustParsePrefix("10.96.0.0/16")
	apiService    = netip.MustParseAddr("10.96.0.1")
	dnsService    = netip.MustParseAddr("10.96.0.10")
)

const clusterDomain = "cluster.local"

// podSubnetOf returns the subnet of a node's pods. Nodes are counted from 1.
func podSubnetOf(node int) netip.Prefix {
	b := podSubnet.Addr().As4()
	b[2] = byte(node)
	return netip.PrefixFrom(netip.AddrFrom4(b), 24)
}

// mountScript makes a node's mount namespace look like a machine of its own to the programs of Kubernetes, which use well-known
// paths: /run, /var/log and /var/lib are the node's. Arguments: the node's directory, the cluster's directory, the network's
// directory. It may run again after being cut off anywhere; the last thing it does is leave a mark.
const mountScript = `
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

// settingsScript makes a node's network namespace route between pods, services and other nodes. Arguments: the subnet of all
// pods, then for each other node the subnet of its pods and its address.
const settingsScript = `
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

// prepareNode makes the node's namespaces what its programs need. Doing it again changes nothing.
func (c oneCluster) prepareNode(ctx context.Context, node int, nodes []Node) error {
	if err := os.MkdirAll(c.nodeDir(node), 0o700); err != nil {
		return fault.New(fault.Failed, "cannot prepare the node %s: %w", nodes[node-1].Name, err)
	}
	routes := []string{podSubnet.String()}
	for i, other := range nodes {
		if i+1 != node {
			routes = append(routes, podSubnetOf(i+1).String(), other.Address.String())
		}
	}
	for _, script := range []struct {
		text string
		args []string
	}{
		{mountScript, []string{c.nodeDir(node), c.dir, c.network.Dir}},
		{settingsScript, routes},
	} {
		command := append(c.network.Enter(c.host(node)), "/bin/sh", "-c", script.text, "sh")
		if _, err := netns.Output(ctx, "", append(command, script.args...)...); err != nil {
			return fault.New(fault.Failed, "cannot prepare the node %s: %w", nodes[node-1].Name, err)
		}
	}
	return nil
}

// writeNodeFiles writes the configuration of a node's programs.
func (c oneCluster) writeNodeFiles(node int, self Node, registry netip.AddrPort, programs programs) error {
	dir := c.nodeDir(node)
	files := map[string]string{
		"containerd.toml":                                    containerdConfig(programs, dir),
		"cni/10-crossfade.conflist":                          cniConfig(podSubnetOf(node)),
		filepath.Join("certs.d", registryName, "hosts.toml"): fmt.Sprintf("server = \"http://%s\"\n", registry),
		"resolv.conf":                                        "# Pods of dnsPolicy Default have no name server: nothing outside of this machine can be reached.\n",
		"kubelet.yaml":                                       c.kubeletConfig(node, self),
		"kube-proxy.yaml":                                    c.proxyConfig(self),
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(dir, name), []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

func containerdConfig(programs programs, dir string) string {
	return fmt.Sprintf(`version = 4
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  max_concurrent_downloads = 3
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = %q
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = %q

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [%q]
    conf_dir = %q
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`, programs.image("pause"), filepath.Join(dir, "certs.d"), programs.dir, filepath.Join(dir, "cni"))
}

// cniConfig connects each pod with a cable of its own (ptp) rather than a bridge: replies between two pods of a node must go
// through the node's routing to have a service's address put back, and past a bridge they would not.
func cniConfig(pods netip.Prefix) string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {"type": "ptp", "mtu": 1500, "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true, "backend": "nftables"}
  ]
}
`, pods)
}

func (c oneCluster) kubeletConfig(node int, self Node) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %[2]q}}
authorization: {mode: Webhook}
tlsCertFile: %[3]q
tlsPrivateKeyFile: %[4]q
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volumeplugins
resolvConf: %[5]q
clusterDNS: [%[6]s]
clusterDomain: %[7]s
failCgroupV1: false
cgroupDriver: cgroupfs
# All containers are in groups below the cluster's, to be found when it is deleted. Without groups for pods they would not be.
cgroupsPerQOS: true
enforceNodeAllocatable: []
cgroupRoot: %[8]q
failSwapOn: false
oomScoreAdj: 0
# The disk is the machine's: nothing is to be evicted or collected because somebody else fills it.
evictionHard: {nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
volumeStatsAggPeriod: -1s
serializeImagePulls: false
enableProfilingHandler: false
enableDebugFlagsHandler: false
`, self.Address, c.file("pki", "ca.crt"), c.file("pki", self.Name+".crt"), c.file("pki", self.Name+".key"),
		filepath.Join(c.nodeDir(node), "resolv.conf"), dnsService, clusterDomain, "/"+c.podGroup(node))
}

func (c oneCluster) proxyConfig(self Node) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: %s
hostnameOverride: %s
clientConnection: {kubeconfig: %q}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
oomScoreAdj: 0
# These settings are the machine's and not the node's: leave them as they are.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, podSubnet, self.Name, c.file("pki", "kube-proxy.kubeconfig"))
}

// nodeName names a node, counted from 1.
func (c oneCluster) nodeName(node int) string { return c.name + "-" + strconv.Itoa(node) }
