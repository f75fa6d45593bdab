//go:build race

package conn

// poison overwrites released memory, so that tests notice a handler that kept a body.
const poison = true
