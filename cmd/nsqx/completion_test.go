package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asCommand makes the test binary the program.
const asCommand = "NSQX_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestCandidates(t *testing.T) {
	for words, list := range map[string]string{
		"":                             "channel completion dead doctor pub stats tail topic",
		"d":                            "dead doctor",
		"dead ":                        "ls purge redrive show",
		"--lookupd a:4161 dead re":     "redrive",
		"--lookupd=a:4161 dead re":     "redrive",
		"dead ls orders.dead -n dead ": "",
		"topic ":                       "create delete empty pause unpause",
		"topic p":                      "pause",
		"topic pause ":                 "",
		"channel un":                   "unpause",
		"tail orders --decode ":        "hex json text",
		"tail orders --decode=":        "--decode=hex --decode=json --decode=text",
		"tail orders --dec":            "--decode",
		"stats --tls-r":                "--tls-root-ca-file",
		"dead redrive x --al":          "--all-channels --allow-plaintext-auth",
		"doctor --servi":               "--service",
		"completion ":                  "bash fish zsh",
		"nonsense ":                    "channel completion dead doctor pub stats tail topic",
		"__c":                          "",
	} {
		tty, out, _ := newTest(0, "")
		if code := run(context.Background(), append([]string{"__complete", "--"}, strings.Split(words, " ")...), tty); code != 0 {
			t.Errorf("%q: status %d", words, code)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		want(t, words, strings.Join(got, " "), list)
	}
}

// TestCompletion runs the scripts in the shells that there are.
func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	shim := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asCommand, os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "nsqx"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	for shell, tt := range map[string]struct{ flags, script, out string }{
		"bash": {"--norc", `source <(nsqx completion bash)
			complete -p nsqx
			try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nsqx; echo "${COMPREPLY[@]}"; }
			try nsqx dead re; try nsqx tail orders --decode j; try nsqx topic ''; try nsqx dead ls x --tls-cert ''`,
			"complete -o default -F _nsqx nsqx\nredrive\njson\ncreate delete empty pause unpause\n\n"},
		"zsh": {"-f", `compdef() { :; }; _describe() { print -- $all; }; _files() { print files; }
			source <(nsqx completion zsh)
			words=(nsqx dead re) CURRENT=3; _nsqx; words=(nsqx x --tls-cert '') CURRENT=4; _nsqx`,
			"redrive:Publish dead letters again, for the channels that gave them up.\nfiles\n"},
		"fish": {"--no-config", "nsqx completion fish | source; complete -C 'nsqx dead re'; complete -C 'nsqx tail orders --decode j'",
			"redrive\tPublish dead letters again, for the channels that gave them up.\njson\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("there is no %s", shell)
			}
			c := exec.CommandContext(t.Context(), path, tt.flags, "-c", tt.script)
			c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := c.CombinedOutput()
			if err != nil {
				t.Errorf("%v", err)
			}
			want(t, "output", string(out), tt.out)
		})
	}
}
