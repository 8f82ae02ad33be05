package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// helperVariable makes the test binary a process of its own: "start" starts the daemon of a directory and prints its pid, "lock"
// takes a lock and holds it until it is killed.
const helperVariable = "CROSSFADE_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVariable) {
	case "start":
		pid, err := counted(os.Args[1]).Start(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(pid)
		os.Exit(0)
	case "lock":
		lock, err := Lock(context.Background(), os.Args[1])
		fmt.Println("held", err)
		time.Sleep(time.Minute)
		lock.Close()
		os.Exit(1)
	}
	// Daemons that outlive the process that started them become children of this one, so that nothing of them is left.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// helper is this binary as a process of its own.
func helper(t *testing.T, what, arg string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], arg)
	cmd.Env = append(os.Environ(), helperVariable+"="+what)
	cmd.Stderr = os.Stderr
	return cmd
}

// counted is a daemon that adds a line to the file "count" when it starts.
func counted(dir string) Daemon {
	return Daemon{Name: "it", Dir: dir, Command: []string{"/bin/sh", "-c", "echo started >>count; exec sleep 60"}}
}

// script is a daemon that runs a shell script; it is gone after the test.
func script(t *testing.T, text string) Daemon {
	t.Helper()
	return daemon(t, Daemon{Name: "it", Dir: t.TempDir(), Command: []string{"/bin/sh", "-c", text}})
}

func daemon(t *testing.T, d Daemon) Daemon {
	t.Helper()
	t.Cleanup(func() {
		if err := d.Stop(context.Background(), 10*time.Millisecond); err != nil {
			t.Error(err)
		}
	})
	return d
}

// start starts a daemon and waits until it is found and has written "ready" to its log.
func start(t *testing.T, d Daemon) int {
	t.Helper()
	pid, err := d.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is ready", func() bool {
		log, err := os.ReadFile(d.LogFile())
		return err == nil && d.Find() == pid && bytes.Contains(log, []byte("ready"))
	})
	return pid
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("20 s, and still not so: %s", what)
		}
	}
}

func alive(pid int) bool { return len(environment(pid)) > 0 }

