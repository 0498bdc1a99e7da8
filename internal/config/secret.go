package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secret is a flag of a setting that must not be one: flags show in the process
// list.
type secret struct{}

// UnmarshalText rejects every value and names the alternatives.
func (secret) UnmarshalText([]byte) error {
	return errors.New("a secret can't be a flag, because flags show in the process list: " +
		"set the environment variable of the same name, or the one with _FILE at its end to the path of a file that contains it")
}

// readSecret returns the environment variable with this name, or what a file
// contains instead, without white space around it. Errors: both are given; the
// file can't be read or is empty.
func readSecret(name, file string) (string, error) {
	value := os.Getenv(name)
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("%s_FILE is set too: unset one of the two", name)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	if value = strings.TrimSpace(string(content)); value == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", name, file)
	}
	return value, nil
}
