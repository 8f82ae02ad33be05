package caddy

import (
	"context"
	"net/http"
	"reflect"
	"strconv"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

var _ traffic.Answerer = (*Router)(nil)

// answerID is the name of the object that answers a path of a host, beside the route of the host.
func answerID(host string) string { return "crossfade-answer:" + host }

// Answer puts a route with the text before those of the host.
func (r *Router) Answer(ctx context.Context, host, path, text string) error {
	var want any
	err := convert(routeConfig{
		ID: answerID(host), Match: []matchConfig{{Host: []string{host}, Path: []string{path}}}, Terminal: true,
		Handle: []handlerConfig{{Handler: "static_response", Status: strconv.Itoa(http.StatusOK), Body: text}},
	}, &want)
	if err != nil {
		return r.failure("have an answer for", host, err)
	}
	err = r.change(ctx, func(c *config) (bool, error) {
		if place := c.findID(answerID(host)); place != nil && place.listener(r.options.Listen) && reflect.DeepEqual(place.route(), want) {
			return false, nil
		}
		c.removeID(answerID(host)) // it goes before the host's route, wherever that is by now
		return true, c.add(r.options.Listen, want)
	})
	if err != nil {
		return r.failure("have an answer for", host, err)
	}
	return nil
}

// Silence takes that route away.
func (r *Router) Silence(ctx context.Context, host string) error {
	err := r.change(ctx, func(c *config) (bool, error) { return c.removeID(answerID(host)), nil })
	if err != nil {
		return r.failure("take the answer away for", host, err)
	}
	return nil
}
