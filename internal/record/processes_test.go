package record

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// appendForever appends numbered events until it is killed, and says each that is recorded.
func appendForever(path string) error {
	s, err := Open(context.Background(), path)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		key := fmt.Sprintf("%d-%d", os.Getpid(), i)
		if _, err := s.Append(context.Background(), Event{Run: "r", Key: key, Kind: Note, Message: key, At: day}); err != nil {
			return err
		}
		fmt.Println(key)
	}
}

// TestProcesses has goroutines and processes append to one record at once, and kills a process in between: everything that was
// said to be recorded is there, once, and Seq ascends without a gap.
func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.db")
	var all sync.WaitGroup
	for range 4 { // the first open, from everywhere at once
		all.Go(func() {
			if s, err := Open(t.Context(), path); err != nil {
				t.Error(err)
			} else {
				s.Close()
			}
		})
	}
	all.Wait()
	s := open(t, path)
	run(t, s, "r", "production", 1)
	var mu sync.Mutex
	said := map[string]bool{}
	for range 3 {
		all.Go(func() {
			for _, key := range killedAfter(t, path, 50) {
				mu.Lock()
				said[key] = true
				mu.Unlock()
			}
		})
	}
	for g := range 4 {
		all.Go(func() {
			for i := range 25 {
				key := fmt.Sprintf("g%d-%d", g, i)
				if _, err := s.Append(t.Context(), Event{Run: "r", Key: key, Kind: Note, At: day}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				said[key] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	recorded := map[string]bool{}
	for _, key := range keys(t, s, "r") {
		if recorded[key] {
			t.Errorf("%s is recorded twice", key)
		}
		recorded[key] = true
	}
	for key := range said {
		if !recorded[key] {
			t.Errorf("%s was recorded, and is gone", key)
		}
	}
	events, err := s.Events(t.Context(), "r", 0)
	if err != nil || events[len(events)-1].Seq != int64(len(events)) {
		t.Errorf("%d events, the last with Seq %d, %v", len(events), events[len(events)-1].Seq, err)
	}
}

// killedAfter runs the test program as a process that appends, kills it after so many lines, and returns what it said.
func killedAfter(t *testing.T, path string, count int) (said []string) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	lines := bufio.NewScanner(out)
	for len(said) < count && lines.Scan() {
		said = append(said, lines.Text())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(said) < count {
		t.Errorf("a process ended after %d of %d events", len(said), count)
	}
	return said
}
