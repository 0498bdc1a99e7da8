package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"ratelimiter/internal/binding"
)

// settings is the group of the flags that every command takes.
var settings = &kong.Group{Key: "settings", Title: "Settings:"}

// arrangeHelp makes a command's own flags come first in its help.
func arrangeHelp(app *kong.Application) {
	app.HelpFlag.Hidden = true // its readers know it
	for _, flag := range app.Flags {
		flag.Group = settings
	}
}

// printHelp prints the help of a command, with only the settings that the command
// reads, and where to read about the others. It should fit a terminal of 80 columns
// and 24 lines.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node
	}
	wanted := needs(node)
	options.ValueFormatter = func(value *kong.Value) string { return cmp.Or(value.Tag.Get("brief"), value.Help) }
	if wanted == "all" {
		options.ValueFormatter = kong.DefaultHelpValueFormatter
	}
	var example *kong.Flag // of a setting
	for _, flag := range ctx.Model.Flags {
		listed := len(node.Children) == 0 && strings.Contains(wanted, flag.Tag.Get("for")) && flag.Tag.Has("for")
		if wanted != "all" {
			flag.Hidden = !listed
		}
		if listed && flag.Tag.Get("for") == "database" {
			example = flag // DATA_DIR, which is short
		}
	}
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	_, err := fmt.Fprint(ctx.Stdout, moreHelp(node, wanted, example))
	return err
}

// moreHelp returns what follows the help of a command that reads the wanted settings.
func moreHelp(node *kong.Node, wanted string, setting *kong.Flag) string {
	switch {
	case node.Type == kong.ApplicationNode:
		return "Settings, such as DATABASE_URL and HTTP_ADDR: \"ratelimiter serve --help\".\n"
	case len(node.Children) > 0:
		return "\nRun \"ratelimiter " + node.Path() + " <command> --help\" for more on a command.\n"
	case wanted == "all":
		return "\nDATABASE_URL, DATABASE_LISTEN_URL, REDIS_URL and KEY_PEPPER are secrets: they\n" +
			"come from the environment or from files, because flags show in the process list.\n"
	}
	var names []string
	for _, flag := range []*kong.Flag{firstFlag(node), setting} {
		if flag != nil {
			names = append(names, flag.Envs[0]+" for --"+flag.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "\nEnvironment: " + strings.Join(names, ", ") + ", …\n"
}

func firstFlag(node *kong.Node) *kong.Flag {
	if len(node.Flags) == 0 {
		return nil
	}
	return node.Flags[0]
}

// needs returns the tag needs of a command, or of the command that it belongs to.
func needs(node *kong.Node) string {
	for ; node != nil; node = node.Parent {
		if node.Tag != nil && node.Tag.Has("needs") {
			return node.Tag.Get("needs")
		}
	}
	return ""
}

// explain returns in one line what is wrong with a command line that can't be
// parsed, and the command whose help to read.
func explain(root *kong.Node, args []string, err error) (fault, command string) {
	node, word := reached(root, args)
	command = strings.TrimSpace(root.Name + " " + node.Path())
	var names []string
	for _, child := range node.Children {
		names = append(names, child.Name)
	}
	switch {
	case len(names) == 0 || word == "" && node == root:
		return err.Error(), command
	case word == "":
		return fmt.Sprintf("a command is missing: %s %s", command, strings.Join(names, "|")), command
	}
	fault = fmt.Sprintf("unknown command %q", word)
	if similar := binding.Similar(word, names); similar != "" {
		fault += fmt.Sprintf(": did you mean %q?", similar)
	}
	return fault, command
}

// reached returns the last command that args name, and the next word if it names
// none.
func reached(node *kong.Node, args []string) (command *kong.Node, word string) {
next:
	for i := 0; i < len(args) && len(node.Children) > 0; i++ {
		if strings.HasPrefix(args[i], "-") {
			if takesValue(node, args[i]) {
				i++
			}
			continue
		}
		for _, child := range node.Children {
			if child.Name == args[i] {
				node = child
				continue next
			}
		}
		return node, args[i]
	}
	return node, ""
}

// takesValue reports whether the argument after a flag is its value.
func takesValue(node *kong.Node, arg string) bool {
	for _, flags := range node.AllFlags(false) {
		for _, flag := range flags {
			if "--"+flag.Name == arg || flag.Short != 0 && "-"+string(flag.Short) == arg {
				return !flag.IsBool()
			}
		}
	}
	return false
}
