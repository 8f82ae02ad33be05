// Crossfade-velero is Velero with a store of backups in a directory, so that what Velero takes can be measured on API servers
// without a cloud around them. Only the bench builds and runs it.
package main

import (
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	"github.com/vmware-tanzu/velero/pkg/cmd"
	"github.com/vmware-tanzu/velero/pkg/cmd/velero"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/crossfade-dev/crossfade/bundle/velero/files"
)

// pluginName is under which name the program is the plugin that stores backups: Velero starts plugins by nothing but their file.
const pluginName = "crossfade-files"

// provider is what a BackupStorageLocation names the plugin by.
const provider = "crossfade.dev/files"

func main() {
	name := filepath.Base(os.Args[0])
	if name == pluginName {
		framework.NewServer().RegisterObjectStore(provider, newStore).Serve()
		return
	}
	server.DefaultBindAddress = "0" // a second server of metrics, that no flag keeps from listening to the whole network
	cmd.CheckError(velero.NewCommand(name).Execute())
}

// newStore makes a store that Velero initialises.
func newStore(logrus.FieldLogger) (any, error) { return new(files.Store), nil }
