package local

import "context"

// ID is the id of what has its files in a directory.
var ID = idOf

// PowerOff takes away what the end of the machine takes away of a cluster: all but its files.
func (p *Provider) PowerOff(ctx context.Context, name string) error {
	return p.cluster(name).removeRunning(ctx)
}
