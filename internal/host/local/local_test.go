package local_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/crossfade-dev/crossfade/internal/host/conformance"
	"github.com/crossfade-dev/crossfade/internal/host/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { conformance.Run(t, local.New("here")) }
