package gonsq

import "runtime"

// goexit ends the goroutine; vet knows runtime.Goexit and would complain of what follows.
func goexit() { runtime.Goexit() }
