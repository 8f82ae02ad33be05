package edge

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Server is the name of the edge's HTTP server in its configuration.
const Server = "crossfade"

// network is how the edge's server listens: so that no connection is lost when the configuration changes; see package hold
// of the edge bundle.
const network = "hold/"

// saved is where Caddy saves its configuration after every change; see daemon.
func (f files) saved() string { return f.file("config/caddy/autosave.json") }

// load returns the configuration that the edge had last, or nil when there is none.
func (f files) load() (map[string]any, error) {
	raw, err := os.ReadFile(f.saved())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nil means: none yet, and that is documented
	}
	var config map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &config)
	}
	if err != nil {
		// Caddy does not replace the file in one go: a crash at the wrong moment can tear it.
		return nil, fault.New(fault.Failed, "cannot read the saved configuration of the edge: %s: %w", f.saved(), err).
			WithHint("remove that file to start without routes; the next roll-over sets them again")
	}
	return config, nil
}

// listen returns the address of the entry point as configured last.
func (f files) listen() (string, error) {
	config, err := f.load()
	if err != nil {
		return "", err
	}
	if addresses, ok := at(config, "apps", "http", "servers", Server)["listen"].([]any); ok && len(addresses) > 0 {
		if s, ok := addresses[0].(string); ok {
			return strings.TrimPrefix(s, network), nil
		}
	}
	return DefaultListen, nil
}

// writeConfig writes what the edge starts with: what it had last, on the given address.
func (f files) writeConfig(listen string) error {
	config, err := f.load()
	if err != nil {
		return err
	}
	if config == nil {
		config = initial()
	}
	// The state directory may have been moved, and its admin endpoint must never be open to others.
	config["admin"] = map[string]any{"listen": "unix/" + f.file("admin.sock") + "|0600"}
	server := at(config, "apps", "http", "servers", Server)
	if server == nil {
		return fault.New(fault.Failed, "cannot start the edge: its saved configuration has no server %q: %s", Server, f.saved()).
			WithHint("remove that file to start without routes; the next roll-over sets them again")
	}
	server["listen"] = []any{network + listen}
	server["protocols"] = []any{"h1", "h2", "h2c"}
	server["listener_wrappers"] = []any{map[string]any{"wrapper": "hold"}}
	raw, err := json.Marshal(config)
	if err == nil {
		err = replace(f.file("start.json"), raw)
	}
	if err != nil {
		return fault.New(fault.Failed, "cannot write the configuration of the edge: %w", err)
	}
	return nil
}

// HealthPath is where the edge answers for itself, whatever the host that it has no route for: a load balancer in front of it asks there.
const HealthPath = "/healthz"

// initial is the configuration of an edge without routes: every host name is unknown.
func initial() map[string]any {
	answer := func(status int, body string) []any {
		return []any{map[string]any{"handler": "static_response", "status_code": status, "body": body}}
	}
	return map[string]any{"apps": map[string]any{"http": map[string]any{"servers": map[string]any{Server: map[string]any{
		"automatic_https": map[string]any{"disable": true},
		"routes": []any{
			map[string]any{"match": []any{map[string]any{"path": []any{HealthPath}}}, "handle": answer(200, "ok\n"), "terminal": true},
			map[string]any{"handle": answer(404, "no route for this host\n")},
		},
	}}}}}
}

// at walks down a configuration, nil when something on the way is missing.
func at(config map[string]any, path ...string) map[string]any {
	for _, name := range path {
		config, _ = config[name].(map[string]any)
	}
	return config
}

// replace writes a file, for its owner only, so that it is there whole or not at all.
func replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
