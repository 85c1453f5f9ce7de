// Asks Argo CD what it makes of an object: its health, which actions it offers, and what an action makes of the object.
//
// Every line of input is a question, every line of output its answer, both in JSON. The scripts come from the ConfigMap argocd-cm of the
// question; they are run by Argo CD's own package util/lua, which decides what a script may call.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Longest question in bytes: a ConfigMap and an object, each far below the API server's limit of 1.5 MiB.
const longestQuestion = 4 << 20

// Where argocd-cm has what is known of a kind.
const customizations = "resource.customizations."

type question struct {
	Config map[string]string `json:"config"`
	Object map[string]any    `json:"object"`
	// An action to perform; "?" asks which are offered; without it the health is asked for.
	Action string `json:"action"`
}

type answer struct {
	Status  string         `json:"status,omitempty"`
	Message string         `json:"message,omitempty"`
	Offered []string       `json:"offered,omitempty"`
	Object  map[string]any `json:"object,omitempty"`
	Error   string         `json:"error,omitempty"`
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
	kind := object.GroupVersionKind()
	key := kind.Group + "_" + kind.Kind
	override := v1alpha1.ResourceOverride{
		HealthLua:   asked.Config[customizations+"health."+key],
		Actions:     asked.Config[customizations+"actions."+key],
		UseOpenLibs: asked.Config[customizations+"useOpenLibs."+key] == "true",
	}
	overrides := map[string]v1alpha1.ResourceOverride{lua.GetConfigMapKey(kind): override}
	switch asked.Action {
	case "":
		return health(overrides, object)
	case "?":
		return discover(overrides, object)
	default:
		return perform(overrides, object, asked.Action)
	}
}

func health(overrides map[string]v1alpha1.ResourceOverride, object *unstructured.Unstructured) (answer, error) {
	found, err := lua.ResourceHealthOverrides(overrides).GetResourceHealth(object)
	if err != nil || found == nil {
		return answer{}, err
	}
	return answer{Status: string(found.Status), Message: found.Message}, nil
}

func discover(overrides map[string]v1alpha1.ResourceOverride, object *unstructured.Unstructured) (answer, error) {
	vm := lua.VM{ResourceOverrides: overrides}
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil {
		return answer{}, err
	}
	actions, err := vm.ExecuteResourceActionDiscovery(object, scripts)
	if err != nil {
		return answer{}, err
	}
	said := answer{}
	for _, action := range actions {
		if !action.Disabled {
			said.Offered = append(said.Offered, action.Name)
		}
	}
	return said, nil
}

func perform(overrides map[string]v1alpha1.ResourceOverride, object *unstructured.Unstructured, name string) (answer, error) {
	vm := lua.VM{ResourceOverrides: overrides}
	action, err := vm.GetResourceAction(object, name)
	if err != nil {
		return answer{}, err
	}
	impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
	if err != nil {
		return answer{}, err
	}
	if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
		return answer{}, fmt.Errorf("the action %s does not change one object: %v", name, impacted)
	}
	return answer{Object: impacted[0].UnstructuredObj.Object}, nil
}

