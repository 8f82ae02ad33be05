package local

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/crossfade-dev/crossfade/internal/bundle"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/netns"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/node"
	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/process"
)

// programs is where the programs of the lab bundle are: all in one directory.
type programs struct{ dir string }

// findPrograms finds the bundle. The directory is the real one, so that clusters do not depend on the links to it.
func findPrograms() (programs, error) {
	kubelet, err := bundle.Program("kubelet")
	if err != nil {
		return programs{}, err
	}
	real, err := filepath.EvalSymlinks(kubelet)
	if err != nil {
		return programs{}, fault.New(fault.Failed, "cannot find the programs of the lab bundle: %w", err)
	}
	return programs{dir: filepath.Dir(real)}, nil
}

func (p programs) path(name string) string { return filepath.Join(p.dir, name) }

// tag is the tag of the images that are made from the programs: the bundle's directory is named by its content.
func (p programs) tag() string { return filepath.Base(p.dir) }

// image returns the reference under which nodes pull the image of a program.
func (p programs) image(name string) string {
	return fmt.Sprintf("%s/crossfade/%s:%s", registryName, name, p.tag())
}

// component is one program of a node, and how it is called.
type component struct {
	name string
	args []string
	env  []string
}

const apiPort = 6443

// server returns the URL of the API server.
func server(nodes []Node) string {
	return "https://" + netip.AddrPortFrom(nodes[0].Address, apiPort).String()
}

// etcd keeps the cluster's state. It does not wait for the disk: what it wrote survives the death of its process, not of the
// machine, and the load of several clusters on one disk stays bearable.
func (c oneCluster) etcd() component {
	certificate, key, authority := c.file("pki", "etcd-ca", "server.crt"), c.file("pki", "etcd-ca", "server.key"), c.file("pki", "etcd-ca", "ca.crt")
	return component{name: "etcd", args: []string{
		"--name=" + c.name, "--data-dir=" + c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=https://127.0.0.1:2379", "--advertise-client-urls=https://127.0.0.1:2379",
		"--listen-peer-urls=https://127.0.0.1:2380", "--initial-advertise-peer-urls=https://127.0.0.1:2380",
		"--initial-cluster=" + c.name + "=https://127.0.0.1:2380",
		"--cert-file=" + certificate, "--key-file=" + key, "--trusted-ca-file=" + authority, "--client-cert-auth",
		"--peer-cert-file=" + certificate, "--peer-key-file=" + key, "--peer-trusted-ca-file=" + authority, "--peer-client-cert-auth",
	}}
}

func (c oneCluster) apiServer(self Node) component {
	pki := func(name string) string { return c.file("pki", name) }
	return component{name: "kube-apiserver", args: []string{
		"--bind-address=" + self.Address.String(), "--advertise-address=" + self.Address.String(), fmt.Sprintf("--secure-port=%d", apiPort),
		"--etcd-servers=https://127.0.0.1:2379", "--etcd-cafile=" + pki("etcd-ca/ca.crt"),
		"--etcd-certfile=" + pki("etcd-ca/client.crt"), "--etcd-keyfile=" + pki("etcd-ca/client.key"),
		"--tls-cert-file=" + pki("kube-apiserver.crt"), "--tls-private-key-file=" + pki("kube-apiserver.key"), "--client-ca-file=" + pki("ca.crt"),
		"--kubelet-certificate-authority=" + pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
		"--requestheader-client-ca-file=" + pki("front-ca/ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki("front-ca/front-proxy.crt"), "--proxy-client-key-file=" + pki("front-ca/front-proxy.key"),
		"--service-account-issuer=https://kubernetes.default.svc." + node.ClusterDomain,
		"--service-account-key-file=" + pki("service-accounts.pub"), "--service-account-signing-key-file=" + pki("service-accounts.key"),
		"--service-cluster-ip-range=" + node.ServiceSubnet.String(), "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged", "--event-ttl=15m", "--profiling=false",
	}}
}

func (c oneCluster) controllerManager() component {
	return component{name: "kube-controller-manager", args: []string{
		"--kubeconfig=" + c.file("pki", "kube-controller-manager.kubeconfig"), "--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--root-ca-file=" + c.file("pki", "ca.crt"), "--service-account-private-key-file=" + c.file("pki", "service-accounts.key"),
		"--cluster-signing-cert-file=" + c.file("pki", "ca.crt"), "--cluster-signing-key-file=" + c.file("pki", "ca.key"),
		"--cluster-cidr=" + node.PodSubnet.String(), "--allocate-node-cidrs=false", "--service-cluster-ip-range=" + node.ServiceSubnet.String(),
		"--kube-api-qps=100", "--kube-api-burst=200",
	}}
}

func (c oneCluster) scheduler() component {
	return component{name: "kube-scheduler", args: []string{
		"--kubeconfig=" + c.file("pki", "kube-scheduler.kubeconfig"), "--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=100", "--kube-api-burst=200",
	}}
}

func (c oneCluster) provisioner() component {
	return component{name: "provisioner", args: []string{
		"--kubeconfig=" + c.file("pki", "provisioner.kubeconfig"), "--dir=" + c.file("volumes"),
	}}
}

func (c oneCluster) containerd(node int, programs programs) component {
	return component{
		name: "containerd", args: []string{"--config", filepath.Join(c.nodeDir(node), "containerd.toml"), "--log-level", "warn"},
		env: []string{"PATH=" + programs.dir + ":" + netns.Path}, // its shim is there, runc and nft are the machine's
	}
}

func (c oneCluster) kubelet(node int, self Node) component {
	return component{name: "kubelet", args: []string{
		"--config=" + filepath.Join(c.nodeDir(node), "kubelet.yaml"), "--kubeconfig=" + c.file("pki", self.Name+".kubeconfig"),
		"--node-ip=" + self.Address.String(), "--hostname-override=" + self.Name, "--root-dir=/var/lib/kubelet",
	}}
}

func (c oneCluster) proxy(node int) component {
	return component{name: "kube-proxy", args: []string{"--config=" + filepath.Join(c.nodeDir(node), "kube-proxy.yaml")}}
}

// running is the components that were started, or were found running, and the processes they were.
type running []struct {
	daemon process.Daemon
	pid    int
}

// ended returns an error when one of them is no more.
func (r running) ended() error {
	for _, one := range r {
		if err := ended(one.daemon, one.pid); err != nil {
			return err
		}
	}
	return nil
}

// start starts components on a node unless they run, and notes them.
func (c oneCluster) start(ctx context.Context, all *running, programs programs, node int, components ...component) error {
	for _, what := range components {
		d, err := c.daemon(node, what.name, append([]string{programs.path(what.name)}, what.args...)...)
		if err != nil {
			return err
		}
		d.Env = append(netns.Environ(), what.env...)
		pid, err := d.Start(ctx)
		if err != nil {
			return fault.New(fault.Failed, "cannot start %s of the cluster %s: %w", what.name, c.name, err)
		}
		*all = append(*all, struct {
			daemon process.Daemon
			pid    int
		}{d, pid})
	}
	return nil
}
