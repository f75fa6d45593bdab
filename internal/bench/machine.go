package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine describes the CPU and the system, as far as known.
func machine() string {
	processor := runtime.GOARCH
	if all, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		lines := bufio.NewScanner(bytes.NewReader(all))
		for lines.Scan() {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				processor = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d processors, %s", processor, runtime.NumCPU(), runtime.GOOS)
}

// measuredModules are the modules whose versions matter.
var measuredModules = []string{"github.com/nsqio/go-nsq", "github.com/nsqio/nsq", "github.com/klauspost/compress",
	"github.com/goccy/go-json", "github.com/segmentio/encoding", "go.opentelemetry.io/otel"}

func versions() []string {
	all := []string{runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return all
	}
	for _, name := range measuredModules {
		for _, m := range info.Deps {
			if m.Path == name {
				all = append(all, m.Path+" "+m.Version)
			}
		}
	}
	return all
}
