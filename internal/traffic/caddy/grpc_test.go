package caddy_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/crossfade-dev/crossfade/internal/traffic"
)

// serveGRPC is a generation with a gRPC service, whose streams tell something ten times a second.
func serveGRPC(t *testing.T, generation string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	says := grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("generation", generation))
		return handle(ctx, req)
	})
	s, status := grpc.NewServer(says), health.NewServer()
	healthpb.RegisterHealthServer(s, status)
	go func() { _ = s.Serve(l) }()
	stop := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for up := false; ; up = !up {
			now := healthpb.HealthCheckResponse_SERVING
			if !up {
				now = healthpb.HealthCheckResponse_NOT_SERVING
			}
			status.SetServingStatus("shop", now)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); telling.Wait(); s.Stop() })
	return l.Addr().String()
}

// TestGRPC moves users of a gRPC service to and fro: no call fails, and streams go on for as long as they last.
func TestGRPC(t *testing.T) {
	router, _ := startEdge(t)
	g1, g2 := serveGRPC(t, "g1"), serveGRPC(t, "g2")
	shift := func(weight int) {
		apply(t, router, traffic.Route{Host: "shop.example.com", H2C: true, Drain: time.Minute, Sides: []traffic.Side{
			{Generation: "g1", Endpoints: []string{g1}, Weight: 100 - weight}, {Generation: "g2", Endpoints: []string{g2}, Weight: weight},
		}})
	}
	shift(0)
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(router.Entry(), "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("shop.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var users sync.WaitGroup
	var calls, failed, told atomic.Int64
	var by sync.Map
	for range 10 {
		stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		users.Go(func() {
			for {
				if _, err := stream.Recv(); ctx.Err() != nil {
					return
				} else if err != nil {
					t.Errorf("a stream broke: %v", err)
					return
				}
				told.Add(1)
			}
		})
		users.Go(func() {
			for ctx.Err() == nil {
				var trailer metadata.MD
				_, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Trailer(&trailer))
				switch {
				case ctx.Err() != nil:
				case err != nil:
					failed.Add(1)
					t.Errorf("a call failed: %v", err)
				default:
					calls.Add(1)
					by.Store(trailer.Get("generation")[0], true)
				}
				<-time.After(10 * time.Millisecond)
			}
		})
	}
	for _, weight := range []int{5, 50, 100, 50, 0, 100} {
		before, toldBefore := calls.Load(), told.Load()
		shift(weight)
		deadline := time.Now().Add(20 * time.Second)
		for tick := time.NewTicker(10 * time.Millisecond); calls.Load() < before+300 || told.Load() < toldBefore+20; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("at %d %%: %d calls, and %d messages of streams", weight, calls.Load()-before, told.Load()-toldBefore)
			}
		}
	}
	stop()
	users.Wait()
	t.Logf("%d calls, %d failed; 10 streams told %d times", calls.Load(), failed.Load(), told.Load())
	for _, generation := range []string{"g1", "g2"} {
		if _, answered := by.Load(generation); !answered {
			t.Errorf("%s has not answered", generation)
		}
	}
}
