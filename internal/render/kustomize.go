package render

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

var kustomizationNames = konfig.RecognizedKustomizationFileNames()

// kustomizeObjects builds a kustomization. It runs no plugins and fetches nothing: kustomize itself would clone whatever is
// not a path on disk, so every reference is looked at before.
func kustomizeObjects(dir string) ([]*unstructured.Unstructured, error) {
	if err := checkLocal(dir, nil); err != nil {
		return nil, err
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot build the kustomization %s: %s", dir, oneLine(err)).
			WithHint("kubectl kustomize %s shows the same problem", dir)
	}
	var objs []*unstructured.Unstructured
	for _, resource := range built.Resources() {
		raw, err := resource.MarshalJSON()
		if err != nil {
			return nil, fault.New(fault.Invalid, "cannot read %s of the kustomization %s: %w", resource.CurId(), dir, err)
		}
		more, err := parse(filepath.Join(dir, resource.CurId().String()), raw)
		if err != nil {
			return nil, err
		}
		objs = append(objs, more...)
	}
	return objs, nil
}

// checkLocal walks a kustomization and those it refers to, and refuses references that are not on this disk. The chain is
// of the directories that led here.
func checkLocal(dir string, chain []string) error {
	if slices.Contains(chain, dir) {
		return fault.New(fault.Invalid, "cannot build the kustomization %s: it refers to itself: %s", dir, strings.Join(append(chain, dir), " -> ")).
			WithHint("remove one of the references")
	}
	file, err := kustomizationFile(dir)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return unreadable(file, err)
	}
	var k types.Kustomization
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return invalid(file, lineOf(err), "%s", parseReason(err))
	}
	for _, path := range fileReferences(k) {
		if strings.Contains(path, "://") {
			return notLocal(file, path)
		}
	}
	//lint:ignore SA1019 users still have it, and kustomize still reads it
	for _, path := range slices.Concat(k.Resources, k.Bases, k.Components) {
		info, err := os.Stat(resolve(dir, path))
		if err != nil {
			return notLocal(file, path)
		}
		if manifest := resolve(dir, path); info.IsDir() {
			if err := checkLocal(manifest, append(slices.Clone(chain), dir)); err != nil {
				return err
			}
		} else if _, err := readFile(manifest); err != nil { // for the line, which kustomize does not tell
			return err
		}
	}
	return nil
}

func kustomizationFile(dir string) (string, error) {
	for _, name := range kustomizationNames {
		if file := filepath.Join(dir, name); isFile(file) {
			return file, nil
		}
	}
	return "", fault.New(fault.Invalid, "cannot build the kustomization %s: there is no kustomization.yaml in it", dir).
		WithHint("name the directory that holds it; plain manifests go under files")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// fileReferences are the files that a kustomization reads beside its resources. Some may be inline YAML.
func fileReferences(k types.Kustomization) []string {
	paths := slices.Concat(k.Crds, k.Configurations, k.Generators, k.Transformers, k.Validators)
	//lint:ignore SA1019 users still have it, and kustomize still reads it
	for _, p := range k.PatchesStrategicMerge {
		if !strings.Contains(string(p), "\n") {
			paths = append(paths, string(p))
		}
	}
	//lint:ignore SA1019 users still have it, and kustomize still reads it
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		paths = append(paths, p.Path)
	}
	for _, r := range k.Replacements {
		paths = append(paths, r.Path)
	}
	for _, c := range k.ConfigMapGenerator {
		paths = slices.Concat(paths, c.FileSources, c.EnvSources, []string{c.EnvSource})
	}
	for _, s := range k.SecretGenerator {
		paths = slices.Concat(paths, s.FileSources, s.EnvSources, []string{s.EnvSource})
	}
	return append(paths, k.OpenAPI["path"])
}

func notLocal(file, path string) error {
	return fault.New(fault.Invalid, "cannot build the kustomization %s: %s is not on this disk", file, path).
		WithHint("fetch remote bases into the repository (a vendor directory, a submodule); nothing is fetched while rendering")
}
