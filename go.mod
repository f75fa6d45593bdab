module github.com/nsqx/nsqx

go 1.26.0
