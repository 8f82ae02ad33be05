package dns

// What tests of the package reach into it for.
const StateLabel = stateLabel

// Target is what a record of a routable type leads to.
var Target = target

// AskAt has name servers answer at another port than 53.
func (r *Router) AskAt(port string) { r.port = port }

// With is the router with options changed.
func (r *Router) With(change func(*Options)) { change(&r.options) }
