// Docker's own rules of what a build context holds. `go mod tidy` in this folder writes go.sum.
module connect.privateconnect.co/tests/control-plane/build-context

go 1.26.0

require github.com/moby/patternmatcher v0.6.1
