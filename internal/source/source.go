// Package source says from which git commit files were read. It only reads, and runs no program.
package source

import (
	"cmp"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// Commit is the state of a git repository that files were read from.
type Commit struct {
	Repository string // its origin without credentials, or else its directory
	Hash       string // of the commit; empty before the first one
	Dirty      bool   // one of the files was changed, or added, since that commit
	Trouble    error  // why this could not be found out; the rest may be missing then
}

// Of returns the commits of the repositories that some files and directories are in, in order of the repositories. What is in none has none.
// A repository that cannot be read is no reason to do nothing: it is returned with its trouble.
func Of(paths ...string) []Commit {
	within := map[string][]string{} // by the root of the repository: paths in it
	for _, p := range paths {
		if root := rootOf(p); root != "" {
			within[root] = append(within[root], p)
		}
	}
	var all []Commit
	for root, paths := range within {
		c := Commit{Repository: root}
		c.Trouble = c.read(root, paths)
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Commit) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Hash, b.Hash))
	})
	return all
}

// rootOf is the nearest directory at or above a path that is a working tree; empty when there is none.
func rootOf(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, git.GitDirName)); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

func (c *Commit) read(root string, paths []string) error {
	repository, err := git.PlainOpenWithOptions(root, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		return err
	}
	if remote, err := repository.Remote(git.DefaultRemoteName); err == nil && len(remote.Config().URLs) > 0 {
		c.Repository = bare(remote.Config().URLs[0])
	}
	head, err := repository.Head()
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		c.Dirty = true
		return nil
	}
	if err != nil {
		return err
	}
	c.Hash = head.Hash().String()
	c.Dirty, err = changed(repository, root, paths)
	return err
}

// changed reports whether something at or below one of the paths is not as it was committed.
func changed(repository *git.Repository, root string, paths []string) (bool, error) {
	tree, err := repository.Worktree()
	if err != nil {
		return false, err
	}
	status, err := tree.Status()
	if err != nil {
		return false, err
	}
	for _, path := range paths {
		path, err := filepath.EvalSymlinks(path)
		if err != nil {
			return false, err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return false, err
		}
		for file, s := range status {
			at := below == "." || file == filepath.ToSlash(below) || strings.HasPrefix(file, filepath.ToSlash(below)+"/")
			if at && (s.Worktree != git.Unmodified || s.Staging != git.Unmodified) {
				return true, nil
			}
		}
	}
	return false, nil
}

// bare is the address of a remote repository without what signs people in.
func bare(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address // the form of ssh: user@host:path
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
