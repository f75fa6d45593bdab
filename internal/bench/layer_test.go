package main

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// TestLayers: each end reads what the other has written, without waiting for more.
func TestLayers(t *testing.T) {
	for _, layer := range layers() {
		t.Run(layer, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			there, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer there.Close()
			here, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer here.Close()

			begun := make(chan error, 1)
			var server stream
			go func() {
				var err error
				server, err = serverStream(here, layer)
				begun <- err
			}()
			client, err := clientStream(there, layer)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-begun; err != nil {
				t.Fatal(err)
			}
			for _, said := range []string{"short", string(bytes.Repeat([]byte("long "), 20_000))} {
				for _, ends := range [][2]stream{{client, server}, {server, client}} {
					sent := make(chan error, 1)
					go func() {
						_, err := io.WriteString(ends[0], said)
						sent <- err
					}()
					heard := make([]byte, len(said))
					if _, err := io.ReadFull(ends[1], heard); err != nil || string(heard) != said {
						t.Errorf("%d bytes: %v, or other bytes", len(said), err)
					}
					if err := <-sent; err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}
