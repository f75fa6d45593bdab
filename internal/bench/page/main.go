// Command page reads the suite's report and writes a Markdown page with charts to the given
// directory.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nsqx/nsqx/internal/bench/figures"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: page directory")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, dir string) error {
	var report figures.Report
	if err := json.NewDecoder(in).Decode(&report); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range report.Sections {
		for nth, c := range s.Charts {
			if err := draw(filepath.Join(dir, chartFile(s, nth)), s, c); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), markdown(report), 0o644)
}

// chartFile returns the name of a section's nth chart.
func chartFile(s figures.Section, nth int) string {
	if nth == 0 {
		return s.Name + ".svg"
	}
	return fmt.Sprintf("%s-%d.svg", s.Name, nth+1)
}
