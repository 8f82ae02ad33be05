package test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/crossfade-dev/crossfade/internal/objects/outcome"
)

// corpus is where real public manifests may be found; it is no part of the project.
const corpus = "../../shared/corpus"

// pair is two clusters of a world, and one kubeconfig for both.
type pair struct {
	*world
	kubeconfig string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	w := newWorld(t)
	p := &pair{world: w, kubeconfig: filepath.Join(w.config, "kubeconfig")}
	w.must("local", "create", "blue", "green", "--kubeconfig", p.kubeconfig)
	program := filepath.Join(t.TempDir(), "gardener")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, "./gardener")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.must("local", "push", "test/gardener:v1", program)
	return p
}

// kubectl runs kubectl on one of the clusters.
func (p *pair) kubectl(cluster, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../bin/lab/kubectl", append([]string{"--kubeconfig", p.kubeconfig, "--context", cluster}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("kubectl %s in %s: %w\n%s", strings.Join(args, " "), cluster, err, &errs)
	}
	return out.String(), err
}

func (p *pair) mustKubectl(cluster, stdin string, args ...string) string {
	p.t.Helper()
	out, err := p.kubectl(cluster, stdin, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// copy copies from blue to green and returns the report and the exit status.
func (p *pair) copy(args ...string) (outcome.Report, finished) {
	p.t.Helper()
	o := p.run(append([]string{"copy", "--kubeconfig", p.kubeconfig, "--from", "blue", "--to", "green", "-o", "json"}, args...)...)
	var shown struct {
		Report outcome.Report `json:"report"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &shown); err != nil {
		p.t.Fatalf("exit %d: %v in\n%s%s", o.status, err, o.stdout, o.stderr)
	}
	return shown.Report, o
}

// apply applies objects, again while the cluster does not know the way to a webhook yet.
func (p *pair) apply(cluster, text string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := p.kubectl(cluster, text, "apply", "-f", "-")
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "failed to call webhook") || time.Now().After(deadline) {
			p.t.Fatal(err)
		}
	}
}

// manifest is an object of a file: what kubectl needs to find it.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct{ Name, Namespace string }
}

// list reads all objects of a manifest's kind, by namespace and name.
func (p *pair) list(cluster string, m manifest) map[string]map[string]any {
	p.t.Helper()
	resource := m.Kind
	if group, version, grouped := strings.Cut(m.APIVersion, "/"); grouped {
		resource += "." + version + "." + group
	}
	var found struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(p.mustKubectl(cluster, "", "get", resource, "--all-namespaces", "-o", "json")), &found); err != nil {
		p.t.Fatal(err)
	}
	byName := map[string]map[string]any{}
	for _, obj := range found.Items {
		meta := obj["metadata"].(map[string]any) //nolint:forcetypeassert // it comes from an API server
		namespace, _ := meta["namespace"].(string)
		byName[fmt.Sprint(namespace, "/", meta["name"])] = obj
	}
	return byName
}

// sameInBoth compares the objects of manifests in both clusters, by rules of its own that share no code with the product.
func (p *pair) sameInBoth(manifests []manifest) {
	p.t.Helper()
	lists := map[string]map[string]map[string]any{}
	for _, m := range manifests {
		for _, cluster := range []string{"blue", "green"} {
			key := cluster + m.APIVersion + m.Kind
			if lists[key] == nil {
				lists[key] = p.list(cluster, m)
			}
		}
		name := m.Metadata.Namespace + "/" + m.Metadata.Name
		blue, green := lists["blue"+m.APIVersion+m.Kind][name], lists["green"+m.APIVersion+m.Kind][name]
		if blue == nil || green == nil {
			p.t.Errorf("%s %s: blue has it: %t, green has it: %t", m.Kind, name, blue != nil, green != nil)
			continue
		}
		if diff := cmp.Diff(essence(blue), essence(green)); diff != "" {
			p.t.Errorf("%s %s (-blue +green):\n%s", m.Kind, name, diff)
		}
	}
}

// essence is what of an object its author has said, and what follows from that alone.
func essence(obj map[string]any) map[string]any {
	delete(obj, "status")
	meta := obj["metadata"].(map[string]any) //nolint:forcetypeassert // it comes from an API server
	for _, key := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers"} {
		delete(meta, key)
	}
	for _, kind := range []string{"labels", "annotations"} {
		entries, _ := meta[kind].(map[string]any)
		for key, value := range entries {
			if strings.HasPrefix(key, "crossfade.dev/") || value == "crossfade-withheld" || key == "kubectl.kubernetes.io/last-applied-configuration" || key == "deployment.kubernetes.io/revision" ||
				key == "deprecated.daemonset.template.generation" {
				delete(entries, key)
			}
		}
		if len(entries) == 0 {
			delete(meta, kind)
		}
	}
	spec, _ := obj["spec"].(map[string]any)
	switch obj["kind"] {
	case "Service":
		if spec["clusterIP"] != "None" {
			delete(spec, "clusterIP")
			delete(spec, "clusterIPs")
		}
		if spec["type"] == "LoadBalancer" { // its node ports are the cluster's choice
			for _, port := range spec["ports"].([]any) { //nolint:forcetypeassert // a Service has ports
				delete(port.(map[string]any), "nodePort") //nolint:forcetypeassert // of this shape
			}
		}
	case "CronJob":
		delete(spec, "suspend") // it must not run in both
	}
	return obj
}

// read returns the objects of a YAML file, and its text.
func read(t *testing.T, file string) ([]manifest, string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(raw)), string(raw)
}

func parse(t *testing.T, text string) []manifest {
	t.Helper()
	var all []manifest
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var m manifest
		if err := documents.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if m.Kind != "" {
			all = append(all, m)
		}
	}
}

// certificate makes a certificate of a webhook's Service, and its key, in PEM and base64.
func certificate(t *testing.T, name string) (crt, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", secret)
}

// TestCopy copies between two whole clusters: workloads run in the second, its operator makes what operators make, its webhook
// admits and refuses. The copy is killed on its way and goes on; a second one writes nothing; a following carries changes over.
func TestCopy(t *testing.T) {
	t.Parallel() // it waits, most of its time
	p := newPair(t)
	crt, key := certificate(t, "gardener.garden.svc")
	var all []manifest
	for _, name := range []string{"cluster", "operator", "gardens", "work"} {
		_, text := read(t, "testdata/copy/"+name+".yaml")
		text = strings.NewReplacer("TLS_CRT", crt, "TLS_KEY", key).Replace(text)
		all = append(all, parse(t, text)...)
		p.apply("blue", text)
		if name == "operator" {
			p.mustKubectl("blue", "", "-n", "garden", "rollout", "status", "deployment/gardener", "--timeout=2m")
		}
	}
	p.runs("blue")
	p.t.Run("Killed", func(*testing.T) { p.killCopies() })
	report, o := p.copy()
	if o.status != 0 {
		t.Fatalf("exit %d: %+v\n%s", o.status, report, o.stderr)
	}
	p.runs("green")
	p.sameInBoth(all)
	if by := p.planOf("green"); by == "" || by == p.planOf("blue") {
		t.Errorf("the plan of the roses was made by %q, not by green's own operator", by)
	}
	if _, err := p.kubectl("green", "{apiVersion: test.crossfade.dev/v1, kind: Garden, metadata: {name: park, namespace: garden}, spec: {beds: 101}}", "create", "-f", "-"); err == nil ||
		!strings.Contains(err.Error(), "101 beds are too many") {
		t.Errorf("green's webhook did not refuse: %v", err)
	}
	p.writesNothing()
	p.nothingDiffers()
	t.Run("Follow", func(t *testing.T) { p.follows(t) })
	t.Run("Corpus", func(t *testing.T) { p.corpus(t) })
	t.Run("HandOver", func(t *testing.T) { p.handsOver(t) })
}

// runs waits until all workloads of the fixtures run in a cluster, and its operator has done its work.
func (p *pair) runs(cluster string) {
	p.t.Helper()
	for _, workload := range []string{"garden deployment/gardener", "nursery deployment/shop", "nursery statefulset/barrow", "nursery daemonset/worms"} {
		namespace, name, _ := strings.Cut(workload, " ")
		p.mustKubectl(cluster, "", "-n", namespace, "rollout", "status", name, "--timeout=2m")
	}
	p.mustKubectl(cluster, "", "-n", "garden", "wait", "--for=create", "configmap/plan-roses", "--timeout=1m")
	p.mustKubectl(cluster, "", "-n", "nursery", "wait", "--for=create", "configmap/plan-herbs", "--timeout=1m")
}

func (p *pair) planOf(cluster string) string {
	return p.mustKubectl(cluster, "", "-n", "garden", "get", "configmap", "plan-roses", "-o", "jsonpath={.data.by}")
}

// killCopies starts copies and kills each a bit later than the one before.
func (p *pair) killCopies() {
	for _, after := range []time.Duration{100, 250, 500, 900} {
		ctx, cancel := context.WithTimeout(p.t.Context(), after*time.Millisecond)
		err := p.command(ctx, "copy", "--kubeconfig", p.kubeconfig, "--from", "blue", "--to", "green").Run()
		cancel()
		p.t.Logf("a copy, killed after %v: %v", after*time.Millisecond, err)
	}
}

// writesNothing copies once more and wants nothing to be written.
func (p *pair) writesNothing() {
	p.t.Helper()
	report, o := p.copy()
	if o.status != 0 || report.Copied() != 0 || report.Deleted != 0 {
		p.t.Errorf("a second copy: exit %d, %d created, %d updated, %d deleted\n%s", o.status, report.Created, report.Updated, report.Deleted, written(o.stdout))
	}
}

// nothingDiffers wants the product itself to find both clusters the same.
func (p *pair) nothingDiffers() {
	p.t.Helper()
	if o := p.run("diff", "--kubeconfig", p.kubeconfig, "--from", "blue", "--to", "green"); o.status != 0 {
		p.t.Errorf("diff: exit %d\n%s%s", o.status, o.stdout, o.stderr)
	}
}

// written lists the decisions of a copy that wrote.
func written(stdout string) string {
	lines := slices.DeleteFunc(strings.Split(stdout, "\n"), func(line string) bool {
		return !strings.Contains(line, `"action":"`) || strings.Contains(line, `"skip"`) || strings.Contains(line, `"unchanged"`)
	})
	return strings.Join(lines, "\n")
}

// follows changes, makes and deletes objects while a copy follows, and looks for each change on the other side.
func (p *pair) follows(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := p.command(ctx, "copy", "--kubeconfig", p.kubeconfig, "--from", "blue", "--to", "green", "--follow", "-o", "json")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := json.NewDecoder(out)
	for {
		var line map[string]json.RawMessage
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("it never was in step: %v\n%s", err, &errs)
		}
		if line["report"] != nil {
			break
		}
	}
	read := make(chan error)
	go func() {
		_, err := io.Copy(io.Discard, io.MultiReader(lines.Buffered(), out))
		read <- err
	}()
	p.mustKubectl("blue", "", "-n", "nursery", "create", "configmap", "new", "--from-literal=a=b")
	p.mustKubectl("blue", "", "-n", "nursery", "patch", "configmap", "settings", "-p", `{"data":{"greeting":"hello"}}`)
	p.mustKubectl("blue", "", "-n", "nursery", "delete", "networkpolicy", "shop")
	p.mustKubectl("blue", "", "-n", "garden", "delete", "garden", "roses")
	p.mustKubectl("green", "", "-n", "nursery", "wait", "--for=create", "configmap/new", "--timeout=30s")
	p.mustKubectl("green", "", "-n", "nursery", "wait", "--for=jsonpath={.data.greeting}=hello", "configmap/settings", "--timeout=30s")
	p.mustKubectl("green", "", "-n", "nursery", "wait", "--for=delete", "networkpolicy/shop", "--timeout=30s")
	p.mustKubectl("green", "", "-n", "garden", "wait", "--for=delete", "garden/roses", "configmap/plan-roses", "--timeout=30s")
	cancel()
	if err := <-read; err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("an interrupt ends a following well: %v\n%s", err, &errs)
	}
}

