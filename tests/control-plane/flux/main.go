// Asks Flux how an object is: by the CEL expressions of a Kustomization's healthCheckExprs, and by kstatus, whose rules hold for every
// kind that has no expressions. Both are Flux's own packages.
//
// Every line of input is a question, every line of output its answer, both in JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Longest question in bytes: expressions and an object, each far below the API server's limit of 1.5 MiB.
const longestQuestion = 4 << 20

type question struct {
	Object map[string]any `json:"object"`
	// The expressions; without them kstatus is asked.
	Expressions *kustomize.HealthCheckExpressions `json:"expressions"`
}

type answer struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, longestQuestion)
	output := json.NewEncoder(os.Stdout)
	for input.Scan() {
		var asked question
		said := answer{}
		err := json.Unmarshal(input.Bytes(), &asked)
		if err == nil {
			said, err = reply(asked)
		}
		if err != nil {
			said = answer{Error: err.Error()}
		}
		if err := output.Encode(said); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := input.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func reply(asked question) (answer, error) {
	object := &unstructured.Unstructured{}
	// As from the API server: whole numbers stay whole.
	text, err := json.Marshal(asked.Object)
	if err != nil {
		return answer{}, err
	}
	if err := object.UnmarshalJSON(text); err != nil {
		return answer{}, err
	}
	found, err := compute(asked.Expressions, object)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: found.Status.String(), Message: found.Message}, nil
}

func compute(expressions *kustomize.HealthCheckExpressions, object *unstructured.Unstructured) (*status.Result, error) {
	if expressions == nil {
		return status.Compute(object)
	}
	evaluator, err := cel.NewStatusEvaluator(expressions)
	if err != nil {
		return nil, err
	}
	return evaluator.Evaluate(context.Background(), object)
}
