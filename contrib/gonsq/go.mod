module github.com/nsqx/nsqx/contrib/gonsq

go 1.26.0

require (
	github.com/nsqio/go-nsq v1.1.0
	github.com/nsqx/nsqx v0.0.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/golang/snappy v0.0.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	golang.org/x/sync v0.24.0 // indirect
)
