package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"

	yaml "go.yaml.in/yaml/v4"
)

// readInput reads a file. The path - is stdin, if there is one.
func readInput(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" && stdin != nil {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

// fromYAML converts one YAML 1.2 document to JSON. Merge keys are resolved.
func fromYAML(text []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("is empty")
		}
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("contains several documents: put all plans into one list")
	}
	normalizeScalars(&document)
	var value any
	if err := document.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// leadingZero matches an integer that is decimal in YAML 1.2, and that the
// decoder reads as octal, as in YAML 1.1.
var leadingZero = regexp.MustCompile(`^([-+]?)0+([0-9]+)$`)

// normalizeScalars makes the decoder read integers with leading zeros as decimal,
// and dates as strings.
func normalizeScalars(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode {
		switch node.ShortTag() {
		case "!!int":
			node.Value = leadingZero.ReplaceAllString(node.Value, "$1$2")
		case "!!timestamp":
			node.Tag = "!!str"
		}
	}
	for _, child := range node.Content {
		normalizeScalars(child)
	}
}