func TestLife(t *testing.T) {
	d := Daemon{
		Name: "it", Dir: t.TempDir(), Command: []string{"/bin/sh", "-c", `pwd; echo "$0 $KEY"; echo complaint >&2; echo ready; exec sleep 60`, "an argument"},
		Env: []string{"KEY=value"}, WorkDir: t.TempDir(), Cgroups: []string{t.TempDir(), t.TempDir()},
	}
	daemon(t, d)
	if d.Find() != 0 {
		t.Fatal("it is found before it was started")
	}
	pid := start(t, d)
	if again, err := d.Start(t.Context()); again != pid || err != nil {
		t.Errorf("Start() of a running daemon = %d, %v; want %d", again, err, pid)
	}
	log, err := os.ReadFile(d.LogFile())
	if want := d.WorkDir + "\nan argument value\ncomplaint\nready\n"; string(log) != want || err != nil {
		t.Errorf("the log is %q, %v; want %q", log, err, want)
	}
	for _, group := range d.Cgroups {
		if raw, err := os.ReadFile(filepath.Join(group, "cgroup.procs")); strings.TrimSpace(string(raw)) != strconv.Itoa(pid) {
			t.Errorf("cgroup.procs has %q, %v; want %d", raw, err, pid)
		}
	}
	if session, err := unix.Getsid(pid); session != pid || err != nil {
		t.Errorf("its session is %d, %v: a Ctrl-C in the starter's terminal would end it", session, err)
	}
	if err := d.Stop(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if d.Find() != 0 || alive(pid) {
		t.Error("it is there after Stop()")
	}
	if err := d.Stop(t.Context(), time.Second); err != nil {
		t.Errorf("Stop() of what does not run = %v", err)
	}
	if next := start(t, d); next == pid {
		t.Errorf("the second life has the pid of the first")
	}
	eventually(t, "the log has both lives", func() bool {
		log, err := os.ReadFile(d.LogFile())
		return err == nil && bytes.Count(log, []byte("ready")) == 2
	})
}

// TestKilled kills the daemon itself: it is not found, and starting it starts another.
func TestKilled(t *testing.T) {
	d := script(t, "echo ready; exec sleep 60")
	pid := start(t, d)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is not found any more", func() bool { return d.Find() == 0 })
	if next := start(t, d); next == pid {
		t.Errorf("Start() of a killed daemon = %d, the dead one", next)
	}
}

// TestOutlives starts a daemon from several processes at once, which end: one daemon is left, and is found from here.
func TestOutlives(t *testing.T) {
	dir := t.TempDir()
	d := daemon(t, counted(dir))
	const starters = 8
	pids := make([]string, starters)
	done := make(chan int)
	for i := range starters {
		cmd := helper(t, "start", dir)
		go func() {
			out, err := cmd.Output()
			if err != nil {
				t.Error(err)
			}
			pids[i] = strings.TrimSpace(string(out))
			done <- i
		}()
	}
	for range starters {
		<-done
	}
	count := func() int {
		raw, _ := os.ReadFile(filepath.Join(dir, "count"))
		return bytes.Count(raw, []byte("\n"))
	}
	eventually(t, "it started", func() bool { return d.Find() != 0 && count() > 0 })
	pid := d.Find()
	for _, p := range pids {
		if p != strconv.Itoa(pid) {
			t.Errorf("the starters got %v, and %d runs", pids, pid)
			break
		}
	}
	if count() != 1 {
		t.Errorf("%d daemons started", count())
	}
	if err := d.Stop(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil { // ours since its starter ended
		t.Error(err)
	}
}

// TestBecoming finds a daemon while it becomes another program again and again. For an instant within each execve it has no
// environment; were it taken for dead then, a second one would be started.
func TestBecoming(t *testing.T) {
	const again = `test $1 -eq 0 && { echo ready; exec sleep 60; }; exec /bin/sh -c "$0" "$0" $(($1-1))`
	d := daemon(t, Daemon{Name: "it", Dir: t.TempDir(), Command: []string{"/bin/sh", "-c", again, again, "1000"}})
	pid, err := d.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is found", func() bool { return d.Find() == pid })
	looks := 0
	eventually(t, "it is ready", func() bool {
		for range 100 {
			looks++
			if found := d.Find(); found != pid {
				t.Fatalf("look %d: Find() = %d, want %d", looks, found, pid)
			}
		}
		log, err := os.ReadFile(d.LogFile())
		return err == nil && len(log) > 0
	})
}

// TestPidReuse writes pid files that tell of something else than the daemon: it is not found, and nobody is ended in its place.
func TestPidReuse(t *testing.T) {
	d := script(t, "echo ready; exec sleep 60")
	stranger := func(env ...string) *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.Env = append(os.Environ(), env...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd
	}
	untagged, other, zombie := stranger(), stranger(tagVariable+"=/elsewhere/it.pid"), stranger(d.tag())
	eventually(t, "the strangers run", func() bool { return alive(untagged.Process.Pid) && alive(other.Process.Pid) })
	if err := zombie.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a zombie", func() bool { return !alive(zombie.Process.Pid) })
	for name, content := range map[string]string{
		"a process without a tag":             strconv.Itoa(untagged.Process.Pid),
		"another daemon":                      strconv.Itoa(other.Process.Pid),
		"the daemon, dead and not waited for": strconv.Itoa(zombie.Process.Pid),
		"this very process":                   strconv.Itoa(os.Getpid()),
		"a thread of the kernel":              "2",
		"nobody":                              "4194304",
		"init":                                "1",
		"a process group":                     "-1",
		"zero":                                "0",
		"words":                               "running",
		"nothing":                             "",
	} {
		if err := os.WriteFile(d.PIDFile(), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid := d.Find(); pid != 0 {
			t.Errorf("%s: Find() = %d", name, pid)
		}
		if err := d.Stop(t.Context(), 10*time.Millisecond); err != nil {
			t.Errorf("%s: Stop() = %v", name, err)
		}
	}
	if !alive(untagged.Process.Pid) || !alive(other.Process.Pid) {
		t.Error("Stop() ended a stranger")
	}
	start(t, d) // over whatever the file says
}

// TestStubborn holds that a daemon which does not end when asked is killed after the grace period, and not before.
func TestStubborn(t *testing.T) {
	d := script(t, `trap "" TERM; echo ready; while :; do sleep 0.05; done`)
	pid := start(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := d.Stop(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || !alive(pid) {
		t.Errorf("Stop() whose context ends = %v; alive: %v, want it to be left alive", err, alive(pid))
	}
	if err := d.Stop(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop() with a context that has ended = %v", err)
	}
	begin := time.Now()
	if err := d.Stop(t.Context(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 200*time.Millisecond || alive(pid) {
		t.Errorf("it was killed after %v, alive: %v", took, alive(pid))
	}
}

// TestStopWhileStarting stops a daemon whose starter has not written its pid yet.
func TestStopWhileStarting(t *testing.T) {
	d := Daemon{Name: "it", Dir: t.TempDir()}
	lock, err := Lock(t.Context(), d.file("lock")) // as the starter does
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.Stop(t.Context(), 10*time.Second) }()
	select {
	case err := <-stopped:
		t.Fatalf("Stop() = %v, while the start was under way", err)
	case <-time.After(100 * time.Millisecond):
	}
	cmd := exec.Command("sleep", "60")
	cmd.Env = append(os.Environ(), d.tag())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it is gone unless the test fails
	if err := os.WriteFile(d.PIDFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if alive(cmd.Process.Pid) {
		t.Error("it is alive after Stop()")
	}
	_ = cmd.Wait()
}

func TestTrouble(t *testing.T) {
	missing := Daemon{Name: "it", Dir: filepath.Join(t.TempDir(), "missing"), Command: []string{"/bin/true"}}
	if _, err := missing.Start(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start() without a directory = %v", err)
	}
	if err := missing.Stop(t.Context(), time.Second); err != nil || missing.Find() != 0 {
		t.Errorf("Stop() without a directory = %v", err)
	}
	d := daemon(t, Daemon{Name: "it", Dir: t.TempDir(), Command: []string{"/no/such/program"}})
	if _, err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says why it did not start", func() bool {
		log, err := os.ReadFile(d.LogFile())
		return err == nil && bytes.Contains(log, []byte("/no/such/program: not found"))
	})
	eventually(t, "it is not found", func() bool { return d.Find() == 0 })
}
