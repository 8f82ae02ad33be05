// Package rule reads the expressions that say whether a new generation serves its users as well as the old one does, in the Common
// Expression Language (https://cel.dev).
package rule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// Figures say how requests were served. In expressions they are those of new and old, as in new.errorRate.
type Figures struct {
	Requests      int64         // requests: how many there were
	ErrorRate     float64       // errorRate: the share of them that failed, from 0 to 1
	P50, P90, P99 time.Duration // p50, p90, p99: the time within which such a percentage was answered; in expressions, in seconds
}

func (f Figures) variables(of string) map[string]any {
	return map[string]any{
		of + ".requests": f.Requests, of + ".errorRate": f.ErrorRate,
		of + ".p50": f.P50.Seconds(), of + ".p90": f.P90.Seconds(), of + ".p99": f.P99.Seconds(),
	}
}

// Rule is an expression that has been read. It may be used by several at once.
type Rule struct {
	text    string
	program cel.Program
}

// numbers lets whole numbers be compared with others, as in value > 0.
var numbers = cel.CrossTypeNumericComparisons(true)

// environment is what expressions know.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	known := []cel.EnvOption{numbers}
	for _, of := range []string{"new", "old"} {
		for name, zero := range (Figures{}).variables(of) {
			kind := cel.DoubleType
			if _, whole := zero.(int64); whole {
				kind = cel.IntType
			}
			known = append(known, cel.Variable(name, kind))
		}
	}
	return cel.NewEnv(known...)
})

// Parse reads an expression. An error of code fault.Invalid says what is wrong with it, in one line.
func Parse(text string) (*Rule, error) {
	hint := fmt.Sprintf("it is a condition over %s, and the same of old; numbers are multiplied by numbers with a point, as 2.0", strings.Join(names(), ", "))
	for _, name := range figure.FindAllString(text, -1) {
		if !slices.Contains(names(), "new."+name[len("new."):]) {
			return nil, invalid(text, "there is no "+name, hint)
		}
	}
	program, err := compile(environment, text, hint)
	if err != nil {
		return nil, err
	}
	return &Rule{text: text, program: program}, nil
}

// compile reads a condition in an environment.
func compile(environment func() (*cel.Env, error), text, hint string) (cel.Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, invalid(text, "it is empty", hint)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, invalid(text, firstLine(issues), hint)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, invalid(text, fmt.Sprintf("it is a %s, not a condition", ast.OutputType()), hint)
	}
	program, err := env.Program(ast)
	if err != nil {
		return nil, invalid(text, err.Error(), hint)
	}
	return program, nil
}

// figure is what looks like one of new or old.
var figure = regexp.MustCompile(`\b(?:new|old)\.\w+`)

func invalid(text, why, hint string) error {
	return fault.New(fault.Invalid, "cannot read the rule %q: %s", text, why).WithHint("%s", hint)
}

// names are the variables of new, in order.
func names() []string {
	var all []string
	for name := range (Figures{}).variables("new") {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func firstLine(issues *cel.Issues) string {
	for _, e := range issues.Errors() {
		text, _, _ := strings.Cut(e.Message, "\n")
		return fmt.Sprintf("%s, at %d:%d", text, e.Location.Line(), e.Location.Column()+1)
	}
	return issues.Err().Error()
}

// String returns the expression.
func (r *Rule) String() string { return r.text }

// Holds reports whether the rule holds for figures. An error says what cannot be worked out, such as a division by zero of whole numbers.
func (r *Rule) Holds(fresh, old Figures) (bool, error) {
	variables := fresh.variables("new")
	for name, value := range old.variables("old") {
		variables[name] = value
	}
	return evaluate(r.program, r.text, variables)
}

func evaluate(program cel.Program, text string, variables map[string]any) (bool, error) {
	out, _, err := program.Eval(variables)
	if err != nil {
		return false, fault.New(fault.Failed, "cannot work out the rule %q: %w", text, err)
	}
	holds, _ := out.Value().(bool) // compile wants a condition
	return holds, nil
}
