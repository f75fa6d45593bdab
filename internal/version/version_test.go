package version_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nsqx/nsqx"
	"github.com/nsqx/nsqx/internal/version"
)

func TestVersion(t *testing.T) {
	if nsqx.Version != version.Version {
		t.Errorf("nsqx.Version is %q, want %q", nsqx.Version, version.Version)
	}
	if valid := regexp.MustCompile(`^\d+\.\d+\.\d+(-dev|-rc\.\d+)?$`); !valid.MatchString(version.Version) {
		t.Errorf("Version is %q, want X.Y.Z, X.Y.Z-rc.N or X.Y.Z-dev", version.Version)
	}
}

// TestChangelog checks that a released version has a section in CHANGELOG.md, and that a version in development has none.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	name, dev := strings.CutSuffix(version.Version, "-dev")
	if has := strings.Contains(string(text), "\n## ["+name+"]"); has == dev {
		t.Errorf("Version is %q; CHANGELOG.md has a section of %s: %t", version.Version, name, has)
	}
	if !strings.Contains(string(text), "\n## [Unreleased]") {
		t.Error("CHANGELOG.md has no section Unreleased")
	}
}
