// Command provisioner makes the volumes of a local cluster's default StorageClass: each is a directory below the cluster's
// own, handed to pods as a hostPath. All nodes of a local cluster share the machine's file system, so a volume can be used
// on any of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the cluster")
	dir := flag.String("dir", "", "absolute path of the directory for the volumes")
	name := flag.String("provisioner", "crossfade.dev/local", "name of the provisioner in StorageClasses")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *dir, *name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, dir, name string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("cannot keep volumes in %q: the path is not absolute", dir)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot use the kubeconfig %s: %w", kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot use the kubeconfig %s: %w", kubeconfig, err)
	}
	controller.NewProvisionController(ctx, client, name, directories{root: dir},
		controller.LeaderElection(false), // there is one, and it is a process beside the API server
		controller.MetricsPort(0),
	).Run(ctx)
	return nil
}

// directories provisions volumes as directories below root. Every method may run again for the same volume.
type directories struct{ root string }

// path returns where a volume is. The library names volumes pvc-UID, so two never share a directory.
func (d directories) path(volume string) string { return filepath.Join(d.root, volume) }

// Provision makes the directory of a new volume, open to whatever user the pod runs as.
func (d directories) Provision(_ context.Context, o controller.ProvisionOptions) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if o.PVC.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("cannot make a volume for a claim with a selector")
	}
	if mode := o.PVC.Spec.VolumeMode; mode != nil && *mode == v1.PersistentVolumeBlock {
		return nil, controller.ProvisioningFinished, fmt.Errorf("cannot make a block volume: local clusters have directories only")
	}
	dir := d.path(o.PVName)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("cannot make the volume %s: %w", o.PVName, err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever the umask
		return nil, controller.ProvisioningFinished, fmt.Errorf("cannot open the volume %s to pods: %w", o.PVName, err)
	}
	mustExist := v1.HostPathDirectory
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			MountOptions:                  o.StorageClass.MountOptions,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: o.PVC.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeSource:        v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: dir, Type: &mustExist}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes a released volume's directory.
func (d directories) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	source := volume.Spec.HostPath
	if source == nil || source.Path != d.path(volume.Name) {
		return &controller.IgnoredError{Reason: "the volume is not a directory of this cluster"}
	}
	if err := os.RemoveAll(source.Path); err != nil {
		return fmt.Errorf("cannot remove the volume %s: %w", volume.Name, err)
	}
	return nil
}
