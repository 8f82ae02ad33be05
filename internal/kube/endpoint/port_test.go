package endpoint

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestChoosePort(t *testing.T) {
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 81}}},
	}
	tests := map[string]struct {
		port string
		want int32
		err  string
	}{
		"by name":   {port: "admin", want: 81},
		"by number": {port: "80", want: 80},
		"none":      {err: "cannot choose a port of the Service shop/web: it has 2"},
		"unknown":   {port: "x", err: "cannot route to the port x of the Service shop/web: it has no such port"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := choosePort(service, test.port)
			if got.Port != test.want || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("%d, %v; want %d, %s", got.Port, err, test.want, test.err)
			}
		})
	}
}
