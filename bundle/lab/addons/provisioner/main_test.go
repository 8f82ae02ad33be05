package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func options(edit func(*v1.PersistentVolumeClaimSpec)) controller.ProvisionOptions {
	keep := v1.PersistentVolumeReclaimDelete
	claim := &v1.PersistentVolumeClaim{Spec: v1.PersistentVolumeClaimSpec{
		AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
		Resources:   v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if edit != nil {
		edit(&claim.Spec)
	}
	return controller.ProvisionOptions{PVName: "pvc-1", PVC: claim, StorageClass: &storage.StorageClass{ReclaimPolicy: &keep}}
}

func TestProvisionAndDelete(t *testing.T) {
	d := directories{root: filepath.Join(t.TempDir(), "volumes")}
	var volume *v1.PersistentVolume
	for range 2 { // again makes the same
		var err error
		if volume, _, err = d.Provision(t.Context(), options(nil)); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(d.root, "pvc-1")
	if got := volume.Spec.HostPath.Path; got != dir {
		t.Errorf("the volume is at %s, want %s", got, dir)
	}
	if got := volume.Spec.Capacity[v1.ResourceStorage]; got.String() != "1Gi" {
		t.Errorf("its capacity is %s", got.String())
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("its mode is %v, %v; any pod must be able to write", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Delete(t.Context(), volume); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the delete: %v", err)
	}
}

func TestRefusedClaims(t *testing.T) {
	block := v1.PersistentVolumeBlock
	d := directories{root: t.TempDir()}
	for name, edit := range map[string]func(*v1.PersistentVolumeClaimSpec){
		"a selector": func(s *v1.PersistentVolumeClaimSpec) { s.Selector = &metav1.LabelSelector{} },
		"a block":    func(s *v1.PersistentVolumeClaimSpec) { s.VolumeMode = &block },
	} {
		if _, _, err := d.Provision(t.Context(), options(edit)); err == nil {
			t.Errorf("a claim with %s got a volume", name)
		}
	}
}

// TestDeleteOnlyOwn checks that a volume that somebody else made, of a path of their choice, is left alone.
func TestDeleteOnlyOwn(t *testing.T) {
	precious := t.TempDir()
	d := directories{root: t.TempDir()}
	for _, source := range []v1.PersistentVolumeSource{
		{}, {HostPath: &v1.HostPathVolumeSource{Path: precious}}, {HostPath: &v1.HostPathVolumeSource{Path: filepath.Join(d.root, "..")}},
	} {
		volume := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-1"}, Spec: v1.PersistentVolumeSpec{PersistentVolumeSource: source}}
		var ignored *controller.IgnoredError
		if err := d.Delete(t.Context(), volume); !errors.As(err, &ignored) {
			t.Errorf("%+v: %v, want it ignored", source, err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
