package image_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/goleak"
)

// TestMain keeps the docker configuration of whoever runs the tests out of them, and looks that nothing goes on after them.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	home, err := os.MkdirTemp("", "image-home-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(home)
	for _, variable := range []string{"HOME", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		if err := os.Setenv(variable, home); err != nil {
			panic(err)
		}
	}
	status := m.Run()
	remote.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}
