package spec

import "slices"

// Order sorts names so that each follows those it needs; names that do not depend on each other keep their order. Needs
// that are not among the names are passed over. When there is a cycle, it is returned in place of an order, from one name
// back to the same.
func Order(names []string, needs map[string][]string) (order, cycle []string) {
	o := orderer{needs: needs, state: map[string]visit{}}
	for _, name := range names {
		o.state[name] = unvisited
	}
	for _, name := range names {
		if cycle := o.visit(name); cycle != nil {
			return nil, cycle
		}
	}
	return o.order, nil
}

type visit int

const (
	unvisited visit = iota + 1 // 0 is a name that is not to be ordered
	underWay
	done
)

type orderer struct {
	needs map[string][]string
	state map[string]visit
	path  []string
	order []string
}

// visit puts a name behind its needs, and returns a cycle when it meets one.
func (o *orderer) visit(name string) []string {
	switch o.state[name] {
	case underWay:
		return append(slices.Clone(o.path[slices.Index(o.path, name):]), name)
	case unvisited:
	default:
		return nil
	}
	o.state[name] = underWay
	o.path = append(o.path, name)
	for _, need := range o.needs[name] {
		if cycle := o.visit(need); cycle != nil {
			return cycle
		}
	}
	o.path = o.path[:len(o.path)-1]
	o.state[name] = done
	o.order = append(o.order, name)
	return nil
}
