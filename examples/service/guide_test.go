package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nsqx/nsqx/settings"
)

// deployment is the part of a manifest that must fit nsqx.
type deployment struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					Env []struct{ Name, Value string }
				}
			}
		}
	}
}

// TestManifests: the YAML of the guide can be read, its variables are settings that can be set together, and the
// period that a platform grants is longer than the default of nsqx.WithGrace.
func TestManifests(t *testing.T) {
	pages, err := filepath.Glob("../../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	deployments := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			var any any
			if err := yaml.Unmarshal([]byte(block[1]), &any); err != nil {
				t.Errorf("%s: %v in\n%s", page, err, block[1])
				continue
			}
			var d deployment
			if strings.HasPrefix(block[1], "apiVersion: apps/v1\n") {
				if err := yaml.Unmarshal([]byte(block[1]), &d); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
			if d.Kind == "Deployment" {
				deployments++
				checkDeployment(t, d)
			}
		}
	}
	if deployments == 0 {
		t.Error("no Deployment in the guide")
	}
}

func checkDeployment(t *testing.T, d deployment) {
	t.Helper()
	if got := d.Spec.Template.Spec.TerminationGracePeriodSeconds; got <= 25 {
		t.Errorf("terminationGracePeriodSeconds is %d", got)
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, v := range c.Env {
			key, ok := strings.CutPrefix(v.Name, "NSQX_")
			if !ok || !slices.Contains(settings.Keys(), strings.ToLower(key)) {
				t.Errorf("%s is no setting", v.Name)
			}
			if strings.HasSuffix(v.Name, "_FILE") { // which must exist
				v.Value = filepath.Join(t.TempDir(), "secret")
				if err := os.WriteFile(v.Value, []byte("canary"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv(v.Name, v.Value)
		}
	}
	if _, err := settings.FromEnv("NSQX_"); err != nil {
		t.Error(err)
	}
}
