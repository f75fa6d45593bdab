module github.com/nsqx/nsqx/internal/e2e

go 1.26.0

require (
	github.com/nsqio/go-nsq v1.1.0
	github.com/nsqio/nsq v1.3.0
	github.com/nsqx/nsqx v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/blang/semver v3.5.1+incompatible // indirect
	github.com/bmizerany/perks v0.0.0-20141205001514-d9a9656a3a4b // indirect
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/golang/snappy v0.0.4 // indirect
	github.com/julienschmidt/httprouter v1.3.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/nsqio/go-diskqueue v1.1.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace github.com/nsqx/nsqx => ../..
