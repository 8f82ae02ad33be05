package local

import (
	"os"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/kubeconfig"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/node"
	"github.com/crossfade-dev/crossfade/internal/cluster/local/pki"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// clients are the users of the API server among the components: name of the files, user and groups.
var clients = []pki.Leaf{
	{Name: "admin", User: "kubernetes-admin", Groups: []string{"system:masters"}},
	// One identity for all controllers, so that it needs what all of them need.
	{Name: "kube-controller-manager", User: "system:kube-controller-manager", Groups: []string{"system:masters"}},
	{Name: "kube-scheduler", User: "system:kube-scheduler"},
	{Name: "kube-proxy", User: "system:kube-proxy"},
	{Name: "provisioner", User: "crossfade:provisioner"},
}

// ensureCertificates makes the keys, certificates and kubeconfigs of the cluster, where they are missing or for other addresses.
func (c oneCluster) ensureCertificates(nodes []Node) error {
	if err := c.issueAll(nodes); err != nil {
		return fault.New(fault.Failed, "cannot make the certificates of the cluster %s: %w", c.name, err)
	}
	for _, client := range clients {
		if err := c.writeKubeconfig(c.file("pki", client.Name+".kubeconfig"), client.Name, nodes); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := c.writeKubeconfig(c.file("pki", n.Name+".kubeconfig"), n.Name, nodes); err != nil {
			return err
		}
	}
	return c.writeKubeconfig(c.file("kubeconfig"), "admin", nodes)
}

func (c oneCluster) issueAll(nodes []Node) error {
	authority, err := pki.Open(c.file("pki"), c.now)
	if err != nil {
		return err
	}
	// Authorities of their own: no client of the API server may pass for one of etcd's, or for the API server's aggregation.
	etcd, err := pki.Open(c.file("pki", "etcd-ca"), c.now)
	if err != nil {
		return err
	}
	front, err := pki.Open(c.file("pki", "front-ca"), c.now)
	if err != nil {
		return err
	}
	leaves := append([]pki.Leaf{
		{Name: "kube-apiserver", User: "kube-apiserver", Server: true, Hosts: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + node.ClusterDomain,
			node.APIService.String(), nodes[0].Address.String(),
		}},
		{Name: "kubelet-client", User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	}, clients...)
	for _, n := range nodes {
		leaves = append(leaves, pki.Leaf{
			Name: n.Name, User: "system:node:" + n.Name, Groups: []string{"system:nodes"},
			Server: true, Hosts: []string{n.Name, n.Address.String()},
		})
	}
	for _, one := range []struct {
		authority *pki.Authority
		leaves    []pki.Leaf
	}{
		{authority, leaves},
		{etcd, []pki.Leaf{{Name: "server", User: "etcd", Server: true, Hosts: []string{"127.0.0.1"}}, {Name: "client", User: "kube-apiserver"}}},
		{front, []pki.Leaf{{Name: "front-proxy", User: "front-proxy"}}},
	} {
		for _, leaf := range one.leaves {
			if _, err := one.authority.Issue(leaf); err != nil {
				return err
			}
		}
	}
	return authority.Key("service-accounts")
}

// entry returns the access to the cluster with the certificate of the given name.
func (c oneCluster) entry(certificate string, nodes []Node) (kubeconfig.Entry, error) {
	e := kubeconfig.Entry{Name: c.name, Server: server(nodes)}
	for _, part := range []struct {
		to   *[]byte
		file string
	}{{&e.Authority, "ca.crt"}, {&e.Certificate, certificate + ".crt"}, {&e.Key, certificate + ".key"}} {
		raw, err := os.ReadFile(c.file("pki", part.file))
		if err != nil {
			return e, fault.New(fault.Failed, "cannot read the access to the cluster %s: %w", c.name, err)
		}
		*part.to = raw
	}
	return e, nil
}

func (c oneCluster) writeKubeconfig(file, certificate string, nodes []Node) error {
	e, err := c.entry(certificate, nodes)
	if err != nil {
		return err
	}
	return kubeconfig.Write(file, e.Config())
}
