// Command crossfade replaces a live Kubernetes cluster by a new generation while its users are being served.
package main

import (
	"os"

	"github.com/crossfade-dev/crossfade/internal/cli"
)

func main() {
	os.Exit(cli.Main(cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:]))
}
