package platform

import (
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestPodsAreRestricted holds every pod to the Pod Security Standard "restricted", which the namespaces enforce, and to
// what a platform team asks for besides.
func TestPodsAreRestricted(t *testing.T) {
	for from, p := range load(t).pods() {
		for _, problem := range podProblems(p.Spec) {
			t.Errorf("%s: %s", from, problem)
		}
	}
}

// podProblems says what is wrong with a pod.
func podProblems(p core.PodSpec) (problems []string) {
	must := func(holds bool, problem string) {
		if !holds {
			problems = append(problems, problem)
		}
	}
	s := p.SecurityContext
	must(s != nil && s.RunAsNonRoot != nil && *s.RunAsNonRoot && s.RunAsUser != nil && *s.RunAsUser != 0, "may run as root")
	must(s != nil && s.SeccompProfile != nil && s.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault, "has no seccomp profile")
	must(p.AutomountServiceAccountToken != nil, "does not say whether it needs a token")
	must(len(p.Containers) == 1, "has not one container")
	c := p.Containers[0]
	must(c.Image == Image, "runs the image "+c.Image)
	must(len(c.Args) == 1 && strings.Contains("web orders worker tick smoke", c.Args[0]), "runs no command of the shop")
	must(!c.Resources.Requests.Cpu().IsZero() && c.Resources.Requests.Cpu().Cmp(resource.MustParse("50m")) <= 0, "asks for no CPU, or for much")
	must(!c.Resources.Limits.Memory().IsZero(), "has no memory limit")
	sc := c.SecurityContext
	must(sc != nil && sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation, "may gain privileges")
	must(sc != nil && sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem, "may write to its root file system")
	must(sc != nil && sc.Capabilities != nil && len(sc.Capabilities.Drop) == 1 && sc.Capabilities.Drop[0] == "ALL", "keeps capabilities")
	if p.RestartPolicy == core.RestartPolicyNever {
		return problems
	}
	must(c.ReadinessProbe != nil && c.StartupProbe != nil, "cannot be seen to be ready")
	must(c.LivenessProbe != nil && c.LivenessProbe.HTTPGet.Path == "/livez", "is restarted by what others do")
	return problems
}

// TestGracePeriods holds for servers what the shop's program needs to leave in good order: 5 s in which it lingers, if
// anybody calls it, and 35 s for the longest request.
func TestGracePeriods(t *testing.T) {
	for from, p := range load(t).pods() {
		want := map[string]int64{"web": 41, "orders": 41, "worker": 36}[p.Spec.Containers[0].Args[0]]
		if got := p.Spec.TerminationGracePeriodSeconds; want > 0 && (got == nil || *got < want) {
			t.Errorf("%s is killed before it has ended: grace period %v, needs %d s", from, got, want)
		}
	}
}

// TestQuotasFit sums up what a namespace's pods ask for, one more of each workload while it is rolled out.
func TestQuotasFit(t *testing.T) {
	w := load(t)
	used := map[string]core.ResourceList{}
	add := func(namespace string, r core.ResourceName, q resource.Quantity, times int64) {
		if used[namespace] == nil {
			used[namespace] = core.ResourceList{}
		}
		sum := used[namespace][r]
		for range times {
			sum.Add(q)
		}
		used[namespace][r] = sum
	}
	for _, o := range w.all() {
		if d, ok := o.(*apps.Deployment); ok {
			c, n := d.Spec.Template.Spec.Containers[0], int64(*d.Spec.Replicas)+1
			add(d.Namespace, core.ResourcePods, resource.MustParse("1"), n)
			add(d.Namespace, core.ResourceRequestsCPU, *c.Resources.Requests.Cpu(), n)
			add(d.Namespace, core.ResourceRequestsMemory, *c.Resources.Requests.Memory(), n)
			add(d.Namespace, core.ResourceLimitsMemory, *c.Resources.Limits.Memory(), n)
		}
	}
	for _, o := range w.all() {
		q, ok := o.(*core.ResourceQuota)
		if !ok {
			continue
		}
		for r, sum := range used[q.Namespace] {
			if hard, bound := q.Spec.Hard[r]; bound && hard.Cmp(sum) < 0 {
				t.Errorf("%s allows %s of %s and its pods need up to %s", name(q), hard.String(), r, sum.String())
			}
		}
	}
}
