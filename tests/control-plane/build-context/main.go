// Says which of the paths on stdin, one a line, a build context holds: with Docker's own reading of .dockerignore, whose path
// is the only argument.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("usage: build-context .dockerignore < paths")
	}
	file, err := os.Open(arguments[0])
	if err != nil {
		return err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	paths := bufio.NewScanner(os.Stdin)
	for paths.Scan() {
		ignored, err := matcher.MatchesOrParentMatches(paths.Text())
		if err != nil {
			return err
		}
		if !ignored {
			fmt.Println(paths.Text())
		}
	}
	return paths.Err()
}
