// Package node is what a node of a local cluster is made of besides its programs: the files that these are configured with, and
// the scripts that make its namespaces look like a machine of its own.
package node

import (
	"fmt"
	"net/netip"
	"path/filepath"
)

// The subnets inside of a cluster. They are the same in all clusters: what leaves a node has the node's address.
var (
	PodSubnet     = netip.MustParsePrefix("10.244.0.0/16")
	ServiceSubnet = netip.MustParsePrefix("10.96.0.0/16")
	APIService    = netip.MustParseAddr("10.96.0.1")
	DNSService    = netip.MustParseAddr("10.96.0.10")
)

// ClusterDomain is the domain of the names of services.
const ClusterDomain = "cluster.local"

// PodSubnetOf returns the subnet of a node's pods. Nodes are counted from 1.
func PodSubnetOf(node int) netip.Prefix {
	b := PodSubnet.Addr().As4()
	b[2] = byte(node)
	return netip.PrefixFrom(netip.AddrFrom4(b), 24)
}

// Node is what the files of a node depend on.
type Node struct {
	Name         string
	Address      netip.Addr
	Dir          string       // where its files are
	Certificates string       // where the cluster's certificates are; its own are named as the node
	Pods         netip.Prefix // the addresses of its pods
	PodGroup     string       // the control group of its pods
	Programs     string       // where the programs of the lab bundle are
	PauseImage   string
	RegistryName string // of the images of pods, and where it is
	Registry     netip.AddrPort
}

// Files returns the configuration of the node's programs, by path below Dir.
func (n Node) Files() map[string]string {
	hosts := filepath.Join("certs.d", n.RegistryName, "hosts.toml")
	return map[string]string{
		"containerd.toml":           n.containerd(),
		"cni/10-crossfade.conflist": n.cni(),
		hosts:                       fmt.Sprintf("server = \"http://%s\"\n", n.Registry),
		"resolv.conf":               "# Pods of dnsPolicy Default have no name server: nothing outside of this machine can be reached.\n",
		"kubelet.yaml":              n.kubelet(),
		"kube-proxy.yaml":           n.proxy(),
	}
}

func (n Node) containerd() string {
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
`, n.PauseImage, filepath.Join(n.Dir, "certs.d"), n.Programs, filepath.Join(n.Dir, "cni"))
}

// cni connects each pod with a cable of its own (ptp) rather than a bridge: replies between two pods of a node must go
// through the node's routing to have a service's address put back, and past a bridge they would not.
func (n Node) cni() string {
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {"type": "ptp", "mtu": 1500, "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true, "backend": "nftables"}
  ]
}
`, n.Pods)
}

func (n Node) kubelet() string {
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
`, n.Address, filepath.Join(n.Certificates, "ca.crt"), filepath.Join(n.Certificates, n.Name+".crt"), filepath.Join(n.Certificates, n.Name+".key"),
		filepath.Join(n.Dir, "resolv.conf"), DNSService, ClusterDomain, "/"+n.PodGroup)
}

func (n Node) proxy() string {
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
`, PodSubnet, n.Name, filepath.Join(n.Certificates, "kube-proxy.kubeconfig"))
}
