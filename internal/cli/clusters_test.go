package cli

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/crossfade-dev/crossfade/internal/kube/kubetest"
)

var update = flag.Bool("update", false, "write what the commands show into testdata/clusters")

// TestClusters runs the command lines in testdata/clusters, which have two clusters: the contexts blue of $KUBECONFIG and green of
// green of another kubeconfig. Besides the commands of TestScripts there are two that change a cluster:
// writes CLUSTER MANAGER FILE and deletes CLUSTER FILE.
func TestClusters(t *testing.T) {
	servers := map[string]*kubetest.Server{"blue": kubetest.Start(t, "blue"), "green": kubetest.Start(t, "green")}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/clusters", UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CROSSFADE_STATE", env.WorkDir+"/state")
			env.Setenv("KUBECONFIG", servers["blue"].Access.Kubeconfig)
			green, err := os.ReadFile(servers["green"].Access.Kubeconfig)
			if err != nil {
				return err
			}
			return os.WriteFile(env.WorkDir+"/green", green, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"writes": func(ts *testscript.TestScript, _ bool, args []string) {
				servers[args[0]].WriteAs(t, args[1], ts.ReadFile(args[2]))
			},
			"deletes": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, obj := range kubetest.Objects(t, ts.ReadFile(args[1])) {
					ts.Check(servers[args[0]].Connect(t).Delete(t.Context(), obj))
				}
			},
		},
	})
}
