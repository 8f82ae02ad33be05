package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

func testCodec(t interface{ Fatal(...any) }, fill byte) codec {
	key := make([]byte, 32)
	key[0] = fill
	c, err := newCodec(key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCodec(t *testing.T) {
	mine, other := testCodec(t, 1), testCodec(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		plain := []*commonpb.Payload{{
			Metadata: map[string][]byte{"encoding": []byte("json/plain")},
			Data:     rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}}
		sealed, err := mine.Encode(plain)
		if err != nil {
			t.Fatal(err)
		}
		back, err := mine.Decode(sealed)
		if diff := cmp.Diff(plain, back, protocmp.Transform()); diff != "" || err != nil {
			t.Fatalf("Decode(Encode()) -want +got, %v:\n%s", err, diff)
		}
		if _, err := other.Decode(sealed); err == nil {
			t.Fatal("another key decrypted it")
		}
		at := rapid.IntRange(0, len(sealed[0].GetData())-1).Draw(t, "at")
		sealed[0].Data[at] ^= 1
		if _, err := mine.Decode(sealed); err == nil {
			t.Fatalf("a payload with byte %d changed was decrypted", at)
		}
	})
	if again, err := mine.Decode([]*commonpb.Payload{{Data: []byte("plain")}}); err != nil || string(again[0].GetData()) != "plain" {
		t.Errorf("a payload that is not encrypted: %v, %v", again, err)
	}
	if _, err := mine.Decode([]*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte(encrypted)}, Data: []byte("x")}}); err == nil {
		t.Error("a payload that is too short was decrypted")
	}
	if _, err := newCodec([]byte("short")); fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" {
		t.Errorf("newCodec() of a short key: %v", err)
	}
}

func TestErrors(t *testing.T) {
	refused := fault.New(fault.Refused, "check stock said no").WithHint("buy eggs")
	cases := map[string]struct {
		reason string
		err    error
		want   *fault.Error
		again  bool // whether the engine tries a step again that returned it
	}{
		"nil":         {reason: "no error stays none", err: nil, want: nil},
		"fault":       {reason: "code, text and hint stay", err: refused, want: shown(refused)},
		"wrapped":     {reason: "the whole text stays", err: fmt.Errorf("cannot open: %w", refused), want: &fault.Error{Code: fault.Refused, Message: "cannot open: check stock said no", Hint: "buy eggs"}},
		"unavailable": {reason: "only this code is tried again", err: fault.New(fault.Unavailable, "not yet"), want: &fault.Error{Code: fault.Unavailable, Message: "not yet"}, again: true},
		"any":         {reason: "an error without a code is final", err: errors.New("boom"), want: &fault.Error{Code: fault.Failed, Message: "boom"}},
		"cancelled":   {reason: "a cancelled context is a cancellation", err: context.Canceled, want: &fault.Error{Code: fault.Interrupted, Message: "the run was cancelled"}},
		"timeout":     {reason: "what Temporal made passes", err: temporal.NewTimeoutError(3, nil), want: &fault.Error{Code: fault.Failed, Message: "the run ran out of time (ScheduleToClose)"}},
		"foreign":     {reason: "an unknown type of error is a failure", err: temporal.NewApplicationError("odd", "Odd"), want: &fault.Error{Code: fault.Failed, Message: "odd"}, again: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			sent := toTemporal(c.err)
			got := Fault(sent)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: Fault(toTemporal()) -want +got:\n%s", c.reason, diff)
			}
			if a, ok := errors.AsType[*temporal.ApplicationError](sent); ok && a.NonRetryable() == c.again {
				t.Errorf("%s: tried again %v, want %v", c.reason, !a.NonRetryable(), c.again)
			}
		})
	}
	if f := Fault(errors.New("connection reset")); f != nil {
		t.Errorf("Fault() of an error that says nothing about a run = %v", f)
	}
}

func TestKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for range 16 {
		all.Go(func() {
			d, err := prepare(t.Context(), dir)
			if err != nil {
				t.Error(err)
				return
			}
			key, err := d.payloadKey(t.Context())
			if err != nil {
				t.Error(err)
			}
			identity, err := d.identity(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[string(key)+string(identity.Certificates[0].Certificate[0])] = true
		})
	}
	all.Wait()
	if len(seen) != 1 {
		t.Errorf("%d different pairs of keys", len(seen))
	}
}

func TestBadDirectories(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(t.Context(), file); fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" {
		t.Errorf("prepare() under a file = %v", err)
	}
	d, err := prepare(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.file(identityFile), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.identity(t.Context()); fault.CodeOf(err) != fault.Failed || fault.HintOf(err) == "" {
		t.Errorf("identity() of a damaged file = %v", err)
	}
}

func TestClaim(t *testing.T) {
	d, err := prepare(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{dir: d}
	mine, err := e.Claim("environment/production ../x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Claim("environment/production ../x"); fault.CodeOf(err) != fault.Locked {
		t.Errorf("a second Claim() = %v", err)
	}
	other, err := e.Claim("environment/staging")
	if err != nil {
		t.Errorf("Claim() of something else = %v", err)
	}
	other.Close()
	mine.Close()
	again, err := e.Claim("environment/production ../x")
	if err != nil {
		t.Fatalf("Claim() of what was given back = %v", err)
	}
	again.Close()
}
