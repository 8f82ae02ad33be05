package image

import "time"

// Nearest is nearest.
var Nearest = nearest

// Limited returns the client with another limit of one call.
func Limited(c Client, limit time.Duration) Client {
	c.limit = limit
	return c
}
