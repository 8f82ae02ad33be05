package dns

import "testing"

// What tests of the package reach into it for.
const StateLabel = stateLabel

// Target is what a record of a routable type leads to.
var Target = target

// TextOf is what a TXT record says.
var TextOf = textOf

// Alias is where the CNAME of a name leads.
func (r *Router) Alias(t *testing.T, name string) (string, error) { return r.alias(t.Context(), name) }

// AskAt has name servers answer at another port than 53.
func (r *Router) AskAt(port string) { r.port = port }

// With is the router with options changed.
func (r *Router) With(change func(*Options)) { change(&r.options) }
