// Package platform is the configuration of the demo, as the owners of a small shop would write it, and what somebody put
// into their cluster by hand. It is part of the program, so that the demo runs from the one binary.
package platform

import (
	"embed"
	"fmt"
	"os"
)

// Image is what all services of the demo run.
const Image = "registry.crossfade.local/shop/shop:v1"

// Existing is the directory, within what WriteTo writes, of the objects that somebody applied by hand.
const Existing = "existing"

//go:embed all:checks all:existing all:prime all:services *.yaml
var files embed.FS

// WriteTo writes the configuration into the directory, which must exist and hold nothing of the same names. The documents
// of the platform are in it; the manifests that they refer to are below.
func WriteTo(dir string) error {
	if err := os.CopyFS(dir, files); err != nil {
		return fmt.Errorf("cannot write the demo's configuration to %s: %w", dir, err)
	}
	return nil
}
