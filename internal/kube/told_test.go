package kube

import "testing"

// TestTold: what applying has changed is said without what it has not.
func TestTold(t *testing.T) {
	for want, a := range map[string]Applied{
		"applied 1 object: 1 created":                             {Created: []string{"a"}},
		"applied 2 objects: 1 configured, 1 unchanged":            {Configured: []string{"a"}, Unchanged: []string{"b"}},
		"applied 3 objects: 1 created, 1 configured, 1 unchanged": {Created: []string{"a"}, Configured: []string{"b"}, Unchanged: []string{"c"}},
	} {
		if got := a.told(len(a.Created) + len(a.Configured) + len(a.Unchanged)); got != want {
			t.Errorf("told() = %q, want %q", got, want)
		}
	}
}
