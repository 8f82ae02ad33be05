package objects_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/crossfade-dev/crossfade/internal/cluster"
	"github.com/crossfade-dev/crossfade/internal/kube"
	"github.com/crossfade-dev/crossfade/internal/objects"
	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// copyVariable is set in processes that copy and may be killed: the kubeconfigs of both clusters, and a namespace, by spaces.
const copyVariable = "CROSSFADE_TEST_COPY"

func TestMain(m *testing.M) {
	if task := os.Getenv(copyVariable); task != "" {
		if err := copyTask(strings.Fields(task)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// copyTask copies a namespace from the context a to the context b and writes a line for each object.
func copyTask(task []string) error {
	a, err := kube.Connect(cluster.Access{Kubeconfig: task[0], Context: "a"})
	if err != nil {
		return err
	}
	b, err := kube.Connect(cluster.Access{Kubeconfig: task[1], Context: "b"})
	if err != nil {
		return err
	}
	o := options(only(task[2]))
	o.Tell = func(d outcome.Decision) { fmt.Println(d.Action, d.Object) }
	report, err := objects.Copy(context.Background(), a, b, o)
	if err != nil {
		return err
	}
	return report.Err()
}
