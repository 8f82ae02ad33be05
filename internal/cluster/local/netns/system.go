package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/crossfade-dev/crossfade/internal/cluster/local/lockdir"
	"github.com/crossfade-dev/crossfade/internal/fault"
)

// makeNamespaces makes the network namespace of the given name, and the mount namespace if asked, unless they are there.
// Each is kept by a mount on a file.
func (n Network) makeNamespaces(ctx context.Context, name string, mounts bool) error {
	kinds := []string{"net"}
	if mounts {
		kinds = append(kinds, "mnt")
	}
	if err := os.MkdirAll(filepath.Join(n.Dir, name), 0o700); err != nil {
		return fault.New(fault.Failed, "cannot make the namespace %s: %w", name, err)
	}
	for _, kind := range kinds {
		file := n.file(name, kind)
		if isMountPoint(file) {
			continue
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return fault.New(fault.Failed, "cannot make the namespace %s: %w", name, err)
		}
		command := []string{"unshare", "--net=" + file, "--", "true"}
		if kind == "mnt" {
			// The copies of namespaces that it got with the machine's mounts would keep them alive when they are deleted.
			command = []string{"unshare", "--mount=" + file, "--propagation=slave", "--", "umount", "--recursive", "--lazy", n.Dir}
		}
		if _, err := n.output(ctx, "", command...); err != nil {
			return fault.New(fault.Failed, "cannot make the namespace %s: %w", name, err)
		}
	}
	return nil
}

// removeNamespaces lets go of a namespace: it ends with its last process.
func (n Network) removeNamespaces(name string) error {
	for _, kind := range []string{"mnt", "net"} {
		for isMountPoint(n.file(name, kind)) {
			if err := unix.Unmount(n.file(name, kind), unix.MNT_DETACH); err != nil {
				return fault.New(fault.Failed, "cannot remove the namespace %s: %w", name, err)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(n.Dir, name)); err != nil {
		return fault.New(fault.Failed, "cannot remove the namespace %s: %w", name, err)
	}
	return nil
}

// ip runs commands of ip(8) in the named namespace, in the machine's own when the name is empty.
func (n Network) ip(ctx context.Context, name string, commands ...string) error {
	_, err := n.output(ctx, strings.Join(commands, "\n")+"\n", append(n.enterNet(name), "ip", "-batch", "-")...)
	if err != nil {
		return fault.New(fault.Failed, "cannot set up the network of local clusters: %w (of: %s)", err, strings.Join(commands, "; "))
	}
	return nil
}

// run runs a command in the named namespace, in the machine's own when the name is empty, and returns its output.
func (n Network) run(ctx context.Context, name string, command ...string) ([]byte, error) {
	out, err := n.output(ctx, "", append(n.enterNet(name), command...)...)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot look at the network of local clusters: %w", err)
	}
	return out, nil
}

func (n Network) enterNet(name string) []string {
	if name == "" {
		return nil
	}
	return []string{"nsenter", "--net=" + n.file(name, "net"), "--"}
}

// output is Output of a program that holds the network's lock as well: one that is ended with this process may be in the middle
// of a system call, and whoever takes the lock next finds it gone.
func (n Network) output(ctx context.Context, stdin string, command ...string) ([]byte, error) {
	return output(ctx, n.lock, stdin, command...)
}

// Output runs a program of the machine to its end and returns its output; its complaints are in the error. The program ends with
// this process, so that nothing goes on behind the back of whoever comes after.
func Output(ctx context.Context, stdin string, command ...string) ([]byte, error) {
	return output(ctx, nil, stdin, command...)
}

func output(ctx context.Context, lock *lockdir.Lock, stdin string, command ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, Tool(command[0]), command[1:]...)
	cmd.Env, cmd.Dir = Environ(), "/"
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock.File()}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The signal comes with the end of the thread that started the program, which must not end before this process does.
	runtime.LockOSThread()
	err := cmd.Run()
	runtime.UnlockOSThread()
	if ctx.Err() != nil {
		err = ctx.Err() // and not that it was killed for that reason
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, oneLine(complaints.String()))
	}
	return out.Bytes(), nil
}

// Path has the directories of administrators' programs, which are not on the PATH of everybody who becomes root.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environ returns the environment of this process with a PATH on which the machine's programs are found.
func Environ() []string {
	return append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+Path)
}

// Tool returns the path of a program of the machine, or the name itself when it is not there.
func Tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range filepath.SplitList(Path) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return name
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Dial connects to an address from inside the named namespace.
func (n Network) Dial(ctx context.Context, name, network string, address netip.AddrPort) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		// The thread stays in the namespace, so it must end with this goroutine: it is locked, and never unlocked.
		runtime.LockOSThread()
		namespace, err := os.Open(n.file(name, "net"))
		if err != nil {
			dialled <- result{nil, err}
			return
		}
		defer namespace.Close()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			dialled <- result{nil, err}
			return
		}
		var dialer net.Dialer // makes the socket on this thread, because there is no name to resolve
		conn, err := dialer.DialContext(ctx, network, address.String())
		dialled <- result{conn, err}
	}()
	r := <-dialled
	return r.conn, r.err
}

// link is one link in the output of ip -json.
type link struct {
	Name  string `json:"ifname"`
	Alias string `json:"ifalias"`
}

func parseLinks(out []byte) ([]link, error) {
	var links []link
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, fault.New(fault.Failed, "cannot read the links of the switch: %w", err)
	}
	return links, nil
}

// isMountPoint reports whether something is mounted on the path.
func isMountPoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	if err != nil {
		return false
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	mounts, err := Mounts(path)
	return err == nil && len(mounts) > 0 && mounts[0] == path
}

// Mounts lists the mount points at and below a directory in this process's mount namespace, in order of mounting.
func Mounts(dir string) ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the mounts of this machine: %w", err)
	}
	return parseMounts(string(raw), dir), nil
}

func parseMounts(mountinfo, dir string) []string {
	// proc(5): blanks in paths are written as octal numbers.
	decode := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := decode.Replace(fields[4]); point == dir || strings.HasPrefix(point, strings.TrimSuffix(dir, "/")+"/") {
			mounts = append(mounts, point)
		}
	}
	return mounts
}
