package gateway

import (
	"time"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// Within bounds how long the controller and the data plane may take to follow.
func (r *Router) Within(limit time.Duration) { r.within = limit }

// At sets the clock.
func (r *Router) At(now func() time.Time) { r.now = now }

// NameOf names the HTTPRoute of a live name.
var NameOf = nameOf

// ServiceOf is the name of the Service of one endpoint of a generation.
func ServiceOf(host, generation, endpoint string) string {
	return groupsOf(host, traffic.Side{Generation: generation, Endpoints: []string{endpoint}})[0].service
}
