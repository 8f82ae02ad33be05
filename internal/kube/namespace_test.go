package kube

import "testing"

func TestIsSystemNamespace(t *testing.T) {
	tests := map[string]bool{"kube-system": true, "kube-public": true, SystemNamespace: true, "default": false, "shop": false, "kubernetes-dashboard": false}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			if got := IsSystemNamespace(name); got != want {
				t.Errorf("%t, want %t", got, want)
			}
		})
	}
}
