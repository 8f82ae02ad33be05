package render

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// containerFields hold containers in every pod specification, also those inside custom resources.
var containerFields = []string{"containers", "initContainers", "ephemeralContainers"}

// Images lists the images that the objects' pods use, sorted, each once.
func Images(objs []*unstructured.Unstructured) []string {
	var images []string
	eachContainer(objs, func(container map[string]any) {
		if image, ok := container["image"].(string); ok && image != "" {
			images = append(images, image)
		}
	})
	slices.Sort(images)
	return slices.Compact(images)
}

// setVersion gives the version to every container whose image comes from the repository.
func setVersion(objs []*unstructured.Unstructured, repository, version string) error {
	if version == "" {
		return nil
	}
	if repository == "" {
		return fault.New(fault.Invalid, "cannot set the version %s: the service names no image", version).
			WithHint("set spec.image of the service to the repository whose tag is its version")
	}
	found := false
	eachContainer(objs, func(container map[string]any) {
		image, _ := container["image"].(string)
		if canonical(repositoryOf(image)) == canonical(repositoryOf(repository)) {
			container["image"], found = withVersion(repositoryOf(image), version), true
		}
	})
	if !found {
		return fault.New(fault.Invalid, "cannot set the version %s: no container uses the image %s", version, repository).
			WithHint("the manifests use %s", strings.Join(Images(objs), ", "))
	}
	return nil
}

func withVersion(repository, version string) string {
	if strings.HasPrefix(version, "sha256:") {
		return repository + "@" + version
	}
	return repository + ":" + version
}

// repositoryOf cuts tag and digest off an image reference. A colon before the last slash belongs to the registry's port.
func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}

// canonical spells out the registry and the "library" that Docker's short names leave out.
func canonical(repository string) string {
	host, rest, ok := strings.Cut(repository, "/")
	switch {
	case !ok:
		return "docker.io/library/" + repository
	case strings.ContainsAny(host, ".:") || host == "localhost":
		if host == "docker.io" && !strings.Contains(rest, "/") {
			return "docker.io/library/" + rest
		}
		return repository
	default:
		return "docker.io/" + repository
	}
}

func eachContainer(objs []*unstructured.Unstructured, visit func(map[string]any)) {
	for _, obj := range objs {
		if obj.GetKind() != "CustomResourceDefinition" { // its schema may describe containers, but has none
			walkContainers(obj.Object, visit)
		}
	}
}

func walkContainers(value any, visit func(map[string]any)) {
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			if list, ok := field.([]any); ok && slices.Contains(containerFields, key) {
				for _, item := range list {
					if container, ok := item.(map[string]any); ok {
						visit(container)
					}
				}
				continue
			}
			walkContainers(field, visit)
		}
	case []any:
		for _, item := range v {
			walkContainers(item, visit)
		}
	}
}
