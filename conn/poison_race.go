//go:build race

package conn

// poison: memory given back is overwritten, so that a test sees a handler that
// kept a body.
const poison = true
