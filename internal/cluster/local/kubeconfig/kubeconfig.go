// Package kubeconfig writes the access to clusters into kubeconfig files, and merges it into the ones that people have.
package kubeconfig

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Entry is the access to one cluster: its context, cluster and user all have the cluster's name.
type Entry struct {
	Name        string
	Server      string // https://ADDRESS:PORT
	Authority   []byte // the cluster's certificate authority, PEM
	Certificate []byte // of the user, PEM
	Key         []byte // of the user, PEM
}

// Config returns a kubeconfig with just this entry, in use.
func (e Entry) Config() *api.Config {
	config := api.NewConfig()
	e.put(config)
	config.CurrentContext = e.Name
	return config
}

func (e Entry) put(config *api.Config) {
	cluster, user, where := api.NewCluster(), api.NewAuthInfo(), api.NewContext()
	cluster.Server, cluster.CertificateAuthorityData = e.Server, e.Authority
	user.ClientCertificateData, user.ClientKeyData = e.Certificate, e.Key
	where.Cluster, where.AuthInfo = e.Name, e.Name
	config.Clusters[e.Name], config.AuthInfos[e.Name], config.Contexts[e.Name] = cluster, user, where
}

// Write writes a kubeconfig that only its owner can read; it appears complete or not at all.
func Write(file string, config *api.Config) error {
	raw, err := clientcmd.Write(*config)
	if err != nil {
		return fault.New(fault.Failed, "cannot encode the kubeconfig %s: %w", file, err)
	}
	fresh := file + ".new"
	if err := os.WriteFile(fresh, raw, 0o600); err != nil {
		return fault.New(fault.Failed, "cannot write the kubeconfig %s: %w", file, err)
	}
	if err := os.Rename(fresh, file); err != nil {
		return fault.New(fault.Failed, "cannot write the kubeconfig %s: %w", file, err)
	}
	return nil
}

// Merge puts the entries into a kubeconfig file, which is made when there is none. Other entries in it stay as they are; the
// current context is set when there was none. It may be called by several processes at once.
func Merge(ctx context.Context, file string, entries ...Entry) error {
	return change(ctx, file, func(config *api.Config) {
		for _, e := range entries {
			e.put(config)
			if config.CurrentContext == "" {
				config.CurrentContext = e.Name
			}
		}
	})
}

// Remove takes entries out of a kubeconfig file again. An entry that is not there, or is now another cluster's of the same
// name, is no error and stays as it is, and neither is a file that does not exist.
func Remove(ctx context.Context, file string, entries ...Entry) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return change(ctx, file, func(config *api.Config) {
		for _, e := range entries {
			if now := config.Clusters[e.Name]; now == nil || !bytes.Equal(now.CertificateAuthorityData, e.Authority) {
				continue
			}
			delete(config.Clusters, e.Name)
			delete(config.AuthInfos, e.Name)
			delete(config.Contexts, e.Name)
			if config.CurrentContext == e.Name {
				config.CurrentContext = ""
			}
		}
	})
}

// change rewrites the file. Two changes at once would lose one: the lock is on its directory, so that no lock file is left.
func change(ctx context.Context, file string, edit func(*api.Config)) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return fault.New(fault.Invalid, "cannot use the kubeconfig %s: %w", file, err)
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real // so that a link stays one
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fault.New(fault.Invalid, "cannot use the kubeconfig %s: %w", file, err)
	}
	lock, err := lockdir.Share(ctx, filepath.Dir(file))
	if err != nil {
		return fault.New(fault.Failed, "cannot change the kubeconfig %s: %w", file, err)
	}
	defer lock.Release()
	config, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		config, err = api.NewConfig(), nil
	}
	if err != nil {
		return fault.New(fault.Invalid, "cannot read the kubeconfig %s: %w", file, err)
	}
	edit(config)
	return Write(file, config)
}
