//go:build !race

package conn

const poison = false