// corpus does the same with real public manifests, where they are at hand: none of their images can be pulled, but every object can be
// compared.
func (p *pair) corpus(t *testing.T) {
	if _, err := os.Stat(corpus); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("there are no public manifests in %s", corpus)
	}
	var all []manifest
	load := func(pattern string, args ...string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(corpus, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		var text strings.Builder
		for _, file := range files {
			_, content := read(t, file)
			text.WriteString("---\n" + content + "\n")
		}
		var made struct{ Items []manifest }
		out := p.mustKubectl("blue", text.String(), append(args, "apply", "--server-side", "-o", "json", "-f", "-")...)
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		all = append(all, made.Items...)
	}
	p.mustKubectl("blue", "", "create", "namespace", "boutique")
	load("boutique/release/*.yaml", "--namespace", "boutique")
	load("kube-prometheus/manifests/setup/*.yaml")
	p.mustKubectl("blue", "", "wait", "--for=condition=established", "crd", "--all", "--timeout=1m")
	load("kube-prometheus/manifests/*.yaml")
	report, o := p.copy()
	if o.status != 0 {
		t.Fatalf("exit %d: %+v\n%s", o.status, report, o.stderr)
	}
	t.Logf("comparing %d objects", len(all))
	p.sameInBoth(slices.DeleteFunc(all, func(m manifest) bool {
		return m.Metadata.Namespace == "kube-system" // belongs to how a cluster was built
	}))
	p.writesNothing()
	p.nothingDiffers()
}
