package local

import _ "embed"

// addonsManifest is what every local cluster runs besides Kubernetes itself.
//
//go:embed addons.yaml
var addonsManifest string
