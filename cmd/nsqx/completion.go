package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand prints a script for a shell. The script asks the program itself, by the hidden
// command below, so it need not be made anew for a new version.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

var completions = map[string]string{
	"bash": `# source <(nsqx completion bash)
_nsqx() {
	local IFS=$'\n'
	COMPREPLY=($(nsqx __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _nsqx nsqx
`,
	"zsh": `#compdef nsqx
# source <(nsqx completion zsh), or a file _nsqx in $fpath
_nsqx() {
	local -a all
	all=(${(f)"$(nsqx __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null | sed 's/:/\\:/g;s/\t/:/')"})
	if (( $#all )); then _describe nsqx all; else _files; fi
}
compdef _nsqx nsqx
`,
	"fish": `# nsqx completion fish | source
complete -c nsqx -f -a '(nsqx __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

func (c *completionCommand) Run(t *terminal, k *kong.Context) error {
	script := completions[c.Shell]
	if c.Shell == "fish" { // it completes no files otherwise
		for _, flags := range k.Model.AllFlags(true) {
			for _, f := range flags {
				if f.Tag.Type == "path" {
					script += "complete -c nsqx -l " + f.Name + " -r -F\n"
				}
			}
		}
	}
	return t.print(strings.TrimSuffix(script, "\n"))
}

// completeCommand prints what the last word may become, each with a help after a tab.
type completeCommand struct {
	Words []string `arg:"" optional:""`
}

func (c *completeCommand) Run(t *terminal, k *kong.Context) error {
	if len(c.Words) == 0 {
		c.Words = []string{""}
	}
	for _, line := range candidates(k.Model.Node, c.Words) {
		if err := t.print(line); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns what the last word may become, "word\thelp".
func candidates(node *kong.Node, words []string) (all []string) {
	last := words[len(words)-1]
	add := func(word, help string) {
		if strings.HasPrefix(word, last) {
			help, _, _ = strings.Cut(help, ". ")
			all = append(all, word+"\t"+help)
		}
	}
	var value *kong.Value // that a flag waits for
	position := 0
	for _, word := range words[:len(words)-1] {
		child := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word })
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "-"):
			if f := flag(node, word); f != nil && !f.IsBool() && !strings.Contains(word, "=") {
				value = f.Value
			}
		case child >= 0:
			node, position = node.Children[child], 0
		default:
			position++
		}
	}
	name, _, given := strings.Cut(last, "=")
	switch f := flag(node, name); {
	case value != nil:
		for _, v := range choices(value) {
			add(v, "")
		}
	case given && f != nil:
		for _, v := range choices(f.Value) {
			add(name+"="+v, "")
		}
	case strings.HasPrefix(last, "-"):
		for _, flags := range node.AllFlags(true) {
			for _, f := range flags {
				add("--"+f.Name, f.Help)
			}
		}
	case len(node.Children) > 0:
		for _, n := range node.Children {
			if !n.Hidden {
				add(n.Name, n.Help)
			}
		}
	case position < len(node.Positional):
		for _, v := range choices(node.Positional[position]) {
			add(v, "")
		}
	}
	slices.Sort(all)
	return all
}

// flag finds a flag of a command, or of those above it, by its word: --name, --name=value or -n.
func flag(node *kong.Node, word string) *kong.Flag {
	word, _, _ = strings.Cut(word, "=")
	for _, flags := range node.AllFlags(false) {
		for _, f := range flags {
			if word == "--"+f.Name || f.Short != 0 && word == fmt.Sprintf("-%c", f.Short) {
				return f
			}
		}
	}
	return nil
}

// choices are the values that an enum allows.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}
