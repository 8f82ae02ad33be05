package rule

import (
	"math"
	"sync"

	"github.com/google/cel-go/cel"
)

// ofValue is what conditions over one number know.
var ofValue = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(numbers, cel.Variable("value", cel.DoubleType))
})

// Condition is an expression over one number, value, that has been read. It may be used by several at once.
type Condition struct {
	text    string
	program cel.Program
}

// ParseCondition reads an expression over value. An error of code fault.Invalid says what is wrong with it, in one line.
func ParseCondition(text string) (*Condition, error) {
	program, err := compile(ofValue, text, "it is a condition over value, as in value < 0.01")
	if err != nil {
		return nil, err
	}
	return &Condition{text: text, program: program}, nil
}

// String returns the expression.
func (c *Condition) String() string { return c.text }

// Holds reports whether the condition holds for a value. None holds for what is no number, such as a rate of nothing.
func (c *Condition) Holds(value float64) (bool, error) {
	if math.IsNaN(value) {
		return false, nil
	}
	return evaluate(c.program, c.text, map[string]any{"value": value})
}
