// Command cat prints files, as the one of that name does, in images that have no other.
package main

import (
	"fmt"
	"os"
)

func main() {
	for _, file := range os.Args[1:] {
		content, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, _ = os.Stdout.Write(content)
	}
}
