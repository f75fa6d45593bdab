// Tests of dashboard.json and alerts.yml.

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// dashboard is the tested part of dashboard.json.
type dashboard struct {
	UID    string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

// rules is the content of alerts.yml.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string `yaml:",omitempty"`
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// checkDashboard checks that the dashboard shows exactly the exported metrics, of the chosen services
// and instances, and that ids, titles and positions of its panels are unique.
func checkDashboard(t *testing.T, have exported) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	ids, titles := make(map[int]bool), make(map[string]bool)
	cells := make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] || p.Title == "" {
			t.Errorf("panel %d, %q: id or title is duplicate or missing", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("panel %q overlaps %q, or is outside", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q has %d targets", p.Title, len(p.Targets))
		}
		for _, target := range p.Targets {
			found := have.check(t, p.Title, target.Expr)
			if n := strings.Count(target.Expr, `{job=~"$job",instance=~"$instance"`); n < len(found) {
				t.Errorf("%s shows services or instances that were not chosen", p.Title)
			}
			maps.Copy(shown, found)
			have.checkLabels(t, p.Title, regexp.MustCompile(`\{\{(\w+)\}\}`), target.LegendFormat)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			query := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
			have.check(t, "variable "+v.Name, query.ReplaceAllString(v.Definition, "$1"))
			have.checkLabels(t, "variable "+v.Name, regexp.MustCompile(`, (\w+)\)$`), v.Definition)
		}
	}
	for name := range have.metrics {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if name != "target_info" && !shown[name] && !shown[base+"_bucket"] && !shown[base+"_count"] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// page is the page that says what to do about an alert.
const page = "docs/guide/operating.md"

// checkAlerts checks that the rules use exported metrics, and have a severity, a summary, a
// description and the address of a section of page. alerts_test.yml tests what they do.
func checkAlerts(t *testing.T, have exported) {
	t.Helper()
	f, err := os.Open("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r rules
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			if names[rule.Alert] || rule.Alert == "" {
				t.Errorf("alert %q is duplicate or has no name", rule.Alert)
			}
			names[rule.Alert] = true
			for what, value := range map[string]string{
				"severity": rule.Labels["severity"], "summary": rule.Annotations["summary"], "description": rule.Annotations["description"],
			} {
				if value == "" {
					t.Errorf("%s has no %s", rule.Alert, what)
				}
			}
			checkRunbook(t, rule.Alert, rule.Annotations["runbook_url"])
			if len(have.check(t, rule.Alert, rule.Expr)) == 0 {
				t.Errorf("%s uses no metric", rule.Alert)
			}
			have.checkLabels(t, rule.Alert, regexp.MustCompile(`\$labels\.(\w+)`), rule.Annotations["summary"])
		}
	}
	if len(names) == 0 {
		t.Error("there are no alerts")
	}
	text, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`series: '(.*)'|alertname: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		if have.check(t, "alerts_test.yml", m[1]); m[2] != "" && !names[m[2]] {
			t.Errorf("alerts_test.yml: there is no alert %s", m[2])
		}
	}
}

// checkRunbook checks that an address leads to a section of page, if there is one.
func checkRunbook(t *testing.T, alert, url string) {
	t.Helper()
	path, anchor, _ := strings.Cut(url, "#")
	if path != "https://github.com/nsqx/nsqx/blob/main/"+page {
		t.Errorf("%s: runbook_url is %q, not in %s", alert, url, page)
	}
	text, err := os.ReadFile("../../" + page)
	if errors.Is(err, fs.ErrNotExist) || anchor == "" {
		return
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"`+anchor+`"`) { // <a id="…">
			return
		}
		if title := strings.TrimLeft(line, "#"); title != line && slug(title) == anchor {
			return
		}
	}
	t.Errorf("%s: %s has no section #%s", alert, page, anchor)
}

// slug is the anchor of a title.
func slug(title string) string {
	title = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")
	return regexp.MustCompile(`[^\w-]`).ReplaceAllString(title, "")
}

// exported holds the names and labels of all exported series.
type exported struct {
	metrics map[string]bool
	labels  map[string]bool
}

// exposition parses the text format of Prometheus.
func exposition(text string) exported {
	e := exported{
		metrics: make(map[string]bool),
		labels:  map[string]bool{"job": true, "instance": true, "__name__": true}, // added by Prometheus
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		e.metrics[line[:strings.IndexAny(line, "{ ")]] = true
		for _, m := range regexp.MustCompile(`[{,](\w+)="`).FindAllStringSubmatch(line, -1) {
			e.labels[m[1]] = true
		}
	}
	return e
}

var (
	text     = regexp.MustCompile(`"[^"]*"`)
	matchers = regexp.MustCompile(`\{[^}]*\}`)
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring)\s*\(([^)]*)\)`)
	word     = regexp.MustCompile(`\b[a-z_]\w*`)
	window   = regexp.MustCompile(`\[[^]]*\]`)
	metric   = regexp.MustCompile(`\b(nsq|messaging)_\w+`)
)

// check checks that all metrics and labels of a query exist, and returns the metrics.
func (e exported) check(t *testing.T, where, query string) map[string]bool {
	t.Helper()
	query = text.ReplaceAllString(query, `""`)
	for _, labels := range append(matchers.FindAllString(query, -1), grouping.FindAllString(query, -1)...) {
		for _, label := range word.FindAllString(grouping.ReplaceAllString(labels, "$2"), -1) {
			if !e.labels[label] {
				t.Errorf("%s: no series has the label %s", where, label)
			}
		}
	}
	query = window.ReplaceAllString(grouping.ReplaceAllString(matchers.ReplaceAllString(query, ""), ""), "")
	found := make(map[string]bool)
	for _, name := range metric.FindAllString(query, -1) {
		if !e.metrics[name] {
			t.Errorf("%s: the example does not export %s", where, name)
		}
		found[name] = true
	}
	return found
}

func (e exported) checkLabels(t *testing.T, where string, pattern *regexp.Regexp, in string) {
	t.Helper()
	for _, m := range pattern.FindAllStringSubmatch(in, -1) {
		if !e.labels[m[1]] {
			t.Errorf("%s: no series has the label %s", where, m[1])
		}
	}
}
